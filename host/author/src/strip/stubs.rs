//! Names for the functions with which a bundler replaces WASI. They only trap, and a trap in a function without a name has no explanation.
use std::collections::BTreeMap;
use wasm_encoder::{NameMap, NameSection};
use wasmparser::{BinaryReaderError, ExternalKind, Parser, Payload, TypeRef};

/// The body of a function that traps at once: no locals, `unreachable`, `end`.
const TRAPS: [u8; 3] = [0x00, 0x00, 0x0b];
/// The body of a function that does nothing: no locals, `end`.
const EMPTY: [u8; 2] = [0x00, 0x0b];

/// How the names of functions begin by the newer rules of `wit-component`.
const ABI: &str = "cm32p2|";
/// The package of the bundler of JavaScript, which loads modules with it.
const BUNDLER: &str = "local:";

/// The names of the functions of a core module that has such functions alone; `None` for any other, and for one that has names.
pub(super) fn names(module: &[u8]) -> Result<Option<NameSection>, BinaryReaderError> {
    let mut imported: u32 = 0;
    let mut traps = false;
    let mut exported = BTreeMap::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                        imported += 1;
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        exported.insert(export.index, export.name);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => match module.get(body.range()) {
                Some(code) if code == TRAPS => traps = true,
                Some(code) if code == EMPTY => {}
                _ => return Ok(None),
            },
            Payload::CustomSection(section) if section.name() == "name" => return Ok(None),
            _ => {}
        }
    }
    if !traps {
        return Ok(None);
    }
    let mut functions = NameMap::new();
    for (index, name) in exported.range(imported..) {
        functions.append(*index, &shown(name));
    }
    let mut section = NameSection::new();
    section.functions(&functions);
    Ok(Some(section))
}

/// The name of a stub, which the message of a trap shows.
fn shown(export: &str) -> String {
    let name = export.strip_prefix(ABI).unwrap_or(export);
    let needs = if name.starts_with(BUNDLER) {
        "which is there only while the component is built"
    } else {
        "for which the release must grant wasi"
    };
    format!("stub of {name}, {needs}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use wasm_encoder::{
        CodeSection, ExportKind, ExportSection, Function, FunctionSection, Instruction, Module,
        TypeSection,
    };

    fn module(bodies: &[&[Instruction<'_>]]) -> Vec<u8> {
        let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
        let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
        types.ty().function([], []);
        for (index, body) in bodies.iter().enumerate() {
            functions.function(0);
            exports.export(&format!("f{index}"), ExportKind::Func, index as u32);
            let mut function = Function::new([]);
            for instruction in *body {
                function.instruction(instruction);
            }
            code.function(&function);
        }
        let mut module = Module::new();
        module
            .section(&types)
            .section(&functions)
            .section(&exports)
            .section(&code);
        module.finish()
    }

    #[test]
    fn functions_that_only_trap_are_named_by_their_exports() {
        use Instruction::{End, Nop, Unreachable};
        let stubs = module(&[&[End], &[Unreachable, End]]);
        let named = names(&stubs).unwrap().unwrap();
        let mut bytes = Vec::new();
        wasm_encoder::Encode::encode(&named, &mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("stub of f1, for which the release must grant wasi"));
        let clock = shown("cm32p2|wasi:clocks/wall-clock@0.2|now");
        assert!(clock.starts_with("stub of wasi:clocks/wall-clock@0.2|now, for which"));
        assert!(shown("cm32p2|local:init/module-loader|load").ends_with("is built"));
        for other in [
            module(&[]),
            module(&[&[End]]),
            module(&[&[Unreachable, End], &[Nop, End]]),
        ] {
            assert!(names(&other).unwrap().is_none());
        }
    }
}
