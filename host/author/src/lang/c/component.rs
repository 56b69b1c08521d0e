//! From a linked module to a component.
use super::bindings::Interfaces;
use crate::BuildError;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{BinaryReaderError, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// Encodes and validates. Where the C library reaches for WASI 0.1, as `printf` does, an adapter makes WASI 0.2 of that.
pub(super) fn encode(module: &[u8], interfaces: &Interfaces) -> Result<Vec<u8>, BuildError> {
    let refused = |message: String| BuildError::Encode { message };
    let adapted = imports_wasi(module).map_err(|error| refused(error.to_string()))?;
    let mut module = module.to_vec();
    embed_component_metadata(
        &mut module,
        &interfaces.resolve,
        interfaces.world,
        StringEncoding::UTF8,
    )
    .map_err(|error| refused(format!("{error:#}")))?;
    let mut encoder = ComponentEncoder::default();
    encoder
        .validate(true)
        .module(&module)
        .map_err(|error| refused(format!("{error:#}")))?;
    if adapted {
        encoder
            .adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            )
            .map_err(|error| refused(format!("{error:#}")))?;
    }
    encoder
        .encode()
        .map_err(|error| refused(format!("{error:#}")))
}

fn imports_wasi(module: &[u8]) -> Result<bool, BinaryReaderError> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(imports) = payload? {
            for import in imports.into_imports() {
                if import?.module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
