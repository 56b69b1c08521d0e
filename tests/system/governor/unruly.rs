//! Governors that fail, flap, or want what nobody signed.

use serde_json::Value;

use super::scene::{
    LEAST_MS, Phase, STEADY, Scene, Stream, Variant, changes, events, mode, stream, wasm,
};
use crate::site::{Site, settled_on};
use crate::support::{Daemon, Workspace};

const FULL: Option<Variant> = Some(Variant::Full);

/// The lines of a governor that does this.
fn unruly(wish: &str) -> String {
    format!(
        "{}grants = [\"config\"]\nconfig = {{ do = \"{wish}\" }}\nlimits = {{ deadline-ms = 200 }}\n",
        wasm("unruly-governor")
    )
}

/// Whether the status names this failure of the governor, as the last one or as an event.
fn has_failed(state: &Value, fault: &str) -> bool {
    let failed = ["governor_failed", "plan_refused"].map(|kind| events(state, kind));
    let mut failed = failed.iter().flatten();
    state["governor"]["failure"]["fault"] == fault
        || failed.any(|event| event["cause"]["name"] == fault)
}

#[test]
fn a_governor_that_fails_is_replaced_by_the_default_and_named() {
    let mut site = Site::new();
    let scene = Scene::new(&site.workspace);
    let first = site.pack(&scene.recipe(1, &unruly("trap")));
    let daemon = site.device("cam", &first, &scene.config("")).run();
    let (phases, answers) = stream(&daemon, STEADY, 64, |it| {
        play(&mut site, &scene, &daemon, it)
    });
    for phase in &phases {
        answers.check(phase);
    }
    answers.check_counts(&daemon);
}

fn play(site: &mut Site, scene: &Scene, daemon: &Daemon, it: &Stream<'_>) -> Vec<Phase> {
    scene.tree.heat(60.0);
    let mut phases = Vec::new();
    let failing = [
        (1, "trap", "trap"),
        (2, "loop", "deadline"),
        (3, "error", "internal"),
        (4, "no-reason", "invalid_plan"),
    ];
    for (generation, wish, fault) in failing {
        if generation > 1 {
            let next = site.pack(&scene.recipe(generation, &unruly(wish)));
            site.publish(&next);
        }
        let state = daemon.wait_until(|state| {
            settled_on(generation)(state)
                && state["governor"]["by"] == "default"
                && has_failed(state, fault)
        });
        assert_eq!(state["governor"]["component"], "governor", "{state:#}");
        // The default has the same rule for heat.
        scene.wait_for_fan("100");
        phases.push(it.phase(FULL));
    }
    // A governor that works decides again: it wants nothing, and so no fan.
    let works = site.pack(&scene.recipe(5, &unruly("nothing")));
    site.publish(&works);
    let state =
        daemon.wait_until(|state| settled_on(5)(state) && state["governor"]["by"] == "component");
    assert!(state["governor"]["failure"].is_null(), "{state:#}");
    scene.wait_for_fan("0");
    phases.push(it.phase(FULL));
    phases
}

#[test]
fn a_plan_with_an_unsigned_mode_is_refused_and_counted() {
    let workspace = Workspace::new();
    let scene = Scene::new(&workspace);
    let daemon = scene.device(&workspace, &unruly("unsigned"), "").run();
    let (phase, answers) = stream(&daemon, STEADY, 64, |it| {
        let state = daemon
            .wait_until(|state| state["governor"]["refused_plans"].as_u64().unwrap_or(0) >= 3);
        assert_eq!((mode(&state), changes(&state)), ("full", 0), "{state:#}");
        let refused = events(&state, "plan_refused");
        let said = refused.first().map(ToString::to_string).unwrap_or_default();
        assert!(said.contains("turbo"), "{state:#}");
        assert!(said.contains("unsigned_mode"), "{said}");
        it.phase(FULL)
    });
    answers.check(&phase);
    answers.check_counts(&daemon);
}

#[test]
fn a_governor_that_flaps_does_not_make_the_device_flap() {
    let workspace = Workspace::new();
    let scene = Scene::new(&workspace);
    let daemon = scene.device(&workspace, &unruly("flap"), "").run();
    let (phase, answers) = stream(&daemon, STEADY, 64, |it| {
        // It wishes the stricter mode in every other period, so that it is never calm: after the first change there is none, for many times
        // the least time.
        let least_s = LEAST_MS as f64 / 1000.0;
        let state = daemon.wait_until(|state| {
            let seconds = state["governor"]["mode_seconds"].as_f64();
            mode(state) == "minimal" && seconds.is_some_and(|it| it > 8.0 * least_s)
        });
        assert_eq!(changes(&state), 1, "{state:#}");
        assert_eq!(events(&state, "mode_changed").len(), 1, "{state:#}");
        assert_eq!(state["governor"]["by"], "component", "{state:#}");
        it.phase(Some(Variant::Minimal))
    });
    answers.check(&phase);
    answers.check_counts(&daemon);
}
