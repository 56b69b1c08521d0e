//! Drops the borrowed sample of a call in time.
//!
//! A borrowed handle must be dropped before the call returns. `componentize-qjs` 0.4 drops handles of parameters after the call, which traps, and
//! does not let the SDK drop them. During the build, the function therefore *owns* its sample, so that the SDK's guard can drop it. For the
//! inner module both are the same, a number and the function that drops it; this module restores the type in the component around it.
use wasmparser::{
    BinaryReaderError, ComponentDefinedType, ComponentType, ComponentValType, Parser, Payload,
    Validator, WasmFeatures,
};

const PARAMETER: &str = "sample";
/// The binary encoding of the two types.
const OWN: u8 = 0x69;
const BORROW: u8 = 0x68;

/// Changes the WIT so that the exported function owns its sample.
pub(super) fn with_owned_sample(wit: &str) -> String {
    wit.replace("(sample: borrow<sample>", "(sample: sample")
}

/// Restores the borrowed type in the component.
pub(super) fn restore_borrow(mut component: Vec<u8>) -> Result<Vec<u8>, BinaryReaderError> {
    for at in owned_samples(&component)? {
        if let Some(tag) = component.get_mut(at).filter(|tag| **tag == OWN) {
            *tag = BORROW;
        }
    }
    Ok(component)
}

/// The offsets of the types of owned samples, in all nested components.
fn owned_samples(component: &[u8]) -> Result<Vec<usize>, BinaryReaderError> {
    let mut found = Vec::new();
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    // For each enclosing component: the owned handles among its types, by index.
    let mut scopes: Vec<Vec<(u32, usize)>> = vec![Vec::new()];
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                scopes.push(Vec::new())
            }
            Payload::End(_) => drop(scopes.pop()),
            Payload::ComponentTypeSection(section) => {
                let before = validator.types(0).map(|types| types.component_type_count());
                let own = scopes.last_mut();
                let (Some(before), Some(own)) = (before, own) else {
                    continue;
                };
                for (index, item) in (before..).zip(section.clone().into_iter_with_offsets()) {
                    match item? {
                        (at, ComponentType::Defined(ComponentDefinedType::Own(_))) => {
                            own.push((index, at));
                        }
                        (_, ComponentType::Func(function)) => {
                            for (name, ty) in &function.params {
                                let ComponentValType::Type(ty) = ty else {
                                    continue;
                                };
                                let owned = own.iter().find(|(index, _)| index == ty);
                                found.extend(
                                    owned.filter(|_| *name == PARAMETER).map(|(_, at)| *at),
                                );
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        validator.payload(&payload)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use wasm_encoder::{
        Component, ComponentImportSection, ComponentTypeRef, ComponentTypeSection,
        ComponentValType as Encoded, PrimitiveValType, TypeBounds,
    };

    #[test]
    fn only_the_sample_is_borrowed_again() {
        let mut imports = ComponentImportSection::new();
        imports.import("sample", ComponentTypeRef::Type(TypeBounds::SubResource));
        let mut types = ComponentTypeSection::new();
        types.defined_type().own(0);
        types.defined_type().own(0);
        let mut function = types.function();
        function
            .params([("other", Encoded::Type(1)), ("sample", Encoded::Type(2))])
            .result(Some(Encoded::Primitive(PrimitiveValType::U8)));
        let mut component = Component::new();
        component.section(&imports).section(&types);
        let before = component.finish();
        let after = restore_borrow(before.clone()).unwrap();
        let changed: Vec<_> = before
            .iter()
            .zip(&after)
            .filter(|(old, new)| old != new)
            .collect();
        assert_eq!(changed, [(&OWN, &BORROW)]);
        assert!(owned_samples(&after).unwrap().is_empty());
    }

    #[test]
    fn an_exported_function_owns_its_sample_during_the_build() {
        assert_eq!(
            with_owned_sample("f: func(sample: borrow<sample>, n: u8)"),
            "f: func(sample: sample, n: u8)"
        );
        assert_eq!(
            with_owned_sample("f: func(image: borrow<image>)"),
            "f: func(image: borrow<image>)"
        );
    }
}
