//! Releases over Zenoh: they arrive while samples stream, are tried, confirmed or rolled back, and nothing is lost.

use std::fs;
use std::path::Path;
use std::time::Instant;

use hotshoe_trust::DeviceSelector;
use serde_json::Value;

use super::hostile::made;
use super::proxy::Cable;
use super::site::{Site, data_file, ended, light, noise, recipe, settled_on};
use super::support::{DEADLINE, Daemon, success};

const EAGER: &str = "min-samples = 3\nmin-seconds = 0\n";

fn accounted(state: &Value) {
    let counters = &state["counters"];
    let dropped: u64 = counters["dropped"]
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(
        counters["accepted"].as_u64().unwrap(),
        counters["results"].as_u64().unwrap()
            + counters["failed"].as_u64().unwrap()
            + dropped
            + counters["in_flight"].as_u64().unwrap(),
        "{counters:#}"
    );
    assert_eq!(dropped, 0, "{counters:#}");
}

/// `hotshoe COMMAND --config FILE` on the device's own machine.
fn local(command: &str, daemon_config: &Path) -> Value {
    let text = success([
        command.as_ref(),
        "--config".as_ref(),
        daemon_config.as_os_str(),
        "--json".as_ref(),
    ]);
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_release_is_fetched_tried_and_confirmed_while_samples_stream() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    let second = site.pack(&light(2, ""));
    site.publish(&second);
    let state = daemon.feed_until(settled_on(2));
    assert_eq!(state["swaps"], 1, "{state:#}");
    assert_eq!(state["rollbacks"], 0);
    assert_eq!(state["slots"]["previous"]["generation"], 1);
    assert_eq!(state["counters"]["failed"], 0);
    accounted(&state);
}

#[test]
fn an_empty_device_takes_its_first_release() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    fs::remove_dir_all(site.workspace.path("cam-data")).unwrap();
    let daemon = device.run();
    assert!(daemon.state()["release"].is_null());
    let fed = daemon.feed(&[("early", b"abc".to_vec())]);
    let refusal = format!("{:?}", fed[0].result);
    assert!(refusal.contains("no_release"), "{refusal}");
    site.publish(&first);
    daemon.feed_until(settled_on(1));
}

#[test]
fn a_release_that_traps_is_rolled_back_and_remembered_until_a_higher_generation() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    let patient = "min-samples = 12\nmin-seconds = 0\n";
    let second = site.pack(&recipe(2, patient, &["flaky-policy"], ""));
    site.publish(&second);
    let state = daemon.feed_until(ended(2, "rolled-back"));
    assert_eq!(
        state["last_rollback"]["cause"]["name"], "trap_rate",
        "{state:#}"
    );
    assert_eq!(state["release"]["generation"], 1);
    assert_eq!(state["rollbacks"], 1);
    accounted(&state);

    // The same generation again is refused without a trial, the next one is taken.
    site.publish(&second);
    let state = daemon.wait_until(|state| !state["refused"]["failed_before"].is_null());
    assert_eq!(state["release"]["generation"], 1);
    let third = site.pack(&light(3, ""));
    site.publish(&third);
    daemon.feed_until(settled_on(3));
}

#[test]
fn a_fail_open_policy_that_traps_costs_nothing() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    let gate = "min-samples = 12\nmin-seconds = 0\nmax-trap-rate = 0.5\nmax-error-rate = 0.5\n";
    let text = recipe(2, gate, &["flaky-policy"], "").replace(
        "policy = \"flaky-policy\"",
        "policy = \"flaky-policy\"\non-failure = \"fail-open\"",
    );
    let second = site.pack(&text);
    site.publish(&second);
    let state = daemon.feed_until(settled_on(2));
    assert_eq!(state["counters"]["failed"], 0, "{state:#}");
    assert!(state["counters"]["tolerated"]["flaky-policy"].as_u64() > Some(0));
}

#[test]
fn staging_and_activating_are_two_steps() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    let second = site.pack(&light(2, ""));
    site.state(&second, false, DeviceSelector::default());
    let state = daemon.wait_until(|state| {
        state["deploy"]["phase"] == "self-tested" && state["deploy"]["waiting"] == "activation"
    });
    assert_eq!(state["release"]["generation"], 1);
    assert_eq!(state["slots"]["staged"]["generation"], 2);
    local("activate", &device.config);
    daemon.feed_until(settled_on(2));
}

#[test]
fn a_staged_release_can_be_cancelled() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    let second = site.pack(&light(2, ""));
    let cancelled = site.state(&second, false, DeviceSelector::default());
    daemon.wait_until(|state| state["slots"]["staged"]["generation"] == 2);
    local("cancel", &device.config);
    let state = daemon.wait_until(|state| state["slots"]["staged"].is_null());
    assert_eq!(state["release"]["generation"], 1);
    // The statement is heard again when a publisher comes back, and stays cancelled.
    site.close();
    site.open();
    site.publisher()
        .publish_statement(&second.name, cancelled)
        .unwrap();
    daemon.wait_until(|state| !state["ignored"]["cancelled"].is_null());
    let third = site.pack(&light(3, ""));
    site.publish(&third);
    daemon.feed_until(settled_on(3));
}

#[test]
fn the_operator_goes_back_and_history_tells_why() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    let second = site.pack(&light(2, ""));
    site.publish(&second);
    daemon.feed_until(settled_on(2));
    local("rollback", &device.config);
    let state = daemon.feed_until(settled_on(1));
    assert_eq!(state["last_rollback"]["generation"], 2, "{state:#}");
    let history = local("history", &device.config).to_string();
    assert!(history.contains("rolled-back"), "{history}");
    // It stays so over a restart.
    daemon.kill();
    let daemon = device.run();
    assert_eq!(daemon.state()["release"]["generation"], 1);
}

#[test]
fn a_trial_that_dies_twice_is_rolled_back_at_the_next_start() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let long = "min-samples = 1000000\nmin-seconds = 0\ntries = 1\n";
    let second = site.pack(&recipe(2, long, &[], ""));
    let daemon = device.run();
    site.publish(&second);
    let on_trial = |state: &Value| state["slots"]["trial"]["slot"]["generation"] == 2;
    let state = daemon.feed_until(on_trial);
    assert_eq!(state["slots"]["trial"]["tries_left"], 1, "{state:#}");
    site.close();
    daemon.kill();
    // A power cut need not be the release's fault: it is tried once more.
    let daemon = device.run();
    let state = daemon.state();
    assert_eq!(state["slots"]["trial"]["tries_left"], 0, "{state:#}");
    assert_eq!(state["release"]["generation"], 2);
    daemon.kill();
    let daemon = device.run();
    let state = daemon.state();
    assert!(settled_on(1)(&state), "{state:#}");
    assert_eq!(state["last_rollback"]["cause"]["name"], "died_in_probation");
}

#[test]
fn state_is_carried_over_and_restored_on_rollback() {
    let mut site = Site::new();
    let first = site.pack(&recipe(1, EAGER, &["counting-policy"], ""));
    let daemon = site.device("cam", &first, "").run();
    let seen = |daemon: &Daemon| -> u64 {
        let fed = daemon.feed(&[("count", b"abc".to_vec())]);
        let answer = fed[0].result.as_ref().expect("a result").to_string();
        let (_, rest) = answer.split_once("seen ").expect("a count");
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    };
    for _ in 0..5 {
        seen(&daemon);
    }
    let second = site.pack(&recipe(2, EAGER, &["counting-policy"], ""));
    site.publish(&second);
    daemon.feed_until(settled_on(2));
    let before = seen(&daemon);
    let accepted = daemon.state()["counters"]["accepted"].as_u64().unwrap();
    // What a sample in flight counts while the state is taken over stays with the release that it ran on.
    assert!(
        before + 2 >= accepted,
        "{before} of {accepted} samples were counted"
    );

    // The third release counts too, and traps: what it counted is forgotten.
    let third = site.pack(&recipe(
        3,
        "min-samples = 12\nmin-seconds = 0\n",
        &["counting-policy", "flaky-policy"],
        "",
    ));
    site.publish(&third);
    daemon.feed_until(ended(3, "rolled-back"));
    let after = seen(&daemon);
    let accepted = daemon.state()["counters"]["accepted"].as_u64().unwrap();
    assert!(
        after > before && after < accepted,
        "{before} {after} {accepted}"
    );
}

#[test]
fn a_shadow_that_disagrees_never_serves() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    // The same stage agrees.
    let gate = format!("{EAGER}[health.shadow]\nshare = 1.0\nsamples = 5\nmin-agreement = 0.9\n");
    let second = site.pack(&recipe(2, &gate, &[], ""));
    site.publish(&second);
    daemon.feed_until(settled_on(2));
    // A stage with other insights disagrees on every sample.
    let stage = made::file(&site.workspace, "stage.wasm", &made::component(made::STAGE));
    let third = site.pack(&made::instead(&recipe(3, &gate, &[], ""), &stage));
    site.publish(&third);
    let state = daemon.feed_until(ended(3, "failed"));
    assert_eq!(
        state["deploy"]["cause"]["name"], "shadow_disagreement",
        "{state:#}"
    );
    assert_eq!(state["release"]["generation"], 2, "{state:#}");
    assert_eq!(state["swaps"], 1);
}

#[test]
fn a_failed_self_test_keeps_a_release_from_serving() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    let sample = site.workspace.path("sample.bin");
    fs::write(&sample, b"abc").unwrap();
    let expected = site.workspace.path("expected.json");
    let test = |bytes: f64| {
        let insight = serde_json::json!({"kind": "scalars", "scalars": [
            {"name": "bytes", "value": bytes, "unit": ""}, {"name": "sum", "value": 294.0, "unit": ""}]});
        fs::write(&expected, insight.to_string()).unwrap();
        format!(
            "[[tests]]\nname = \"abc\"\nsample = \"{}\"\ncontent-type = \"application/octet-stream\"\nexpected = \"{}\"\n",
            sample.display(),
            expected.display()
        )
    };
    let second = site.pack(&light(2, &test(4.0)));
    site.publish(&second);
    let state = daemon.feed_until(ended(2, "failed"));
    assert_eq!(
        state["deploy"]["cause"]["name"], "self_test_failed",
        "{state:#}"
    );
    assert_eq!(state["release"]["generation"], 1);
    let third = site.pack(&light(3, &test(3.0)));
    site.publish(&third);
    daemon.feed_until(settled_on(3));
}

#[test]
fn a_transfer_that_is_cut_goes_on_where_it_was() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let port = site.endpoint.rsplit(':').next().unwrap().parse().unwrap();
    let cable = Cable::to(port);
    let device = site.device_at("cam", &first, &cable.endpoint(), "");
    let mut daemon = device.run();
    // More than the 8 MiB that may be on their way at a cut, and are fetched twice.
    let size = 32 << 20;
    fs::write(site.workspace.path("filler"), noise(7, size)).unwrap();
    let second = site.pack(&light(
        2,
        &data_file("filler", &site.workspace.path("filler")),
    ));
    cable.cut_after(24 << 20);
    site.publish(&second);
    let started = Instant::now();
    while cable.is_connected() {
        assert!(started.elapsed() < DEADLINE);
        daemon.feed(&[("meanwhile", b"abc".to_vec())]);
    }
    // The power fails as well.
    daemon.kill();
    cable.mend();
    daemon = device.run();
    daemon.feed_until(settled_on(2));
    let carried = cable.carried();
    assert!(
        carried < (size as u64) * 3 / 2,
        "{carried} bytes were carried for {size}"
    );
}

#[test]
fn a_changed_model_moves_what_changed() {
    let mut site = Site::new();
    let filler = site.workspace.path("filler");
    let size = 10 << 20;
    let mut bytes = noise(3, size);
    fs::write(&filler, &bytes).unwrap();
    let first = site.pack(&light(1, &data_file("filler", &filler)));
    let port = site.endpoint.rsplit(':').next().unwrap().parse().unwrap();
    let cable = Cable::to(port);
    let daemon = site.device_at("cam", &first, &cable.endpoint(), "").run();
    bytes[4 << 20..(4 << 20) + 100_000].copy_from_slice(&noise(9, 100_000));
    fs::write(&filler, &bytes).unwrap();
    let second = site.pack(&light(2, &data_file("filler", &filler)));
    site.publish(&second);
    daemon.feed_until(settled_on(2));
    let share = cable.carried() as f64 / size as f64;
    assert!(share < 0.05, "{share} of the model was moved");
}
