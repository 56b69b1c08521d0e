//! The size of a component after expansion. The compiler instantiates nested components each time that they are named, and copies the exports of an
//! instance wherever it is named: 28 nested components of which each instantiates the next one twice are 268 million. So the expansion is simulated
//! here first, with counts instead of definitions, and stopped at the limit.

use std::collections::HashMap;

use super::outline::{Captured, Item, ItemKind, Plan, Step};
use super::{MAX_DEFINITIONS, MAX_LOWERED, MAX_NESTING, TooComplex};

/// A value: an index into [`Expansion::nodes`].
type Node = usize;
/// A value without contents.
const OTHER: Node = 0;

#[derive(Debug)]
struct Value<'a> {
    contents: Contents<'a>,
    /// Definitions of a copy of it.
    size: u64,
    /// Nesting depth of its values.
    depth: usize,
}

#[derive(Debug)]
enum Contents<'a> {
    Other,
    Module { imports: u64 },
    Component { plan: usize, captured: Vec<Node> },
    Instance(HashMap<&'a str, Node>),
}

/// A component that is being instantiated.
#[derive(Debug, Default)]
struct Frame<'a> {
    plan: usize,
    /// The next step.
    at: usize,
    components: Vec<Node>,
    instances: Vec<Node>,
    modules: Vec<Node>,
    captured: Vec<Node>,
    arguments: HashMap<&'a str, Node>,
    /// Resource types that the compiler knows here; it copies the list for each instance.
    resources: u64,
}

#[derive(Debug)]
struct Expansion<'a, 'p> {
    plans: &'p [Plan<'a>],
    nodes: Vec<Value<'a>>,
    definitions: u64,
    lowered: u64,
}

/// Simulates the instantiation of the last one of these plans.
pub(super) fn expand(plans: &[Plan<'_>]) -> Result<(), TooComplex> {
    let Some(root) = plans.len().checked_sub(1) else {
        return Ok(());
    };
    let other = Value {
        contents: Contents::Other,
        size: 1,
        depth: 0,
    };
    let mut expansion = Expansion {
        plans,
        nodes: vec![other],
        definitions: 0,
        lowered: 0,
    };
    expansion.run(root)
}

impl<'a> Expansion<'a, '_> {
    fn run(&mut self, root: usize) -> Result<(), TooComplex> {
        let plans = self.plans;
        let mut frames = vec![Frame {
            plan: root,
            ..Frame::default()
        }];
        while let Some(frame) = frames.last_mut() {
            let Some(plan) = plans.get(frame.plan) else {
                break;
            };
            if let Some(step) = plan.steps.get(frame.at) {
                frame.at += 1;
                if let Some(inner) = self.step(frame, step)? {
                    if frames.len() > MAX_NESTING {
                        return Err(TooComplex::Nesting);
                    }
                    frames.push(inner);
                }
                continue;
            }
            let made = self.gather(frame, &plan.exports)?;
            frames.pop();
            if let Some(outer) = frames.last_mut() {
                outer.instances.push(made);
            }
        }
        Ok(())
    }

    /// Executes one step, and returns the component to instantiate next, if there is one.
    fn step(
        &mut self,
        frame: &mut Frame<'a>,
        step: &Step<'a>,
    ) -> Result<Option<Frame<'a>>, TooComplex> {
        let (kind, node) = match step {
            Step::Others {
                count,
                lowered,
                resources,
            } => {
                self.lowered = self.lowered.saturating_add(*lowered);
                if self.lowered > MAX_LOWERED {
                    return Err(TooComplex::Lowered);
                }
                frame.resources = frame.resources.saturating_add(*resources);
                self.spend(*count)?;
                return Ok(None);
            }
            Step::Module { imports } => {
                let imports = *imports;
                (
                    ItemKind::Module,
                    self.make(Contents::Module { imports }, &[])?,
                )
            }
            Step::Component { plan } => {
                let captures = self.plans.get(*plan).map(|plan| plan.captures.as_slice());
                let captured: Vec<Node> = captures
                    .unwrap_or_default()
                    .iter()
                    .map(|(kind, from)| frame.captured(*kind, *from))
                    .collect();
                let inside = captured.clone();
                let plan = *plan;
                let component = Contents::Component { plan, captured };
                (ItemKind::Component, self.make(component, &inside)?)
            }
            Step::Import { name, kind } => {
                let given = frame.arguments.get(name).copied();
                (*kind, self.copy(given.unwrap_or(OTHER))?)
            }
            Step::InstantiateModule { module } => {
                let module = frame.item(Item {
                    kind: ItemKind::Module,
                    index: *module,
                });
                let imports = match self.nodes.get(module).map(|value| &value.contents) {
                    Some(Contents::Module { imports }) => *imports,
                    _ => 0,
                };
                self.spend(imports.saturating_add(1))?;
                return Ok(None);
            }
            Step::Instantiate {
                component,
                arguments,
            } => match self.instantiate(frame, *component, arguments)? {
                Some(inner) => return Ok(Some(inner)),
                // A component that the host would have to give: the compiler refuses it.
                None => (ItemKind::Instance, OTHER),
            },
            Step::Gather(items) => (ItemKind::Instance, self.gather(frame, items)?),
            Step::Alias {
                instance,
                name,
                kind,
            } => {
                let instance = frame.item(Item {
                    kind: ItemKind::Instance,
                    index: *instance,
                });
                let found = match self.nodes.get(instance).map(|value| &value.contents) {
                    Some(Contents::Instance(exports)) => exports.get(name).copied(),
                    _ => None,
                };
                (*kind, self.copy(found.unwrap_or(OTHER))?)
            }
            Step::Outer { kind, captured } => (*kind, self.copy(frame.captured(*kind, *captured))?),
            Step::Export(item) => (item.kind, self.copy(frame.item(*item))?),
        };
        frame.push(kind, node);
        Ok(None)
    }

    fn instantiate(
        &mut self,
        frame: &Frame<'a>,
        component: u32,
        arguments: &[(&'a str, Item)],
    ) -> Result<Option<Frame<'a>>, TooComplex> {
        let component = frame.item(Item {
            kind: ItemKind::Component,
            index: component,
        });
        self.spend(frame.resources)?;
        self.copy(component)?;
        let mut given = HashMap::with_capacity(arguments.len());
        for (name, item) in arguments {
            given.insert(*name, self.copy(frame.item(*item))?);
        }
        let Some(Contents::Component { plan, captured }) =
            self.nodes.get(component).map(|value| &value.contents)
        else {
            return Ok(None);
        };
        Ok(Some(Frame {
            plan: *plan,
            captured: captured.clone(),
            arguments: given,
            resources: frame.resources,
            ..Frame::default()
        }))
    }

    /// An instance of these items.
    fn gather(&mut self, frame: &Frame<'a>, items: &[(&'a str, Item)]) -> Result<Node, TooComplex> {
        let named: Vec<(&str, Node)> = items
            .iter()
            .map(|(name, item)| (*name, frame.item(*item)))
            .collect();
        let inside: Vec<Node> = named.iter().map(|(_, node)| *node).collect();
        self.make(Contents::Instance(named.into_iter().collect()), &inside)
    }

    /// A new value with copies of these inside.
    fn make(&mut self, contents: Contents<'a>, inside: &[Node]) -> Result<Node, TooComplex> {
        let (mut size, mut depth) = (1_u64, 0);
        for value in inside.iter().filter_map(|node| self.nodes.get(*node)) {
            size = size.saturating_add(value.size);
            depth = depth.max(value.depth + 1);
        }
        if depth > MAX_NESTING {
            return Err(TooComplex::Nesting);
        }
        self.spend(size)?;
        self.nodes.push(Value {
            contents,
            size,
            depth,
        });
        Ok(self.nodes.len() - 1)
    }

    /// The compiler copies a value with all that is in it.
    fn copy(&mut self, node: Node) -> Result<Node, TooComplex> {
        let size = self.nodes.get(node).map_or(1, |value| value.size);
        self.spend(size)?;
        Ok(node)
    }

    fn spend(&mut self, definitions: u64) -> Result<(), TooComplex> {
        self.definitions = self.definitions.saturating_add(definitions);
        if self.definitions > MAX_DEFINITIONS {
            return Err(TooComplex::Definitions);
        }
        Ok(())
    }
}

impl Frame<'_> {
    /// An item by its index. An invalid index counts as a value without contents.
    fn item(&self, item: Item) -> Node {
        let space = match item.kind {
            ItemKind::Component => &self.components,
            ItemKind::Instance => &self.instances,
            ItemKind::Module => &self.modules,
            ItemKind::Other => return OTHER,
        };
        space.get(item.index as usize).copied().unwrap_or(OTHER)
    }

    fn captured(&self, kind: ItemKind, captured: Captured) -> Node {
        match captured {
            Captured::Own(index) => self.item(Item { kind, index }),
            Captured::Taken(index) => self.captured.get(index).copied().unwrap_or(OTHER),
        }
    }

    fn push(&mut self, kind: ItemKind, node: Node) {
        match kind {
            ItemKind::Component => self.components.push(node),
            ItemKind::Instance => self.instances.push(node),
            ItemKind::Module => self.modules.push(node),
            ItemKind::Other => {}
        }
    }
}
