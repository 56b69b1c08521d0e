//! A release with two backends serves before it is known which of them is faster.

use std::cell::Cell;
use std::fs;

use hotshoe_infer::{Tensor, npz};
use serde_json::Value;

use crate::model::numbers::onnx::Graph;
use crate::model::ort_library;
use crate::site::{Site, settled_on};
use crate::support::{DEADLINE, Daemon, environment};

/// What the classifier takes.
const SHAPE: [usize; 4] = [1, 3, 48, 192];

/// A release of one model alone.
fn recipe(generation: u64, model: &str) -> String {
    format!(
        "name = \"numbers\"\ngeneration = {generation}\nexpires-in = \"1d\"\n[health]\nmin-samples = 3\nmin-seconds = 0\n[models.m]\nfile = \"{model}\"\n[[pipeline]]\ninfer = \"m\"\n"
    )
}

/// Feeds samples one after the other until the status is as wanted. Each has one result; returns their number.
fn feed_until(daemon: &Daemon, wanted: impl Fn(&Value) -> bool) -> u64 {
    let picture = Tensor::from_f32(&SHAPE, vec![0.5; SHAPE.iter().product()]).unwrap();
    let sample = npz::to_bytes(&[("x".to_owned(), picture)]).unwrap();
    let (feeder, fed) = (daemon.feeder(1), Cell::new(0_u64));
    daemon.wait_until(|state| {
        if wanted(state) {
            return true;
        }
        let id = fed.get().to_string();
        feeder
            .send("test", npz::CONTENT_TYPE, &id, sample.clone())
            .unwrap();
        let answer = feeder.next(DEADLINE).expect("an answer");
        assert_eq!(answer.id, id);
        assert!(answer.result.is_ok(), "{answer:?}");
        fed.set(fed.get() + 1);
        false
    });
    fed.get()
}

#[test]
fn a_release_serves_before_the_race_and_the_winner_takes_over_without_losing_a_sample() {
    let Some(library) = ort_library() else { return };
    let mut site = Site::new();
    let sizes = SHAPE.map(|size| Some(size as u64));
    let relu = Graph::default()
        .input("x", &sizes)
        .node("Relu", &["x"], "y")
        .output("y", &sizes)
        .file();
    let path = site.workspace.path("relu.onnx");
    fs::write(&path, relu).unwrap();
    let first = site.pack(&recipe(1, &path.display().to_string()));
    let classifier = environment().model("classify-angle").display().to_string();
    let second = site.pack(&recipe(2, &classifier));
    let more = format!("[inference]\nlibrary = \"{library}\"\n");
    let device = site.device("cam", &first, &more);
    let daemon = device.run();

    site.publish(&second);
    let has_raced = Cell::new(false);
    let fed = feed_until(&daemon, |state| {
        let model = &state["models"][0];
        let reason = model["reason"].as_str().unwrap_or_default();
        if state["release"]["generation"] == 2 && reason.contains("in the background") {
            assert_eq!(model["backend"], "tract", "{state:#}");
            has_raced.set(true);
        }
        let has_ended = reason.starts_with("measured ");
        settled_on(2)(state) && has_ended
    });
    assert!(has_raced.get(), "{}", daemon.log());
    let state = daemon.state();
    // The classifier takes about half as long on ONNX Runtime.
    assert_eq!(state["models"][0]["backend"], "ort", "{state:#}");
    let reason = state["models"][0]["reason"].as_str().unwrap().to_owned();
    let counters = daemon.status().counters;
    assert!(counters.add_up(), "{counters:?}");
    assert_eq!((counters.accepted, counters.results), (fed, fed));

    // The next start begins with the winner.
    assert!(daemon.stop().success());
    let state = device.run().state();
    let model = &state["models"][0];
    assert_eq!(model["backend"], "ort", "{state:#}");
    assert_eq!(model["reason"], format!("remembered: {reason}"));
}
