//! Removes the exports that a bundler adds to a component for itself.
use wasm_encoder::{
    Component, ComponentExportKind, ComponentExportSection, ComponentSection, RawSection, Section,
};
use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExport, ComponentExternalKind, Parser, Payload,
    Validator, WasmFeatures,
};

/// Removes an export of the component that only its bundler called. If a section behind it cannot be renumbered, the
/// component is returned unchanged.
pub(in crate::lang) fn without_export(component: Vec<u8>, name: &str) -> Vec<u8> {
    match rewrite(&component, name) {
        Ok(Some(shorter)) => shorter,
        Ok(None) | Err(_) => component,
    }
}

/// What was taken out: the kind and the index that it had.
struct RemovedExport {
    kind: ComponentExternalKind,
    index: u32,
}

impl RemovedExport {
    /// The index that something of this kind has now; none if it is the one that is removed.
    fn shifted(&self, kind: ComponentExternalKind, index: u32) -> Option<u32> {
        if kind != self.kind || index < self.index {
            return Some(index);
        }
        (index > self.index).then(|| index.saturating_sub(1))
    }
}

fn rewrite(component: &[u8], name: &str) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    let mut output = Component::HEADER.to_vec();
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut removed: Option<RemovedExport> = None;
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        if depth == 0 {
            let counts = validator.types(0).map(|types| {
                (
                    types.component_function_count(),
                    types.component_instance_count(),
                )
            });
            match (&payload, &removed) {
                (Payload::Version { .. } | Payload::End(_), _) => {}
                (Payload::ComponentExportSection(section), _) => {
                    let (functions, instances) = counts.unwrap_or_default();
                    let items: Result<Vec<_>, _> = section.clone().into_iter().collect();
                    let items = items?;
                    let Some(rest) = keep(&items, name, (functions, instances), &mut removed)
                    else {
                        return Ok(None);
                    };
                    if !rest.is_empty() {
                        rest.append_to_component(&mut output);
                    }
                }
                (Payload::ComponentAliasSection(section), Some(removed)) => {
                    for alias in section.clone() {
                        let ComponentAlias::InstanceExport { instance_index, .. } = alias? else {
                            return Ok(None);
                        };
                        if removed.kind == ComponentExternalKind::Instance
                            && instance_index >= removed.index
                        {
                            return Ok(None);
                        }
                    }
                    copy(component, &payload, &mut output);
                }
                (Payload::CustomSection(_), _) | (_, None) => {
                    copy(component, &payload, &mut output)
                }
                (_, Some(_)) => return Ok(None),
            }
        }
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        validator.payload(&payload)?;
    }
    if removed.is_none() {
        return Ok(None);
    }
    Ok(Some(output))
}

fn copy(component: &[u8], payload: &Payload<'_>, output: &mut Vec<u8>) {
    if let Some((id, range)) = payload.as_section() {
        let data = component.get(range).unwrap_or_default();
        RawSection { id, data }.append_to(output);
    }
}

/// The exports without the one with this name; none if one cannot be rewritten.
fn keep(
    items: &[ComponentExport<'_>],
    name: &str,
    (mut functions, mut instances): (u32, u32),
    removed: &mut Option<RemovedExport>,
) -> Option<ComponentExportSection> {
    let mut rest = ComponentExportSection::new();
    for item in items {
        let (kind, next) = match item.kind {
            ComponentExternalKind::Func => (ComponentExportKind::Func, &mut functions),
            ComponentExternalKind::Instance => (ComponentExportKind::Instance, &mut instances),
            _ => return None,
        };
        let index = *next;
        *next += 1;
        if item.name.name == name && removed.is_none() {
            *removed = Some(RemovedExport {
                kind: item.kind,
                index,
            });
            continue;
        }
        let shifted = match removed {
            Some(removed) => removed.shifted(item.kind, item.index)?,
            None => item.index,
        };
        if item.ty.is_some() {
            return None;
        }
        rest.export(item.name.name, kind, shifted, None);
    }
    Some(rest)
}
