//! Reads the imports and exports of a component from its bytes, without compiling or trusting it.
use thiserror::Error;
use wasmparser::{BinaryReaderError, Encoding, Parser, Payload};

/// The deepest nesting of components, because other readers are recursive.
const MAX_NESTING: usize = 100;

/// The names of a component's imports and exports, in the component's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Interface {
    /// The imports, such as `hotshoe:pipeline/log@0.1.0`.
    pub imports: Vec<String>,
    /// The exports, such as `hotshoe:pipeline/decide@0.1.0`.
    pub exports: Vec<String>,
}

/// Why the names could not be read.
#[derive(Debug, Error)]
pub enum InterfaceError {
    /// It is a core module, which is not encoded as a component.
    #[error("a core module, not a component; encode it with `wasm-tools component new`")]
    Module,
    /// Components are nested deeper than any device accepts.
    #[error("its components are nested more than {MAX_NESTING} deep")]
    Nesting,
    /// It is not WebAssembly, or damaged.
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
            // Nested modules and components have their own section and `End`.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                if depth > MAX_NESTING {
                    return Err(InterfaceError::Nesting);
                }
            }
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
    fn a_core_module_is_distinguished_from_a_component() {
        // The eight bytes of the smallest module and of the smallest component: magic, version, layer.
        let module = interface(b"\0asm\x01\0\0\0");
        assert!(matches!(module, Err(InterfaceError::Module)), "{module:?}");
        assert_eq!(
            interface(b"\0asm\x0d\0\x01\0").ok(),
            Some(Interface::default())
        );
        // Each is the only section of the one around it; sizes fit into two bytes.
        let mut nested = Vec::new();
        for _ in 0..=MAX_NESTING {
            let inner = nested;
            nested = b"\0asm\x0d\0\x01\0".to_vec();
            if !inner.is_empty() {
                let size = inner.len();
                nested.extend([4, (size & 0x7f) as u8 | 0x80, (size >> 7) as u8]);
                nested.extend(inner);
            }
        }
        assert_eq!(interface(&nested).ok(), Some(Interface::default()));
        let size = nested.len();
        let mut deeper = b"\0asm\x0d\0\x01\0".to_vec();
        deeper.extend([4, (size & 0x7f) as u8 | 0x80, (size >> 7) as u8]);
        deeper.extend(nested);
        let refused = interface(&deeper);
        assert!(
            matches!(refused, Err(InterfaceError::Nesting)),
            "{refused:?}"
        );
        assert!(matches!(
            interface(b"\x89PNG"),
            Err(InterfaceError::Unreadable(_))
        ));
    }
}
