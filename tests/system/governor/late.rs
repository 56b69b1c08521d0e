//! Load: samples are late until the next smaller variant serves.

use std::fs;
use std::time::Duration;

use super::scene::{Scene, Variant, events, mode, plan, stream};
use crate::model::numbers::onnx::{Graph, UNIT};
use crate::support::Workspace;

/// What the p95 of a sample is to keep.
const DEADLINE: &str = "deadline-ms = 200";
/// Samples in flight under load. Each waits for all before it.
const LOAD: usize = 48;
/// Convolutions of the full variant, of some 20 million multiplications each: some of them in a row are late where one is not.
const LAYERS: usize = 12;
const CHANNELS: u64 = 16;
/// Time between two samples without load: some in each sampling period.
const RARE: Duration = Duration::from_millis(20);

/// Gives the scores 3 and 1, after a good deal of work.
fn heavy() -> Vec<u8> {
    let first = vec![0.01; (CHANNELS * 3 * 9) as usize];
    let rest = vec![0.01; (CHANNELS * CHANNELS * 9) as usize];
    let mut graph = Graph::default()
        .input("x", &[None, Some(3), Some(48), Some(192)])
        .weight("first", &[CHANNELS, 3, 3, 3], &first)
        .weight("rest", &[CHANNELS, CHANNELS, 3, 3], &rest)
        .weight(
            "last",
            &[2, CHANNELS, 3, 3],
            &vec![0.01; (2 * CHANNELS * 9) as usize],
        )
        .weight("bias", &[1, 2], &[3.0 * UNIT, UNIT])
        .node("Conv", &["x", "first"], "layer_0");
    for layer in 0..LAYERS {
        let (from, to) = (format!("layer_{layer}"), format!("layer_{}", layer + 1));
        graph = graph.node("Conv", &[&from, "rest"], &to);
    }
    graph
        .node("Conv", &[&format!("layer_{LAYERS}"), "last"], "two")
        .node("GlobalAveragePool", &["two"], "mean")
        .node("Flatten", &["mean"], "flat")
        .node("Add", &["flat", "bias"], "y")
        .output("y", &[None, Some(2)])
        .file()
}

#[test]
fn late_samples_get_the_next_smaller_variant_until_there_is_headroom() {
    let workspace = Workspace::new();
    let mut scene = Scene::new(&workspace);
    // Also under load the smaller variant has headroom: the phase ends before that counts.
    scene.calm_ms = 3_000;
    fs::write(workspace.path("full.onnx"), heavy()).unwrap();
    let daemon = scene.device(&workspace, &scene.shipped(), DEADLINE).run();
    let (minimal, under_load) = stream(&daemon, Duration::ZERO, LOAD, |it| {
        let state = daemon.wait_until(|state| mode(state) == "minimal");
        let reason = "p95 was over the deadline of 200 ms in 1 windows in a row";
        assert!(plan(&state).contains(reason), "{state:#}");
        let changed = events(&state, "mode_changed");
        assert!(changed[0].to_string().contains(reason), "{changed:#?}");
        it.phase(Some(Variant::Minimal))
    });
    under_load.check(&minimal);
    let ((), relieved) = stream(&daemon, RARE, 1, |_| {
        daemon.wait_until(|state| mode(state) == "full");
    });
    under_load.and(relieved).check_counts(&daemon);
}
