//! The ONNX project's node tests on every backend: each case passes, is not supported, or fails this suite.
//!
//! What is not supported stands in `conformance/unsupported-BACKEND.txt`, and what is wrong, each with a reason, in
//! `conformance/wrong-BACKEND.txt`; both can only shrink. The table by operator is written to `target/conformance`.
//! `HOTSHOE_CONFORMANCE=accept cargo test --test conformance` writes the lists again.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "conformance/case.rs"]
mod case;
#[path = "conformance/compare.rs"]
mod compare;
#[path = "conformance/lists.rs"]
mod lists;
#[path = "conformance/table.rs"]
mod table;
#[path = "conformance/workers.rs"]
mod workers;

use std::io::Write as _;
use std::time::Instant;

use hotshoe_devkit::{Extra, Progress, fetch};
use hotshoe_infer::Backend;
use hotshoe_tests::{extra, root};

use crate::workers::Results;

/// Asks for the lists to be written instead of being held against the results.
const MODE: &str = "HOTSHOE_CONFORMANCE";

/// Past the test runner's capture of what tests print.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("standard error");
}

#[test]
fn the_node_cases_of_onnx_are_passed_or_refused() {
    let root = root();
    let Some(folder) = extra(Extra::NodeCases) else {
        return;
    };
    let lists = root.join("tests/conformance");
    let withdrawn = lists::withdrawn(&lists);
    let mut names = case::names(&folder);
    let all = names.len();
    names.retain(|name| !withdrawn.contains_key(name));
    assert_eq!(
        all - names.len(),
        withdrawn.len(),
        "a withdrawn case is gone"
    );
    let mut backends = vec![Backend::Tract];
    if extra(Extra::OnnxRuntime).is_some() {
        backends.push(Backend::Ort);
    }
    let mut results = Results::new();
    for backend in backends {
        let start = Instant::now();
        let outcomes = workers::run(backend, &names);
        let seconds = start.elapsed().as_secs_f32();
        say(&format!(
            "{backend}: {} in {seconds:.0} s",
            table::totals(&outcomes)
        ));
        results.insert(backend.to_string(), outcomes);
    }
    say(&format!(
        "{} cases pass on at least one backend",
        table::somewhere(&results)
    ));
    table::write(&root.join("target/conformance"), &folder, &results);
    if std::env::var(MODE).as_deref() == Ok("accept") {
        lists::accept(&lists, &results);
    }
    let complaints = lists::complaints(&lists, &results);
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

/// Does nothing unless the test above started it, to have cases run where an abort or a hang costs one case.
#[test]
fn worker() {
    if let Some(backend) = workers::asked_for() {
        let folder = fetch(&root(), Extra::NodeCases, &Progress::silent()).expect("the node cases");
        workers::serve(backend, &folder);
    }
}
