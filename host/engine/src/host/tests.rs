#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
use hotshoe_trust::{Blob, World};

use super::*;
use crate::bindings::hotshoe::pipeline::types::Rect;
use crate::bindings::hotshoe::pipeline::vision::{Filter, Format, Host as _, HostImage as _};
use crate::call_end::CallEnd;
use crate::component::ComponentAssets;
use crate::lists::HostList;

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
    let services = Services::new(
        "test",
        &spec,
        &ComponentAssets::default(),
        &Default::default(),
    )
    .unwrap();
    let mut state = State::new(Arc::new(services), Arc::default(), &limits);
    state.deadline = Instant::now() + Duration::from_secs(600);
    state
}

/// An image that the component holds.
fn image(state: &mut State, width: u32, height: u32) -> Resource<CountedImage> {
    let pixels = vec![50; width as usize * height as usize * 3];
    let made = state.from_pixels(width, height, pixels);
    made.unwrap().unwrap()
}

fn again(image: &Resource<CountedImage>) -> Resource<CountedImage> {
    Resource::new_borrow(image.rep())
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
    let lent = HostList::<Tensor, u8>::new(Tensor::clone(held), Tensor::bytes);
    assert_eq!(lent.elements().as_ptr(), at);
}

#[test]
fn outputs_are_handed_over_all_together_or_not_at_all() {
    let mut state = state(4);
    let outputs = || vec![("a".to_owned(), tensor(2)), ("b".to_owned(), tensor(3))];
    let refused = state.hold_tensors(outputs()).unwrap().unwrap_err();
    assert!(matches!(refused.code, ErrorCode::LimitExceeded));
    assert_eq!(state.tensor_budget.left(), 4 << 20);
    assert!(state.table.is_empty());
}

#[test]
fn an_image_of_one_long_row_is_scaled_within_tensor_mib() {
    let mut state = state(16);
    let row = image(&mut state, 2_000_000, 1);
    let scaled = state.resize(again(&row), 640, 640, Filter::Bilinear);
    scaled.unwrap().unwrap();
    // 20 MB of weights.
    let refused = state.resize(again(&row), 640, 640, Filter::Area);
    let refused = refused.unwrap().unwrap_err();
    assert!(matches!(refused.code, ErrorCode::LimitExceeded));
    assert!(
        refused.message.contains("bytes more"),
        "{}",
        refused.message
    );
    assert!(state.tensor_refused);
    let whole = Rect {
        x: 0.0,
        y: 0.0,
        width: 2e6,
        height: 1.0,
    };
    let refused = state
        .blur(again(&row), vec![whole], 0)
        .unwrap()
        .unwrap_err();
    assert!(matches!(refused.code, ErrorCode::LimitExceeded));
    let (held, peak) = state.tensor_budget.bytes();
    assert_eq!(held, 6_000_000 + 640 * 640 * 3);
    // What lay between two pictures counts too.
    assert!(peak > held && peak <= 16 << 20, "{peak}");
}

#[test]
fn what_cannot_fail_ends_the_call_where_there_is_no_room_for_a_copy() {
    let mut state = state(1);
    let most = image(&mut state, 700, 400);
    let error = state.pixels(most).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(CallEnd::Tensors(_))));
}

#[test]
fn a_deadline_that_passed_ends_the_call_in_every_operation() {
    let mut state = state(16);
    let picture = image(&mut state, 64, 64);
    state.deadline = Instant::now();
    let whole = Rect {
        x: 0.0,
        y: 0.0,
        width: 64.0,
        height: 64.0,
    };
    let ended = [
        state
            .decode_bytes(vec![0x89, b'P', b'N', b'G', 13, 10, 26, 10])
            .err(),
        state.resize(again(&picture), 8, 8, Filter::Area).err(),
        state.crop(again(&picture), whole).err(),
        state.blur(again(&picture), vec![whole], 0).err(),
        state.encode(again(&picture), Format::Png, 0).err(),
    ];
    for (number, error) in ended.into_iter().enumerate() {
        let error = error.unwrap();
        let end = error.downcast_ref::<CallEnd>();
        assert!(
            matches!(end, Some(CallEnd::NativeDeadline { .. })),
            "{number}: {error}"
        );
    }
    // Nothing was done half.
    assert_eq!(state.tensor_budget.bytes().0, 64 * 64 * 3);
}
