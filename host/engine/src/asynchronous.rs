//! Detection of the asynchronous ABI of the component model, without compiling anything.

use wasmparser::{CanonicalFunction, CanonicalOption, Parser, Payload};

/// Whether a component uses the asynchronous ABI of the component model. `false` for bytes that cannot be read.
pub(crate) fn is_async(bytes: &[u8]) -> bool {
    let payloads = Parser::new(0).parse_all(bytes).map_while(Result::ok);
    payloads
        .filter_map(|payload| match payload {
            Payload::ComponentCanonicalSection(section) => Some(section),
            _ => None,
        })
        .flat_map(|section| section.into_iter().map_while(Result::ok))
        .any(|function| needs_async(&function))
}

fn needs_async(function: &CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.contains(&CanonicalOption::Async)
        }
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. }
        | CanonicalFunction::ThreadSpawnRef { .. }
        | CanonicalFunction::ThreadSpawnIndirect { .. }
        | CanonicalFunction::ThreadAvailableParallelism => false,
        // Tasks, streams, futures and what waits for them.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn is_async_text(text: &str) -> bool {
        is_async(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn the_asynchronous_abi_is_found_and_resources_are_not() {
        assert!(is_async_text("(component (core func (canon task.cancel)))"));
        let nested = "(component (component (core func (canon task.cancel))))";
        assert!(is_async_text(nested));
        assert!(!is_async_text("(component)"));
        let resource = "(component (type $r (resource (rep i32))) (core func (canon resource.new $r)) (core func (canon resource.drop $r)))";
        assert!(!is_async_text(resource));
        assert!(!is_async(b"no WebAssembly at all"));
    }
}
