//! `wasi:nn`: unmodified components over the release's own models, and what the host does with those that ask for more.

use std::fs;

use hotshoe_tests::Signer;
use serde_json::Value;

use crate::hostile::{each_costs_one_sample, fault};
use crate::support::{Workspace, environment, json_lines};

/// What `hotshoe exec` says of one picture.
fn exec(recipe: &str) -> Value {
    let workspace = Workspace::new();
    let output = workspace.exec(
        &workspace.release(recipe),
        &[environment().picture("page.png")],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    json_lines(&text).remove(0)
}

#[test]
fn a_named_model_answers_as_through_infer_in_every_byte() {
    let compared = exec(&Workspace::recipe("compare-nn.toml"));
    assert_eq!(compared["error"], Value::Null, "{compared}");
    let values = compared["insight"]["values"].as_array().unwrap();
    assert_eq!(values.len(), 2, "{compared}");

    let through_nn = exec(&Workspace::recipe("classify-angle-nn.toml"));
    let through_infer = exec(&Workspace::recipe("classify-angle-infer.toml"));
    assert_eq!(through_nn["insight"], through_infer["insight"]);
    let best = &through_nn["insight"]["classes"][0]["score"];
    let highest = values.iter().filter_map(Value::as_f64).fold(0.0, f64::max);
    assert_eq!(best.as_f64(), Some(highest));
}

#[test]
fn named_models_alone_and_within_the_limits() {
    each_costs_one_sample(
        &Workspace::recipe("hostile-nn.toml"),
        &[
            ("load", "denied", "load-by-name"),
            (
                "unknown",
                "not_found",
                "no model `a-model-that-there-is-not`",
            ),
            (
                "foreign",
                "not_found",
                "the release names: classify-angle, detect, recognise",
            ),
            ("bomb", "memory", "tensor-mib of 64 MiB"),
            ("count", "memory", "1024 tensors"),
            ("graphs", "handles", "4096 handles"),
            ("outputs", "limit_exceeded", "tensor-mib of 64 MiB"),
            ("bf16", "unsupported", "bf16"),
            ("u8", "unsupported", "takes f32, but the tensor is u8"),
            ("short", "invalid_input", "110592 bytes, but there are 12"),
            ("name", "invalid_input", "no-such-input"),
        ],
    );
}

#[test]
fn a_deadline_gives_up_the_run_of_a_model_and_the_daemon_serves_on() {
    let workspace = Workspace::new();
    let recipe =
        Workspace::recipe("hostile-nn.toml").replace("deadline-ms = 5000", "deadline-ms = 1000");
    let release = workspace.release(&recipe);
    let daemon = workspace
        .device("a", &release, "[workers]\nthreads = 1")
        .run();
    for payload in ["slow", "slow-infer"] {
        let (kind, message) = fault(&daemon, payload);
        assert_eq!(kind, "deadline", "{payload}: {message}");
        let words = "while it ran model `detect`";
        assert!(message.contains(words), "{payload}: {message}");
        assert_eq!(fault(&daemon, "good").0, "none", "after {payload}");
    }
    let status = daemon.status();
    assert!(status.counters.add_up(), "{:?}", status.counters);
    let named = |name: &str| status.models.iter().find(|model| model.name == name);
    let detect = named("detect").unwrap();
    // The second may have waited for the first to stop.
    assert!(detect.abandoned >= 1, "{detect:?}");
    assert_eq!(named("classify-angle").unwrap().abandoned, 0);
    assert!(daemon.stop().success());
}

#[test]
fn an_instance_sees_the_models_of_its_own_release() {
    let workspace = Workspace::new();
    let own = Workspace::recipe("hostile-nn.toml");
    // Another release gives other models to a component of the same bytes, on a daemon of its own.
    let other = own.replace(
        "models = [\"classify-angle\", \"detect\", \"recognise\"]",
        "models = [\"classify-angle\", \"foreign\"]",
    );
    let daemon = workspace.device("a", &workspace.release(&own), "").run();
    assert_eq!(fault(&daemon, "foreign").0, "not_found");
    assert_eq!(fault(&daemon, "good").0, "none");
    assert!(daemon.stop().success());

    let daemon = workspace.device("b", &workspace.release(&other), "").run();
    assert_eq!(fault(&daemon, "foreign").0, "none");
    let (kind, message) = fault(&daemon, "outputs");
    assert_eq!(kind, "not_found", "{message}");
    assert!(message.contains("classify-angle, foreign"), "{message}");
}

/// A core module that imports the function `load` of this module.
fn core_module(module: &str) -> Vec<u8> {
    let mut import = vec![1, module.len() as u8];
    import.extend(module.as_bytes());
    import.extend(b"\x04load\x00\x00"); // a function of the first type
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    bytes.extend([1, 4, 1, 0x60, 0, 0]); // one type: no parameters, no results
    bytes.extend([2, import.len() as u8]);
    bytes.extend(import);
    bytes
}

#[test]
fn a_core_module_is_told_to_become_a_component() {
    let workspace = Workspace::new();
    let plain = environment().component("hostile-nn").display().to_string();
    // By a device; `hotshoe pack` refuses it as well.
    let signer = Signer::new("alice");
    fs::write(workspace.path("trust.toml"), &signer.trust).unwrap();
    let refusal = |module: &str| {
        let file = workspace.path("core.wasm");
        fs::write(&file, core_module(module)).unwrap();
        let recipe =
            Workspace::recipe("hostile-nn.toml").replace(&plain, &file.display().to_string());
        let (manifest, out) = (workspace.path("release.toml"), workspace.path("release"));
        fs::write(&manifest, recipe).unwrap();
        signer.pack(&manifest, &out);
        workspace.refusal(&out)
    };
    let said = refusal("wasi_ephemeral_nn");
    for part in [
        "core_module",
        "wasi-nn's older ABI",
        "wasi:nn@0.2.0-rc-2024-10-28",
        "wasm32-wasip2",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let said = refusal("wasi_snapshot_preview1");
    assert!(said.contains("--adapt"), "{said}");
    let said = refusal("env");
    assert!(
        said.contains("is a core WebAssembly module, not a component") && !said.contains("adapt"),
        "{said}"
    );
}
