//! A backend that starts to fail, and works again.

use std::cell::Cell;
use std::fs;

use hotshoe_infer::{Tensor, npz};
use hotshoe_pipeline::BACKENDS_FILE;
use serde_json::Value;

use super::scene::{Scene, plan};
use crate::model::numbers::onnx::{Graph, whole};
use crate::model::ort_library;
use crate::support::{DEADLINE, Daemon, Workspace};

/// The rows of `x` for which `c` is above 0. Of one row tract makes a plan, of many it does not.
fn compressed() -> Vec<u8> {
    Graph::default()
        .input("x", &[None, Some(4)])
        .input("c", &[None])
        .weight("zero", &[], &[0.0])
        .node("Greater", &["c", "zero"], "chosen")
        .node_with("Compress", &["x", "chosen"], "y", &[whole("axis", 0)])
        .output("y", &[None, Some(4)])
        .file()
}

fn rows(count: usize) -> Vec<u8> {
    let x = Tensor::from_f32(&[count, 4], vec![1.0; count * 4]).unwrap();
    let c = Tensor::from_f32(&[count], vec![1.0; count]).unwrap();
    npz::to_bytes(&[("x".to_owned(), x), ("c".to_owned(), c)]).unwrap()
}

/// Feeds samples of so many rows until the status is as wanted. Each has a result.
fn feed_until(daemon: &Daemon, count: usize, wanted: impl Fn(&Value) -> bool) -> u64 {
    let (feeder, sample) = (daemon.feeder(1), rows(count));
    let fed = Cell::new(0_u64);
    daemon.wait_until(|state| {
        if wanted(state) {
            return true;
        }
        feeder
            .send(
                "test",
                npz::CONTENT_TYPE,
                &fed.get().to_string(),
                sample.clone(),
            )
            .unwrap();
        let answer = feeder.next(DEADLINE).expect("an answer");
        assert!(answer.result.is_ok(), "{answer:?}");
        fed.set(fed.get() + 1);
        false
    });
    fed.get()
}

/// The choice of a machine on which tract is the faster one, and both give the same. Which one that is, differs from machine to machine.
fn prefer_tract(workspace: &Workspace) {
    let path = workspace.path("cam-data").join(BACKENDS_FILE);
    let chosen = fs::read_to_string(&path).unwrap();
    let tract = chosen
        .replace("\"backend\":\"ort\"", "\"backend\":\"tract\"")
        .replace("\"alike\":false", "\"alike\":true");
    assert!(tract.contains("\"backend\":\"tract\""), "{chosen}");
    assert!(tract.contains("\"alike\":true"), "{chosen}");
    fs::write(path, tract).unwrap();
}

/// That it serves again once it works is a matter of minutes, since it is tried again after one minute at the soonest: that is a test of
/// `host/infer` and `host/pipeline`.
#[test]
fn a_backend_that_starts_to_fail_is_avoided_and_costs_no_sample() {
    let Some(library) = ort_library() else { return };
    let workspace = Workspace::new();
    let scene = Scene::new(&workspace);
    fs::write(workspace.path("m.onnx"), compressed()).unwrap();
    let recipe = format!(
        "name = \"rows\"\ngeneration = 1\nexpires-in = \"1d\"\n[components.governor]\nworld = \"governor\"\n{}[models.m]\nfile = \"{}\"\n[[pipeline]]\ninfer = \"m\"\n",
        scene.shipped(),
        workspace.path("m.onnx").display()
    );
    let more = format!("{}[inference]\nlibrary = \"{library}\"\n", scene.config(""));
    let device = workspace.device("cam", &workspace.release(&recipe), &more);
    assert!(device.run().stop().success());
    prefer_tract(&workspace);

    let daemon = device.run();
    let backend = |state: &Value| state["models"][0]["backend"].clone();
    let mut fed = feed_until(&daemon, 1, |state| {
        state["counters"]["results"].as_u64().unwrap() >= 3
    });
    let state = daemon.state();
    assert_eq!(backend(&state), "tract", "{state:#}");
    assert!(!plan(&state).contains("avoid"), "{state:#}");
    fed += feed_until(&daemon, 300, |state| {
        backend(state) == "ort" && plan(state).contains("avoid.tract")
    });
    // Others are served as before, by the backend that works.
    fed += feed_until(&daemon, 1, |state| {
        state["counters"]["results"].as_u64().unwrap() >= fed + 3
    });
    let state = daemon.state();
    assert_eq!(backend(&state), "ort", "{state:#}");
    let counters = daemon.status().counters;
    assert!(counters.add_up(), "{counters:?}");
    assert_eq!((counters.accepted, counters.results), (fed, fed));
}
