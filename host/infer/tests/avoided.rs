#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Backends that are avoided for now: when the standby serves, and when the chosen one does again.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use hotshoe_infer::{
    Backend, BackendChoice, BackendSwitch, NamedModel, SwitchReason, Tensor, TensorInfo,
};

use common::choice::{load, with_library};
use common::{arithmetic, library};

const NONE: [Backend; 0] = [];

/// A model on tract, whose standby reads its file like this.
fn on_tract(file: Option<Vec<u8>>) -> Option<NamedModel> {
    let model = load(&arithmetic(), BackendChoice::Auto, with_library(library()?));
    let model = model.unwrap();
    model.settle_with_standby(Backend::Tract, Arc::new(move || file.clone()));
    assert_eq!(model.backends(), [Backend::Tract]);
    Some(NamedModel::single("m", model))
}

fn inputs(columns: usize) -> Vec<Tensor> {
    vec![
        Tensor::from_f32(&[1, columns], vec![0.5; columns]).unwrap(),
        Tensor::from_f32(&[2], vec![1.0, 2.0]).unwrap(),
    ]
}

/// Whether there was something to do.
fn avoid(
    model: &NamedModel,
    avoided: &[Backend],
    made_up: impl Fn(&[TensorInfo]) -> Vec<Vec<Tensor>>,
) -> bool {
    let avoided: BTreeSet<Backend> = avoided.iter().copied().collect();
    let needed = model.needs_backend_change(&avoided);
    model.change_backends(&avoided, made_up);
    needed
}

fn switched(model: &NamedModel) -> Option<SwitchReason> {
    let switch: Option<BackendSwitch> = model.active().switched();
    switch.map(|switch| switch.reason)
}

#[test]
fn a_standby_that_cannot_be_read_or_tried_does_not_serve_and_waits_before_it_is_tried_again() {
    for (file, tried) in [
        (None, vec![inputs(2)]),
        (Some(b"another file".to_vec()), vec![inputs(2)]),
        (Some(arithmetic()), Vec::new()),
        (Some(arithmetic()), vec![inputs(3), inputs(5)]),
    ] {
        let Some(model) = on_tract(file) else { return };
        assert!(!avoid(&model, &NONE, |_| panic!("nothing is avoided")));
        assert!(avoid(&model, &[Backend::Tract], |_| tried.clone()));
        assert_eq!(model.active().backend(), Backend::Tract);
        assert_eq!(switched(&model), None);
        assert!(!avoid(&model, &[Backend::Tract], |_| panic!("too early")));
    }
}

#[test]
fn the_standby_serves_while_the_chosen_backend_is_avoided() {
    let Some(model) = on_tract(Some(arithmetic())) else {
        return;
    };
    let both = [Backend::Tract, Backend::Ort];
    assert!(!avoid(&model, &both, |_| panic!("there is no other one")));
    let tried = |infos: &[TensorInfo]| {
        assert_eq!((infos[0].name.as_str(), infos[1].name.as_str()), ("x", "y"));
        vec![inputs(3), inputs(2)]
    };
    assert!(avoid(&model, &[Backend::Tract], tried));
    assert_eq!(model.active().backends(), [Backend::Ort]);
    assert_eq!(switched(&model), Some(SwitchReason::Avoided));
    let [x, y] = inputs(2).try_into().unwrap();
    let outputs = model.run_by(&[("x", &x), ("y", &y)], None).unwrap();
    assert_eq!(outputs[0].1.as_f32().unwrap(), [1.5, 2.5]);
    // The chosen one is tried while it is avoided, once in a while.
    assert!(avoid(&model, &both, tried));
    assert_eq!(model.active().backends(), [Backend::Ort]);
    assert!(!avoid(&model, &both, |_| panic!("too early")));
    // It serves again as soon as it may.
    assert!(avoid(&model, &NONE, tried));
    assert_eq!(model.active().backends(), [Backend::Tract]);
    assert_eq!(switched(&model), Some(SwitchReason::WorksAgain));
    assert!(!avoid(&model, &NONE, |_| panic!("it is back")));
    model.run_by(&[("x", &x), ("y", &y)], None).unwrap();
    let runs = model.runs().into_iter();
    let runs: Vec<_> = runs.map(|it| (it.backend, it.runs, it.faults)).collect();
    assert_eq!(runs, [(Backend::Tract, 1, 0), (Backend::Ort, 1, 0)]);
}
