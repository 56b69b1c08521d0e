//! What a component imports and exports, read from its bytes without compiling or trusting it.
use thiserror::Error;
use wasmparser::{BinaryReaderError, Encoding, Parser, Payload};

/// The names at a component's boundary, in its own order.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Interface {
    /// What it needs, such as `hotshoe:pipeline/log@0.1.0`.
    pub imports: Vec<String>,
    /// What it offers, such as `hotshoe:pipeline/decide@0.1.0`.
    pub exports: Vec<String>,
}

/// Why the names could not be read.
#[derive(Debug, Error)]
pub enum InterfaceError {
    /// A core module, which has not been encoded as a component.
    #[error("a core module, not a component; encode it with `wasm-tools component new`")]
    Module,
    /// Not WebAssembly, or damaged.
    #[error("not a readable component")]
    Unreadable(#[source] BinaryReaderError),
}

/// Reads the names at a component's top level.
pub fn interface(component: &[u8]) -> Result<Interface, InterfaceError> {
    let mut names = Interface::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(InterfaceError::Unreadable)? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(InterfaceError::Module);
            }
            // Modules and components inside announce themselves, and end with their own `End`.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.imports.push(
                        import
                            .map_err(InterfaceError::Unreadable)?
                            .name
                            .name
                            .to_owned(),
                    );
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    names.exports.push(
                        export
                            .map_err(InterfaceError::Unreadable)?
                            .name
                            .name
                            .to_owned(),
                    );
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_module_is_told_from_a_component() {
        // The eight bytes of the smallest module and of the smallest component: magic, version, layer.
        let module = interface(b"\0asm\x01\0\0\0");
        assert!(matches!(module, Err(InterfaceError::Module)), "{module:?}");
        assert_eq!(
            interface(b"\0asm\x0d\0\x01\0").ok(),
            Some(Interface::default())
        );
        assert!(matches!(
            interface(b"\x89PNG"),
            Err(InterfaceError::Unreadable(_))
        ));
    }
}
