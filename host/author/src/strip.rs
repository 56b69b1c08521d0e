//! Strips names and debug information, which devices do not need.
mod stubs;

use wasm_encoder::{Component, ComponentSectionId, Encode, Module, RawSection, Section};
use wasmparser::{BinaryReaderError, Encoding, Parser, Payload};

/// Whether a custom section is kept: producers, and branch hints for the compiler; the names of functions where asked.
fn is_kept(custom: &str, names: bool) -> bool {
    custom == "producers" || custom.starts_with("metadata.code.") || names && custom == "name"
}

/// Removes the custom sections that only people and debuggers read, in all nested modules and components. With `names`, the names of functions stay,
/// which the message of a trap then has. Functions that stand for WASI get a name in any case.
pub fn strip(component: &[u8], names: bool) -> Result<Vec<u8>, BinaryReaderError> {
    // The current binary, and those around it.
    let mut output = Vec::new();
    let mut around = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version { encoding, .. } => output.extend_from_slice(match encoding {
                Encoding::Component => &Component::HEADER,
                Encoding::Module => &Module::HEADER,
            }),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                around.push(std::mem::take(&mut output));
            }
            Payload::End(_) => {
                let Some(outer) = around.pop() else { break };
                let mut inner = std::mem::replace(&mut output, outer);
                let id = if inner.starts_with(&Component::HEADER) {
                    ComponentSectionId::Component
                } else {
                    if let Some(names) = stubs::names(&inner)? {
                        names.append_to(&mut inner);
                    }
                    ComponentSectionId::CoreModule
                };
                output.push(id as u8);
                inner.encode(&mut output);
            }
            Payload::CustomSection(section) if !is_kept(section.name(), names) => {}
            section => {
                if let Some((id, range)) = section.as_section() {
                    let data = component.get(range).unwrap_or_default();
                    RawSection { id, data }.append_to(&mut output);
                }
            }
        }
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use wasm_encoder::{CustomSection, ModuleSection};

    fn custom(name: &'static str) -> CustomSection<'static> {
        CustomSection {
            name: name.into(),
            data: b"abc"[..].into(),
        }
    }

    #[test]
    fn names_are_removed_and_producers_kept_at_every_depth() {
        let mut module = Module::new();
        module
            .section(&custom("name"))
            .section(&custom("producers"))
            .section(&custom(".debug_info"));
        let mut component = Component::new();
        component
            .section(&ModuleSection(&module))
            .section(&custom("component-name"))
            .section(&custom("producers"));
        let whole = component.finish();
        let stripped = strip(&whole, false).unwrap();

        let mut module = Module::new();
        module.section(&custom("producers"));
        let mut expected = Component::new();
        expected
            .section(&ModuleSection(&module))
            .section(&custom("producers"));
        let expected = expected.finish();
        assert_eq!(stripped, expected);
        assert_eq!(strip(&expected, false).unwrap(), expected);
        // The name of the module stays, and of the debug information nothing.
        let named = strip(&whole, true).unwrap();
        assert_eq!(
            named.len(),
            expected.len() + 2 + "name".len() + 1 + b"abc".len()
        );
    }
}
