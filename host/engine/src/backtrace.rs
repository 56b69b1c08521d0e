//! The functions that a trap went through, where the component has their names.

use hotshoe_trust::printable;
use wasmtime::{FrameInfo, WasmBacktrace};

/// Maximum number of functions in a message.
const MAX_FRAMES: usize = 8;
/// Maximum number of characters of a name.
const MAX_NAME_CHARS: usize = 128;
/// How the names of Rust's own functions begin, through which every panic goes.
const RUST_RUNTIME: [&str; 8] = [
    "std::", "core::", "alloc::", "__rust", "rust_", "<std", "<core", "abort",
];

/// ` in inner from outer`; empty for a component without names.
pub(crate) fn of(error: &wasmtime::Error) -> String {
    let frames = error
        .downcast_ref()
        .map_or(&[][..], WasmBacktrace::frames)
        .iter();
    let names: Vec<String> = frames
        .filter_map(FrameInfo::func_name)
        .map(shown)
        .skip_while(|name| RUST_RUNTIME.iter().any(|start| name.starts_with(start)))
        .take(MAX_FRAMES)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(" in {}", names.join(" from "))
}

/// A name as the author wrote it, without the hash of Rust's mangling.
fn shown(name: &str) -> String {
    let plain = format!("{:#}", rustc_demangle::demangle(name));
    printable(&plain, &[])
        .chars()
        .take(MAX_NAME_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_their_author_wrote_them() {
        let mangled = "_ZN7project6decide17h0123456789abcdefE";
        assert_eq!(shown(mangled), "project::decide");
        assert_eq!(shown("decide"), "decide");
        assert_eq!(shown(&"x".repeat(1000)).len(), MAX_NAME_CHARS);
    }
}
