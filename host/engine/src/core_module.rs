//! Detection of core WebAssembly modules before anything is compiled.

use std::collections::BTreeSet;

use wasmparser::{Encoding, Parser, Payload};

/// The modules that a core module imports from, as far as they can be read; `None` if `bytes` are not a core module.
pub(crate) fn core_module(bytes: &[u8]) -> Option<BTreeSet<String>> {
    let mut payloads = Parser::new(0).parse_all(bytes);
    let Some(Ok(Payload::Version {
        encoding: Encoding::Module,
        ..
    })) = payloads.next()
    else {
        return None;
    };
    let imports = payloads
        .map_while(Result::ok)
        .filter_map(|payload| match payload {
            Payload::ImportSection(section) => Some(section),
            _ => None,
        })
        .flat_map(|section| section.into_imports())
        .map_while(Result::ok)
        .map(|import| import.module.to_owned());
    Some(imports.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_and_other_bytes_are_no_core_modules() {
        assert_eq!(core_module(b""), None);
        assert_eq!(core_module(b"no WebAssembly at all"), None);
        assert_eq!(core_module(b"\0asm\x0d\0\x01\0"), None);
        assert_eq!(core_module(b"\0asm\x01\0\0\0"), Some(BTreeSet::new()));
        // Cut off in its imports: it is a core module all the same.
        assert_eq!(
            core_module(b"\0asm\x01\0\0\0\x02\x09\x01\x03env"),
            Some(BTreeSet::new())
        );
    }
}
