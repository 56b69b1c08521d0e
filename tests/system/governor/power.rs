//! `hotshoe power estimate`.

use std::fs;

use serde_json::{Value, json};

use super::scene::{STEADY, Scene, stream};
use super::tree::Battery;
use crate::support::{Workspace, failure, hotshoe, success};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn hours_follow_from_the_watts_that_the_device_measured() {
    let workspace = Workspace::new();
    let scene = Scene::new(&workspace);
    // It gives 10 W. Only the mode that was in force has a figure.
    scene.tree.charge(90, Battery::Discharging);
    let device = scene.device(&workspace, &scene.shipped(), "");
    let daemon = device.run();
    let ((), answers) = stream(&daemon, STEADY, 64, |_| {
        daemon.wait_until(|state| state["governor"]["modes"][0]["watts"].is_number());
    });
    let config = device.config.display().to_string();
    let data = workspace.path("cam-data").display().to_string();
    for place in [["--config", &config], ["--data", &data]] {
        let arguments = ["power", "estimate", "--capacity-wh", "50", "--json"];
        let estimate = json(&success([&arguments[..], &place].concat()));
        let modes = estimate["modes"].as_array().unwrap();
        assert_eq!(modes[0]["name"], "full", "{estimate:#}");
        let hours = modes[0]["hours"].as_f64().unwrap();
        assert!((4.9..5.1).contains(&hours), "{estimate:#}");
        assert_eq!(
            modes[1],
            json!({"name": "minimal", "watts": null, "hours": null})
        );
    }
    let arguments = ["power", "estimate", "--capacity-wh", "50", "--data", &data];
    let text = success(arguments);
    assert!(text.contains("not known"), "{text}");
    answers.check_counts(&daemon);
}

#[test]
fn hours_follow_from_a_table() {
    let workspace = Workspace::new();
    let table = workspace.path("watts.toml");
    let path = table.display().to_string();
    let estimate = ["power", "estimate", "--capacity-wh", "50", "--table", &path];
    fs::write(&table, "full = 6.25\nminimal = 2\n").unwrap();
    let said = json(&success([&estimate[..], &["--json"]].concat()));
    assert_eq!(
        said,
        json!({"capacity_wh": 50.0, "modes": [
            {"name": "full", "watts": 6.25, "hours": 8.0},
            {"name": "minimal", "watts": 2.0, "hours": 25.0}
        ]})
    );
    let said = success(estimate);
    assert!(said.contains("6.2 W") && said.contains("8.0 h"), "{said}");
    for (text, name) in [
        ("", "empty_table"),
        ("full = 0\n", "watts_out_of_range"),
        ("full = \"much\"\n", "invalid_toml"),
    ] {
        fs::write(&table, text).unwrap();
        let said = failure(estimate);
        assert!(said.starts_with(name), "{said}");
    }
}

#[test]
fn an_estimate_needs_a_capacity_and_a_daemon_or_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let estimate = ["power", "estimate", "--data", &data];
    let said = failure([&estimate[..], &["--capacity-wh", "50"]].concat());
    assert!(said.starts_with("not_running"), "{said}");
    for wrong in [
        &[][..],
        &["--capacity-wh", "0"],
        &["--capacity-wh", "50", "--table", "watts.toml"],
    ] {
        let output = hotshoe([&estimate[..], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}
