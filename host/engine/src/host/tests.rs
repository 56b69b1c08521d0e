#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
use hotshoe_trust::{Blob, World};

use super::*;
use crate::component::Parts;
use crate::lists::Lent;

/// The state of an instance that may hold this many MiB of tensors.
fn state(tensor_mib: u32) -> State {
    let limits = Limits {
        tensor_mib,
        ..Limits::default()
    };
    let spec = hotshoe_trust::Component {
        blob: Blob::of(b""),
        world: World::Stage,
        grants: Default::default(),
        models: Default::default(),
        data: Default::default(),
        config: Default::default(),
        limits: limits.clone(),
        instance: Default::default(),
        state_version: 1,
        folders: Default::default(),
        hosts: Default::default(),
        topics: Default::default(),
    };
    let services = Services::new("test", &spec, &Parts::default(), &Default::default()).unwrap();
    State::new(Arc::new(services), Arc::default(), &limits)
}

/// A tensor of this many MiB.
fn tensor(mib: usize) -> Tensor {
    Tensor::write_f32(&[mib, 1 << 18], |_| ()).unwrap()
}

#[test]
fn a_tensor_stays_where_it_is_while_handles_to_it_move() {
    let mut state = state(4);
    let tensor = tensor(1);
    let at = tensor.bytes().as_ptr();
    let given = state
        .hold_tensors(vec![("x".to_owned(), tensor.clone())])
        .unwrap()
        .unwrap();
    let held = state.table.get(&given[0].tensor).unwrap();
    assert_eq!(held.bytes().as_ptr(), at);
    // What a list is made of on its way into a component.
    let lent = Lent::<Tensor, u8>::new(Tensor::clone(held), Tensor::bytes);
    assert_eq!(lent.elements().as_ptr(), at);
}

#[test]
fn outputs_are_handed_over_all_together_or_not_at_all() {
    let mut state = state(4);
    let outputs = || vec![("a".to_owned(), tensor(2)), ("b".to_owned(), tensor(3))];
    let refused = state.hold_tensors(outputs()).unwrap().unwrap_err();
    assert!(matches!(refused.code, ErrorCode::LimitExceeded));
    assert_eq!(state.meter.left(), 4 << 20);
    assert!(state.table.is_empty());
}
