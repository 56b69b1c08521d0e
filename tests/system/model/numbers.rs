//! Models that give numbers, and releases that nothing has tried: what must not pass in silence.

#[path = "../../../host/pipeline/tests/fixture/onnx.rs"]
#[allow(dead_code, reason = "the daemon's tests use the rest")]
pub(crate) mod onnx;

use std::fs;

use onnx::Graph;
use serde_json::Value;

use super::json;
use crate::support::{Workspace, hotshoe, success};

/// `y = size * mean(x)`, and what `more` makes of it; `x` is `[N, 4]`, `y` is `[1, 1]`.
fn regressor(size: f32, more: impl FnOnce(Graph) -> Graph) -> Vec<u8> {
    let graph = Graph::default()
        .input("x", &[None, Some(4)])
        .weight("size", &[1], &[size])
        .node("ReduceMean", &["x"], "mean")
        .node("Mul", &["mean", "size"], "a");
    more(graph).output("y", &[Some(1), Some(1)]).file()
}

fn times(factor: f32) -> impl FnOnce(Graph) -> Graph {
    move |graph| {
        let graph = graph.weight("factor", &[1], &[factor]);
        graph.node("Mul", &["a", "factor"], "y")
    }
}

fn plus(term: f32) -> impl FnOnce(Graph) -> Graph {
    move |graph| {
        let graph = graph.weight("term", &[1], &[term]);
        graph.node("Add", &["a", "term"], "y")
    }
}

/// `(0 * a) / 0 + 1`, or without the division.
fn constant(number: bool) -> impl FnOnce(Graph) -> Graph {
    move |graph| {
        let zero = graph
            .weight("zero", &[1], &[0.0])
            .weight("one", &[1], &[1.0])
            .node("Mul", &["a", "zero"], "none");
        if number {
            return zero.node("Add", &["none", "one"], "y");
        }
        zero.node("Div", &["none", "zero"], "odd")
            .node("Add", &["odd", "one"], "y")
    }
}

#[test]
fn a_regressor_passes_only_where_its_numbers_do() {
    let workspace = Workspace::new();
    let write = |name: &str, bytes: Vec<u8>| {
        let path = workspace.path(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let compare = |first: &str, second: &str, most: &str| -> (Option<i32>, Value) {
        let output = hotshoe([
            "model",
            "compare",
            first,
            second,
            "--synthetic",
            "4",
            "--shape",
            "x=1,4",
            "--runs",
            "1",
            "--max-drop",
            most,
            "--json",
        ]);
        let said = json(&String::from_utf8(output.stdout).unwrap());
        (output.status.code(), said)
    };
    for size in [1.0, 1e-4] {
        let first = write("a.onnx", regressor(size, times(1.0)));
        for (name, second, passes) in [
            ("the same", regressor(size, times(1.0)), true),
            ("0.5 % more", regressor(size, times(1.005)), true),
            ("3 A", regressor(size, times(3.0)), false),
            ("-A", regressor(size, times(-1.0)), false),
            ("A + 100", regressor(size, plus(100.0)), false),
            ("1", regressor(size, constant(true)), false),
        ] {
            let second = write("b.onnx", second);
            let (code, said) = compare(&first, &second, "2%");
            assert_eq!(
                (code == Some(0), &said["passed"]),
                (passes, &Value::Bool(passes)),
                "{name}: {said}"
            );
        }
    }
    // Whatever drop is allowed, and in both.
    let first = write("a.onnx", regressor(1.0, times(1.0)));
    let odd = write("odd.onnx", regressor(1.0, constant(false)));
    for (one, other) in [(&first, &odd), (&odd, &first), (&odd, &odd)] {
        let (code, said) = compare(one, other, "100%");
        assert_eq!(
            (code, &said["passed"]),
            (Some(1), &Value::Bool(false)),
            "{said}"
        );
        assert_eq!(said["outputs"][0]["not_finite"], 4, "{said}");
        assert!(
            said["problem"].as_str().unwrap().contains("not numbers"),
            "{said}"
        );
    }
}

#[test]
fn a_release_that_proves_nothing_is_told_of() {
    let workspace = Workspace::new();
    fs::write(workspace.path("m.onnx"), regressor(1.0, times(2.0))).unwrap();
    let recipe = |tests: &str| {
        format!(
            "name = \"numbers\"\ngeneration = 1\nexpires-in = \"1d\"\n[models.m]\nfile = \"m.onnx\"\n[[pipeline]]\ninfer = \"m\"\n{tests}"
        )
    };
    let pack = |recipe: &str| {
        fs::write(workspace.path("release.toml"), recipe).unwrap();
        let (from, to) = (workspace.path("release.toml"), workspace.path("release"));
        let arguments = [
            "pack".as_ref(),
            from.as_os_str(),
            "--out".as_ref(),
            to.as_os_str(),
        ];
        let output = hotshoe(arguments);
        assert!(output.status.success());
        let report = success(arguments.into_iter().chain(["--json".as_ref()]));
        (String::from_utf8(output.stderr).unwrap(), json(&report))
    };
    let install = || {
        workspace.sign(&workspace.path("release"), "alice");
        let (release, data) = (workspace.path("release"), tempfile::tempdir().unwrap());
        success([
            "install".as_ref(),
            release.as_os_str(),
            "--data".as_ref(),
            data.path().as_os_str(),
            "--trust".as_ref(),
            workspace.path("trust.toml").as_os_str(),
            "--device".as_ref(),
            "d".as_ref(),
            "--site".as_ref(),
            "s".as_ref(),
        ])
    };
    let (said, report) = pack(&recipe(""));
    assert!(said.contains("no self-test"), "{said}");
    assert_eq!(report["warnings"].as_array().unwrap().len(), 1, "{report}");
    let said = install();
    assert!(said.contains("m runs on tract unproven"), "{said}");

    // The mean of 1, 2, 3 and 6 is 3.
    let npz = |name: &str, shape: [usize; 2], elements: &[f32]| {
        let tensor = hotshoe_infer::Tensor::from_f32(&shape, elements.to_vec()).unwrap();
        let bytes = hotshoe_infer::npz::to_bytes(&[(name.to_owned(), tensor)]).unwrap();
        fs::write(workspace.path(&format!("{name}.npz")), bytes).unwrap();
    };
    npz("x", [1, 4], &[1.0, 2.0, 3.0, 6.0]);
    npz("y", [1, 1], &[6.0]);
    let tests = "[[tests]]\nname = \"mean\"\nsample = \"x.npz\"\ncontent-type = \"application/x-npz\"\nexpected = \"y.npz\"\n";
    let (said, report) = pack(&recipe(tests));
    assert!(!said.contains("no self-test"), "{said}");
    assert_eq!(report["warnings"].as_array().unwrap().len(), 0, "{report}");
    let said = install();
    assert!(
        said.contains("self-tests passed: 1") && !said.contains("unproven"),
        "{said}"
    );
    let help = success(["install", "--help"]);
    let help: Vec<&str> = help.split_whitespace().collect();
    let help = help.join(" ");
    assert!(
        help.contains("Without them, models are not checked"),
        "{help}"
    );
}
