//! A battery that runs empty and is charged again.

use hotshoe_tests::until;
use serde_json::Value;

use super::scene::{Phase, STEADY, Scene, Stream, Variant, changes, events, plan, stream};
use super::tree::{Battery, SLEEP};
use crate::support::{Daemon, Workspace};

#[test]
fn a_battery_that_runs_empty_ends_in_hibernation_and_a_charged_one_in_full_mode() {
    let workspace = Workspace::new();
    let scene = Scene::new(&workspace);
    scene.tree.charge(60, Battery::Discharging);
    scene.tree.write(SLEEP, "freeze mem disk\n");
    let daemon = scene
        .device(&workspace, &scene.shipped(), "hibernate = true")
        .run();
    let (phases, answers) = stream(&daemon, STEADY, 64, |it| play(&scene, &daemon, it));
    for phase in &phases {
        answers.check(phase);
    }
    let (results, all) = answers.rate(&phases[1]);
    assert!(results <= all / 3 + 2, "{results} of {all}");
    answers.check_counts(&daemon);
}

fn play(scene: &Scene, daemon: &Daemon, it: &Stream<'_>) -> Vec<Phase> {
    let full = Some(Variant::Full);
    daemon.wait_until(|state| state["governor"]["by"] == "component");
    let mut phases = vec![it.phase(full)];
    // Status goes out each 300 s, then each hour.
    for (number, percent, status_s) in [(1, 40, "300"), (2, 15, "3600"), (3, 3, "3600")] {
        scene.tree.charge(percent, Battery::Discharging);
        let state = daemon.wait_until(|state| changes(state) >= number);
        assert_eq!(changes(&state), number, "{state:#}");
        let reason = format!("the batteries have {percent} %");
        assert!(plan(&state).contains(&reason), "{state:#}");
        assert!(plan(&state).contains(status_s), "{state:#}");
        phases.push(it.phase(full.filter(|_| percent > 5)));
    }
    until("the device is put to sleep", || {
        scene.tree.read(SLEEP).starts_with("disk")
    });
    let state = daemon.state();
    assert!(has_alert(&state, "battery-empty"), "{state:#}");

    // The mains are there: the charge does not matter.
    scene.tree.charge(4, Battery::Charging);
    let state = daemon.wait_until(|state| changes(state) >= 4);
    assert_eq!(changes(&state), 4, "{state:#}");
    assert!(!plan(&state).contains("batteries"), "{state:#}");
    phases.push(it.phase(full));

    // And the battery alone, once there is enough in it.
    scene.tree.charge(80, Battery::Charging);
    scene.tree.charge(80, Battery::Discharging);
    phases.push(it.phase(full));
    let state = daemon.state();
    assert_eq!(changes(&state), 4, "{state:#}");
    phases
}

fn has_alert(state: &Value, name: &str) -> bool {
    let alerts = events(state, "alert");
    alerts.iter().any(|event| event.to_string().contains(name))
}
