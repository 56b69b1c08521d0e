//! The structure of a component, as far as it matters for its expansion. Nothing is expanded here, so its size is linear in the bytes.

use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, Encoding, Instance, Payload,
};

use super::types::{TypeSection, types};
use super::{MAX_DEFINITIONS, MAX_NESTING, TooComplex};

/// Index spaces. Functions, types and values need no index here: each is one definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    Component,
    Instance,
    Module,
    Other,
}

/// One item of the component that names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) kind: ItemKind,
    pub(super) index: u32,
}

/// The origin of an item of an enclosing component.
#[derive(Debug, Clone, Copy)]
pub(super) enum Captured {
    /// Of the enclosing component itself, by its index there.
    Own(u32),
    /// A capture of the enclosing component.
    Taken(usize),
}

/// One step of instantiating a component.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Definitions that refer to nothing which could expand.
    Others {
        count: u64,
        lowered: u64,
        resources: u64,
    },
    Module {
        imports: u64,
    },
    /// A component that is defined inside.
    Component {
        plan: usize,
    },
    Import {
        name: &'a str,
        kind: ItemKind,
    },
    InstantiateModule {
        module: u32,
    },
    Instantiate {
        component: u32,
        arguments: Vec<(&'a str, Item)>,
    },
    /// An instance made of items that are there.
    Gather(Vec<(&'a str, Item)>),
    Alias {
        instance: u32,
        name: &'a str,
        kind: ItemKind,
    },
    Outer {
        kind: ItemKind,
        captured: Captured,
    },
    Export(Item),
}

/// One component definition, independent of its number of instances.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub(super) steps: Vec<Step<'a>>,
    pub(super) exports: Vec<(&'a str, Item)>,
    /// What it takes from the component that it is defined in.
    pub(super) captures: Vec<(ItemKind, Captured)>,
}

/// Collects the plans of a component and of all nested components.
#[derive(Debug)]
pub(super) struct Outline<'a> {
    bytes: &'a [u8],
    pub(super) plans: Vec<Plan<'a>>,
    /// Those that are being read, from the outermost inwards.
    open: Vec<Plan<'a>>,
    /// Imports of the module that is being read.
    module: Option<u64>,
    definitions: u64,
}

impl<'a> Outline<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            plans: Vec::new(),
            open: Vec::new(),
            module: None,
            definitions: 0,
        }
    }

    /// Whether the bytes were a complete component. Its own plan is then the last one.
    pub(super) const fn is_whole(&self) -> bool {
        self.open.is_empty() && !self.plans.is_empty()
    }

    /// Adds the next payload. Malformed parts are skipped: the compiler will refuse them.
    pub(super) fn add(&mut self, payload: Payload<'a>) -> Result<(), TooComplex> {
        match payload {
            Payload::Version {
                encoding: Encoding::Component,
                ..
            } if self.open.is_empty() => self.open.push(Plan::default()),
            Payload::ModuleSection { .. } => self.module = Some(0),
            Payload::ImportSection(section) => {
                if let Some(imports) = &mut self.module {
                    *imports += section.into_imports().map_while(Result::ok).count() as u64;
                }
            }
            Payload::ComponentSection { .. } => {
                if self.open.len() > MAX_NESTING {
                    return Err(TooComplex::Nesting);
                }
                self.open.push(Plan::default());
            }
            Payload::End(_) => self.end()?,
            payload => self.component_section(payload)?,
        }
        Ok(())
    }

    fn component_section(&mut self, payload: Payload<'a>) -> Result<(), TooComplex> {
        match payload {
            Payload::CoreTypeSection(section) => self.others(section.count().into(), 0, 0)?,
            Payload::ComponentTypeSection(section) => {
                let TypeSection {
                    declarations,
                    resources,
                } = types(self.bytes, &section)?;
                self.others(declarations, 0, resources)?;
            }
            Payload::ComponentImportSection(section) => {
                for import in section.into_iter().map_while(Result::ok) {
                    let kind = item_kind(import.ty.kind());
                    let name = import.name.name;
                    self.step(1, Step::Import { name, kind })?;
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section.into_iter().map_while(Result::ok) {
                    let lowers = matches!(function, CanonicalFunction::Lower { .. });
                    self.others(1, lowers.into(), 0)?;
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.into_iter().map_while(Result::ok) {
                    match instance {
                        Instance::Instantiate { module_index, args } => {
                            let module = module_index;
                            let count = 1 + args.len() as u64;
                            self.step(count, Step::InstantiateModule { module })?;
                        }
                        Instance::FromExports(exports) => {
                            self.others(1 + exports.len() as u64, 0, 0)?;
                        }
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.into_iter().map_while(Result::ok) {
                    self.instance(instance)?;
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.into_iter().map_while(Result::ok) {
                    self.alias(alias)?;
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.into_iter().map_while(Result::ok) {
                    let item = item(export.kind, export.index);
                    self.step(1, Step::Export(item))?;
                    if let Some(plan) = self.open.last_mut() {
                        plan.exports.push((export.name.name, item));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn instance(&mut self, instance: ComponentInstance<'a>) -> Result<(), TooComplex> {
        match instance {
            ComponentInstance::Instantiate {
                component_index,
                args,
            } => {
                let arguments: Vec<_> = args
                    .iter()
                    .map(|it| (it.name, item(it.kind, it.index)))
                    .collect();
                let step = Step::Instantiate {
                    component: component_index,
                    arguments,
                };
                self.step(1 + args.len() as u64, step)
            }
            ComponentInstance::FromExports(exports) => {
                let items = exports
                    .iter()
                    .map(|it| (it.name.name, item(it.kind, it.index)));
                let step = Step::Gather(items.collect());
                self.step(1 + exports.len() as u64, step)
            }
        }
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) -> Result<(), TooComplex> {
        let step = match alias {
            ComponentAlias::InstanceExport {
                kind,
                instance_index,
                name,
            } => Step::Alias {
                instance: instance_index,
                name,
                kind: item_kind(kind),
            },
            ComponentAlias::Outer { kind, count, index } => {
                let kind = match kind {
                    ComponentOuterAliasKind::CoreModule => ItemKind::Module,
                    ComponentOuterAliasKind::Component => ItemKind::Component,
                    ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => {
                        return self.others(1, 0, 0);
                    }
                };
                let captured = self.capture(kind, count, index)?;
                Step::Outer { kind, captured }
            }
            ComponentAlias::CoreInstanceExport { .. } => return self.others(1, 0, 0),
        };
        self.step(1, step)
    }

    /// Every component between the item's own and this one captures it, once for each alias, as in the compiler.
    fn capture(&mut self, kind: ItemKind, count: u32, index: u32) -> Result<Captured, TooComplex> {
        let mut captured = Captured::Own(index);
        let inside = self.open.len().saturating_sub(count as usize);
        self.count(u64::from(count).min(self.open.len() as u64))?;
        for plan in self.open.iter_mut().skip(inside) {
            plan.captures.push((kind, captured));
            captured = Captured::Taken(plan.captures.len() - 1);
        }
        Ok(captured)
    }

    fn end(&mut self) -> Result<(), TooComplex> {
        if let Some(imports) = self.module.take() {
            return self.step(1, Step::Module { imports });
        }
        if let Some(plan) = self.open.pop() {
            self.plans.push(plan);
        }
        if self.open.is_empty() {
            return Ok(());
        }
        let plan = self.plans.len().saturating_sub(1);
        self.step(1, Step::Component { plan })
    }

    fn step(&mut self, count: u64, step: Step<'a>) -> Result<(), TooComplex> {
        self.count(count)?;
        if let Some(plan) = self.open.last_mut() {
            plan.steps.push(step);
        }
        Ok(())
    }

    fn others(
        &mut self,
        more: u64,
        lowered_more: u64,
        resources_more: u64,
    ) -> Result<(), TooComplex> {
        self.count(more)?;
        let Some(plan) = self.open.last_mut() else {
            return Ok(());
        };
        if let Some(Step::Others {
            count,
            lowered,
            resources,
        }) = plan.steps.last_mut()
        {
            *count += more;
            *lowered += lowered_more;
            *resources += resources_more;
        } else {
            plan.steps.push(Step::Others {
                count: more,
                lowered: lowered_more,
                resources: resources_more,
            });
        }
        Ok(())
    }

    fn count(&mut self, more: u64) -> Result<(), TooComplex> {
        self.definitions = self.definitions.saturating_add(more);
        if self.definitions > MAX_DEFINITIONS {
            return Err(TooComplex::Definitions);
        }
        Ok(())
    }
}

const fn item_kind(kind: ComponentExternalKind) -> ItemKind {
    match kind {
        ComponentExternalKind::Component => ItemKind::Component,
        ComponentExternalKind::Instance => ItemKind::Instance,
        ComponentExternalKind::Module => ItemKind::Module,
        ComponentExternalKind::Func
        | ComponentExternalKind::Value
        | ComponentExternalKind::Type => ItemKind::Other,
    }
}

const fn item(kind: ComponentExternalKind, index: u32) -> Item {
    Item {
        kind: item_kind(kind),
        index,
    }
}
