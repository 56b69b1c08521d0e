//! `hotshoe top` in a pseudo terminal, with real daemons: its figures are those of `hotshoe status --json`.

#[path = "top/terminal.rs"]
mod terminal;

use std::path::Path;

use hotshoe_config::Config;
use rustix::process::Signal;
use serde_json::Value;

use self::terminal::Top;
use super::site::{Site, light};
use super::support::{Device, failure, hotshoe, success};

/// What `hotshoe status --json` says of the device on this machine.
fn status(config: &Path) -> Value {
    let config = config.display().to_string();
    let text = success(["status", "--config", &config, "--json"]);
    let mut devices: Vec<Value> = serde_json::from_str(&text).unwrap();
    devices.pop().unwrap()
}

/// The figures of the pipeline and the queue in a status, as the screen has them.
fn figures(status: &Value) -> Vec<Vec<String>> {
    let text = |value: &Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    let counters = &status["counters"];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for stage in status["stages"].as_array().unwrap() {
        let columns = ["name", "count", "p50_us", "p95_us", "p99_us"];
        rows.push(columns.map(|name| text(&stage[name])).to_vec());
    }
    let dropped = counters["dropped"].as_object().unwrap().values();
    let dropped: u64 = dropped.map(|count| count.as_u64().unwrap()).sum();
    let mut line = |words: String| rows.push(words.split(' ').map(str::to_owned).collect());
    line(format!(
        "samples {} accepted, {} results, {dropped} dropped, {} failed, {} in flight",
        counters["accepted"], counters["results"], counters["failed"], counters["in_flight"]
    ));
    let queue = &status["queue"];
    line(format!(
        "queue {} of {}, {} when full, {} workers",
        queue["len"],
        queue["capacity"],
        text(&queue["policy"]),
        status["workers"]
    ));
    let release = &status["release"];
    line(format!(
        "release {} generation {}, signed by {}",
        text(&release["name"]),
        release["generation"],
        text(&release["signers"][0])
    ));
    rows
}

/// Whether a screen has all these rows; a row may go on.
fn has(text: &str, rows: &[Vec<String>]) -> bool {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    rows.iter().all(|row| {
        let is_row =
            |line: &Vec<&str>| line.len() >= row.len() && line.iter().zip(row).all(|(a, b)| a == b);
        lines.iter().any(is_row)
    })
}

fn endpoint(device: &Device) -> String {
    let config = Config::load(&device.config).unwrap();
    config.zenoh.listen[0].clone()
}

#[test]
fn the_figures_are_those_of_the_status_over_the_socket_and_over_zenoh() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "");
    let daemon = device.run();
    let config = device.config.display().to_string();
    let endpoint = endpoint(&device);
    let over_socket = ["--config", config.as_str()];
    let over_zenoh = ["--site", "lab", "--device", "cam", "--connect", &endpoint];
    let tops = [
        Top::open(40, 120, &over_socket, true),
        Top::open(40, 120, &over_zenoh, true),
    ];
    tops[0].shows("connected by the control socket");
    tops[1].shows("connected by Zenoh");
    for samples in [5, 7] {
        let before = status(&device.config)["counters"]["results"]
            .as_u64()
            .unwrap();
        let one = ("sample", b"abc".to_vec());
        daemon.feed(&vec![one; samples]);
        let results = before + samples as u64;
        // Idle: from here on nothing counts.
        daemon.wait_until(|state| {
            let mut stages = state["stages"].as_array().unwrap().iter();
            state["counters"]["results"] == results
                && state["counters"]["in_flight"] == 0
                && stages.any(|stage| stage["name"] == "total" && stage["count"] == results)
        });
        let expected = figures(&status(&device.config));
        assert!(expected.len() >= 6, "{expected:?}");
        for top in &tops {
            top.until(&format!("{expected:?}"), |text| has(text, &expected));
        }
        assert_eq!(figures(&status(&device.config)), expected);
    }
}

#[test]
fn every_view_is_shown_at_every_size_and_q_restores_the_terminal() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "");
    let daemon = device.run();
    let config = device.config.display().to_string();
    let mut top = Top::open(24, 80, &["--config", &config], true);
    top.shows("lab/cam  hotshoe ");
    top.shows("connected by the control socket");
    assert!(top.has_colours());
    let state = status(&device.config);
    top.keys("2");
    top.shows(&format!("id {}", state["session"]["id"].as_str().unwrap()));
    top.keys("3");
    top.shows("Slots");
    top.keys("4");
    top.until("the events", |text| {
        !text.contains("Slots") && text.contains("lab/cam")
    });
    top.keys("?");
    top.shows("show the next view");
    top.keys("?1");
    top.resize(40, 132);
    top.until("a line at the bottom of the larger screen", |text| {
        let foot = text.lines().nth(39);
        foot.is_some_and(|line| line.starts_with("? keys")) && text.contains("Pipeline")
    });
    top.resize(5, 20);
    top.until("a small screen", |text| {
        text.contains("release") && !text.contains("? keys")
    });
    top.resize(24, 80);
    top.shows("? keys");
    top.keys("q");
    top.ends();
    assert!(daemon.stop().success());
}

#[test]
fn a_terminal_that_does_not_say_its_size_has_24_lines_of_80_columns() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "");
    let _daemon = device.run();
    let config = device.config.display().to_string();
    let mut top = Top::open(0, 0, &["--config", &config], true);
    let text = top.shows("? keys");
    assert_eq!(text.lines().count(), 24, "{text}");
    top.keys("q");
    top.ends();
}

#[test]
fn a_lost_connection_is_said_and_found_again_and_a_signal_restores_the_terminal() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "");
    let daemon = device.run();
    let config = device.config.display().to_string();
    let top = Top::open(24, 100, &["--config", &config], false);
    top.shows("connected by the control socket");
    assert!(!top.has_colours());
    daemon.kill();
    let text = top.shows("LOST since ");
    assert!(text.contains("no daemon uses"), "{text}");
    assert!(
        text.contains("light generation 1"),
        "the last figures stay: {text}"
    );
    assert!(!top.has_colours());
    let _daemon = device.run();
    top.shows("connected by the control socket");
    top.signal(Signal::TERM);
    top.ends();
}

#[test]
fn a_site_is_a_table_in_which_a_device_that_is_gone_stays() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let devices = ["a", "b"].map(|name| site.device(name, &installed, ""));
    let [_first, second] = devices.each_ref().map(Device::run);
    let endpoints = devices.each_ref().map(endpoint);
    let mut top = Top::open(
        24,
        120,
        &[
            "--site",
            "lab",
            "--connect",
            &endpoints[0],
            "--connect",
            &endpoints[1],
        ],
        true,
    );
    top.shows("2 devices: ");
    top.keys("\r");
    top.shows("lab/a  hotshoe ");
    top.shows("light generation 1");
    top.keys("1");
    top.shows("last rollback");
    second.kill();
    top.shows("1 no answer");
    top.keys("\u{1b}[B\r");
    top.shows("lab/b does not answer.");
    top.keys("\u{3}");
    top.ends();
}

#[test]
fn without_a_terminal_the_error_names_the_status() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "");
    let config = device.config.display().to_string();
    let refused = failure(["top", "--config", &config]);
    assert!(refused.starts_with("no_terminal: "), "{refused}");
    assert!(refused.contains("`hotshoe status --json`"), "{refused}");
    let output = hotshoe(["top", "--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("use `hotshoe status`"), "{text}");
    assert!(output.stdout.is_empty());
}
