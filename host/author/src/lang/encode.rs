//! Encodes a core module as a component, for languages whose compilers produce modules.
use super::world::Interfaces;
use crate::BuildError;
use std::fmt::Display;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{BinaryReaderError, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// Encodes and validates a module with embedded types. If it imports WASI 0.1, as C's `printf` does, an adapter translates to WASI 0.2.
pub(super) fn encode(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let adapted = imports_wasi(module).map_err(|error| refused(&error))?;
    let encoder = ComponentEncoder::default().validate(true).module(module);
    let encoder = if adapted {
        encoder.and_then(|encoder| {
            encoder.adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            )
        })
    } else {
        encoder
    };
    encoder
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| refused(&error))
}

/// As [`encode`], for a module whose types are those of a world.
pub(super) fn encode_as(
    mut module: Vec<u8>,
    interfaces: &Interfaces,
) -> Result<Vec<u8>, BuildError> {
    let Interfaces { resolve, world } = interfaces;
    embed_component_metadata(&mut module, resolve, *world, StringEncoding::UTF8)
        .map_err(|error| refused(&error))?;
    encode(&module)
}

fn refused(error: &dyn Display) -> BuildError {
    BuildError::Encode {
        message: format!("{error:#}"),
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use wasm_encoder::{
        CodeSection, EntityType, Function, FunctionSection, ImportSection, Module, TypeSection,
        ValType,
    };

    /// A module that is never called; it imports `random_get` of this module, if any.
    fn module(import: Option<&str>) -> Vec<u8> {
        let mut types = TypeSection::new();
        types
            .ty()
            .function([ValType::I32, ValType::I32], [ValType::I32]);
        types.ty().function([], []);
        let mut module = Module::new();
        module.section(&types);
        if let Some(name) = import {
            let mut imports = ImportSection::new();
            imports.import(name, "random_get", EntityType::Function(0));
            module.section(&imports);
        }
        let mut functions = FunctionSection::new();
        functions.function(1);
        let mut code = CodeSection::new();
        let mut nothing = Function::new([]);
        nothing.instructions().end();
        code.function(&nothing);
        module.section(&functions).section(&code);
        module.finish()
    }

    fn empty() -> Interfaces {
        let mut resolve = wit_parser::Resolve::default();
        let text = "package test:empty;\nworld empty {}\n";
        let package = resolve.push_str("empty.wit", text).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        Interfaces { resolve, world }
    }

    #[test]
    fn wasi_0_1_is_found_among_the_imports() {
        let name = WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
        assert!(imports_wasi(&module(Some(name))).unwrap());
        assert!(!imports_wasi(&module(Some("other"))).unwrap());
        assert!(!imports_wasi(&module(None)).unwrap());
    }

    #[test]
    fn an_import_outside_the_world_is_refused() {
        let empty = empty();
        let component = encode_as(module(None), &empty).unwrap();
        assert!(wasmparser::Parser::is_component(&component));
        let error = encode_as(module(Some("other")), &empty).unwrap_err();
        assert_eq!(error.name(), "not_encodable");
        assert!(error.to_string().contains("other"), "{error}");
        assert!(encode(b"not wasm").is_err());
    }
}
