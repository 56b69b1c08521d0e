//! A heat wave: up the ladder and down again.

use std::time::Duration;

use hotshoe_trust::Time;
use serde_json::Value;

use super::scene::{
    Answers, FULL_FAN, LEAST_MS, Phase, STEADY, Scene, Stream, Variant, changes, events, mode,
    plan, stream, time,
};
use crate::support::{Daemon, Workspace};

/// What the device does from this temperature on.
struct Step {
    celsius: f64,
    fan: &'static str,
    mode: &'static str,
    /// `None` where it rests.
    runs: Option<Variant>,
}

const fn step(celsius: f64, fan: &'static str, mode: &'static str, runs: Option<Variant>) -> Step {
    Step {
        celsius,
        fan,
        mode,
        runs,
    }
}

const FULL: Option<Variant> = Some(Variant::Full);
const MINIMAL: Option<Variant> = Some(Variant::Minimal);
const HALF_FAN: &str = "100";

/// Each is one change.
const WAVE: [Step; 8] = [
    step(60.0, HALF_FAN, "full", FULL),
    step(70.0, FULL_FAN, "full", FULL),
    step(80.0, FULL_FAN, "minimal", MINIMAL),
    step(90.0, FULL_FAN, "minimal", None),
    step(80.0, FULL_FAN, "minimal", MINIMAL),
    step(70.0, FULL_FAN, "full", FULL),
    step(60.0, HALF_FAN, "full", FULL),
    step(40.0, "0", "full", FULL),
];

/// What the wave left behind.
struct Played {
    /// When the temperature of each step was written.
    written: Vec<Time>,
    phases: Vec<Phase>,
    last: Value,
}

#[test]
fn a_heat_wave_moves_the_device_up_the_ladder_and_down_again_with_reasons() {
    let workspace = Workspace::new();
    let scene = Scene::new(&workspace);
    let daemon = scene.device(&workspace, &scene.shipped(), "").run();
    let (played, answers) = stream(&daemon, STEADY, 64, |it| play(&scene, &daemon, it));
    for phase in &played.phases {
        answers.check(phase);
    }
    every_third(&answers, &played.phases[2]);
    answers.check_counts(&daemon);
    check_events(&played);
}

fn play(scene: &Scene, daemon: &Daemon, it: &Stream<'_>) -> Played {
    let cool = daemon.wait_until(|state| state["governor"]["by"] == "component");
    assert_eq!((changes(&cool), mode(&cool)), (0, "full"), "{cool:#}");
    let mut played = Played {
        written: Vec::new(),
        phases: vec![it.phase(FULL)],
        last: Value::Null,
    };
    for (number, step) in (1..).zip(&WAVE) {
        played.written.push(Time::now());
        scene.tree.heat(step.celsius);
        let state = daemon.wait_until(|state| changes(state) >= number);
        assert_eq!(changes(&state), number, "{state:#}");
        assert_eq!(mode(&state), step.mode, "{state:#}");
        let reason = format!("the hottest thermal zone has {:.1} C", step.celsius);
        let has_plan = step.celsius >= 55.0;
        assert_eq!(plan(&state).contains(&reason), has_plan, "{state:#}");
        scene.wait_for_fan(step.fan);
        played.phases.push(it.phase(step.runs));
    }
    played.last = daemon.state();
    played
}

/// At 70 C one of three samples is processed.
fn every_third(answers: &Answers, phase: &Phase) {
    let (results, all) = answers.rate(phase);
    // At its end, an answer may be late; at its begin, the third one may be the first.
    assert!(results <= all / 3 + 2, "{results} of {all}");
}

fn check_events(played: &Played) {
    let state = &played.last;
    assert_eq!(changes(state), WAVE.len() as u64, "{state:#}");
    let changed = events(state, "mode_changed");
    assert_eq!(changed.len(), WAVE.len(), "{state:#}");
    for (event, step) in changed.iter().zip(&WAVE[..4]) {
        let reason = format!("the hottest thermal zone has {:.1} C", step.celsius);
        assert!(event.to_string().contains(&reason), "{event:#}");
    }
    // A change is not made before its cause, so the next one is at least the least time after that cause.
    let least = Duration::from_millis(LEAST_MS);
    for (cause, next) in played.written.iter().zip(&changed[1..]) {
        let at = time(next);
        assert!(at >= *cause + least, "{cause}: {next:#}");
    }
    let alerts = events(state, "alert");
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    assert!(alerts[0].to_string().contains("too-hot"), "{:#}", alerts[0]);
    let names: Vec<_> = state["governor"]["modes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mode| mode["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["full", "minimal"]);
}

#[test]
fn a_mode_is_in_force_after_a_restart_only_while_its_cause_lasts() {
    let workspace = Workspace::new();
    let scene = Scene::new(&workspace);
    let device = scene.device(&workspace, &scene.shipped(), "");
    scene.tree.heat(80.0);
    for _ in 0..2 {
        let daemon = device.run();
        daemon.wait_until(|state| mode(state) == "minimal");
        daemon.kill();
    }
    scene.tree.heat(40.0);
    let daemon = device.run();
    let state = daemon.wait_until(|state| state["governor"]["by"] == "component");
    assert_eq!((changes(&state), mode(&state)), (0, "full"), "{state:#}");
    assert!(daemon.stop().success());
}
