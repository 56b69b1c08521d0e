//! Adapts the generated bindings to the SDK.
//!
//! The generated code needs a module from the network. It also leaves the host's data in memory of Go's heap, which is not safe: the host
//! requests that memory when Go must not start a garbage collection, because a collection reads the clock, and a component must not call
//! imports then. `sdk/go/abi` uses other memory, and copies everything out of it.
use super::MODULE;
use super::bindings::File;

/// The prefix that is removed from package names.
const PREFIX: &str = "hotshoe_pipeline_";
/// The imports that `abi` replaces.
const REPLACED: [&str; 2] = [
    "\"runtime\"",
    "witRuntime \"go.bytecodealliance.org/pkg/wit/runtime\"",
];
/// The replacements in the text.
const CHANGES: [(&str, &str); 8] = [
    (
        "pinner := &runtime.Pinner{}\ndefer pinner.Unpin()",
        "pinner := witRuntime.Begin()\ndefer witRuntime.End(pinner)",
    ),
    (
        "pinner := &syncExportPinner",
        "pinner := witRuntime.Results(&syncExportPinner)",
    ),
    ("= runtime.Pinner{}", "= witRuntime.Pinner{}"),
    ("runtime.AddCleanup(", "witRuntime.AddCleanup("),
    ("unsafe.String(", "witRuntime.String("),
    ("unsafe.Slice(", "witRuntime.Slice("),
    (
        "\"go.bytecodealliance.org/pkg/wit/types\"",
        "\"hotshoe/wit\"",
    ),
    (PREFIX, ""),
];

pub(super) fn adapt(path: &str, text: &str) -> File {
    let path = path.replace(PREFIX, "");
    if !path.ends_with(".go") {
        return File {
            path,
            text: text.to_owned(),
        };
    }
    let mut text = text.to_owned();
    let lines = text.lines().count();
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !REPLACED.contains(&line.trim()))
        .collect();
    if kept.len() < lines {
        let import = format!("import (\nwitRuntime \"{MODULE}/abi\"");
        text = kept.join("\n").replacen("import (", &import, 1) + "\n";
    }
    for (from, to) in CHANGES {
        text = text.replace(from, to);
    }
    File { path, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_use_the_sdk() {
        let text = "package hotshoe_pipeline_data\n\nimport (\n        \"hotshoe/hotshoe_pipeline_types\"\nwitRuntime \
            \"go.bytecodealliance.org/pkg/wit/runtime\"\n\"runtime\"\n)\nfunc Read() {\n        pinner := &runtime.Pinner{}\ndefer \
            pinner.Unpin()\n\nvalue := unsafe.String((*uint8)(p), n)\nutf8 := unsafe.StringData(name)\n}\n";
        let file = adapt("hotshoe_pipeline_data/wit_bindings.go", text);
        assert_eq!(file.path, "data/wit_bindings.go");
        assert_eq!(
            file.text,
            "package data\n\nimport (\nwitRuntime \"hotshoe/abi\"\n        \"hotshoe/types\"\n)\nfunc Read() {\n        pinner := \
            witRuntime.Begin()\ndefer witRuntime.End(pinner)\n\nvalue := witRuntime.String((*uint8)(p), n)\nutf8 := \
            unsafe.StringData(name)\n}\n"
        );
    }
}
