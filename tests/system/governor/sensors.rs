//! Sensors that disappear, say nothing sensible, or do not answer.

use serde_json::Value;

use super::scene::{Phase, STEADY, Scene, Stream, Variant, events, mode, plan, stream};
use super::tree::{TEMPERATURE, ZONE};
use crate::support::{Daemon, Workspace};

/// The path of a second thermal zone.
const HANGING: &str = "sys/class/thermal/thermal_zone7/temp";

#[test]
fn a_sensor_that_fails_is_named_and_loosens_nothing() {
    let workspace = Workspace::new();
    let scene = Scene::new(&workspace);
    let daemon = scene.device(&workspace, &scene.shipped(), "").run();
    let (phases, answers) = stream(&daemon, STEADY, 64, |it| play(&scene, &daemon, it));
    for phase in &phases {
        answers.check(phase);
    }
    answers.check_counts(&daemon);
}

/// Whether the status says that this sensor fails so.
fn fails(state: &Value, path: &str, fault: &str) -> bool {
    let faults = state["governor"]["sensor_faults"].as_array();
    faults.into_iter().flatten().any(|it| {
        let sensor = it["sensor"].as_str().unwrap_or_default();
        sensor.ends_with(path) && it["fault"] == fault
    })
}

fn play(scene: &Scene, daemon: &Daemon, it: &Stream<'_>) -> Vec<Phase> {
    let minimal = Some(Variant::Minimal);
    let mut phases = Vec::new();
    scene.tree.heat(80.0);
    daemon.wait_until(|state| mode(state) == "minimal");

    // It disappears: its rule stays in force, with an alert.
    scene.tree.remove(ZONE);
    let state = daemon.wait_until(|state| plan(state).contains("no-temperature"));
    assert_eq!(mode(&state), "minimal", "{state:#}");
    phases.push(it.phase(minimal));

    // It is there again, and says no number.
    scene.tree.zone(80.0);
    daemon.wait_until(|state| !plan(state).contains("no-temperature"));
    scene.tree.write(TEMPERATURE, "warm\n");
    let state = daemon.wait_until(|state| fails(state, TEMPERATURE, "invalid"));
    assert_eq!(mode(&state), "minimal", "{state:#}");
    phases.push(it.phase(minimal));
    scene.tree.heat(80.0);
    daemon.wait_until(|state| !fails(state, TEMPERATURE, "invalid"));

    // Another one hangs: it is named, and the first one is read as before.
    scene.tree.hang(HANGING);
    daemon.wait_until(|state| fails(state, HANGING, "timed_out"));
    scene.tree.heat(40.0);
    let state = daemon.wait_until(|state| mode(state) == "full");
    assert!(fails(&state, HANGING, "timed_out"), "{state:#}");
    phases.push(it.phase(Some(Variant::Full)));

    let failed: Vec<String> = events(&state, "sensor_failed")
        .iter()
        .map(ToString::to_string)
        .collect();
    for path in [TEMPERATURE, HANGING] {
        let is_named = failed.iter().any(|event| event.contains(path));
        assert!(is_named, "{path}: {failed:#?}");
    }
    phases
}
