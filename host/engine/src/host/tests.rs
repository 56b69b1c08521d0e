#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
use hotshoe_trust::{Blob, World};

use super::bindings::hotshoe::pipeline::config;
use super::bindings::hotshoe::pipeline::types::Rect;
use super::bindings::hotshoe::pipeline::vision::{Filter, Format, Host as _, HostImage as _};
use super::lists::HostList;
use super::*;
use crate::assets::ComponentAssets;
use crate::call_end::CallEnd;
use crate::shared_texts::SharedTexts;

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
        config: [("shared-data.other".to_owned(), "own".to_owned())].into(),
        limits: limits.clone(),
        instance: Default::default(),
        state_version: 1,
        folders: Default::default(),
        hosts: Default::default(),
        topics: Default::default(),
        shared_data: ["threshold".to_owned()].into(),
        secrets: Default::default(),
    };
    let shared_texts = SharedTexts::default();
    for name in ["threshold", "other"] {
        shared_texts.set(name, Some("0.8".to_owned()));
    }
    let services = Services::new(
        "test",
        &spec,
        &ComponentAssets::default(),
        &Default::default(),
        &shared_texts,
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
fn a_component_reads_the_shared_values_that_its_release_lists() {
    let mut state = state(1);
    let mut get = |key: &str| config::Host::get(&mut state, key.to_owned()).unwrap();
    assert_eq!(get("shared-data.threshold").as_deref(), Some("0.8"));
    // It is not listed, so the release's own setting of that name applies.
    assert_eq!(get("shared-data.other").as_deref(), Some("own"));
    assert_eq!(get("shared-data.none"), None);
    assert_eq!(get("threshold"), None);
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

/// A PNG file of this many pixels each way, of which only the header is read.
fn png(width: u32, height: u32) -> Vec<u8> {
    let image =
        hotshoe_vision::Image::from_rgb(width, height, vec![9; (width * height * 3) as usize]);
    let budget = hotshoe_vision::Budget::unlimited();
    let png = hotshoe_vision::Format::Png;
    hotshoe_vision::encode(&image.unwrap(), png, 0, &budget).unwrap()
}

fn sample(state: &mut State, content_type: &str, payload: Vec<u8>) -> Resource<crate::Sample> {
    let sample = crate::Sample {
        id: "1".to_owned(),
        source: "camera".to_owned(),
        content_type: content_type.to_owned(),
        timestamp_us: 0,
        payload: payload.into(),
    };
    state.table.push(sample).unwrap()
}

#[test]
fn a_picture_over_the_limit_of_pixels_names_the_key_that_raises_it() {
    let mut state = state(1);
    let refused = state.decode_bytes(png(600, 600)).unwrap().unwrap_err();
    assert!(matches!(refused.code, ErrorCode::LimitExceeded));
    for wanted in [
        "600 x 600",
        "`tensor-mib` in `limits` under [components.test] in release.toml",
        "[limits] of hotshoe.toml",
    ] {
        assert!(refused.message.contains(wanted), "{}", refused.message);
    }
    // No key raises the bound of all pictures.
    let mut state = self::state(256);
    let huge = [
        &b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x40\0\0\0\x40\0\x08\x02\0\0\0"[..],
        &[0x26, 0xAA, 0x87, 0xD3],
    ];
    let refused = state.decode_bytes(huge.concat()).unwrap().unwrap_err();
    assert!(
        !refused.message.contains("tensor-mib"),
        "{}",
        refused.message
    );
}

#[test]
fn a_raw_frame_is_decoded_by_its_content_type_in_0_2_0_alone() {
    use super::bindings::v0_2::vision::Host as Newer;
    let mut state = state(1);
    let kind = "video/x-raw; format=NV12; width=2; height=2";
    let frame = [235, 235, 16, 16, 128, 128];
    let sample = sample(&mut state, kind, frame.to_vec());
    let again = || Resource::new_borrow(sample.rep());
    let image = Newer::decode(&mut state, again(), None).unwrap().unwrap();
    let pixels = state.pixels(image).unwrap();
    assert_eq!(pixels, [[255; 6], [0; 6]].concat());
    let bytes = Newer::decode_bytes(&mut state, frame.to_vec(), Some(kind.to_owned()), None);
    assert_eq!(state.pixels(bytes.unwrap().unwrap()).unwrap(), pixels);
    let bad = Some("video/x-raw; format=NV12; width=2".to_owned());
    let refused = Newer::decode_bytes(&mut state, frame.to_vec(), bad, None);
    let refused = refused.unwrap().unwrap_err();
    assert!(matches!(refused.code, ErrorCode::InvalidInput));
    assert!(refused.message.contains("`height`"), "{}", refused.message);

    let older = super::bindings::hotshoe::pipeline::vision::Host::decode(&mut state, again());
    assert!(matches!(
        older.unwrap().unwrap_err().code,
        ErrorCode::Unsupported
    ));
}

#[test]
fn a_letterbox_of_0_2_0_says_where_the_picture_is() {
    use super::bindings::v0_2::vision::{Filter, Host as Newer};
    let mut state = state(1);
    let picture = image(&mut state, 4, 2);
    let made = Newer::letterbox(&mut state, again(&picture), 8, 8, (1, 2, 3), Filter::Area);
    let (made, bounds) = made.unwrap().unwrap();
    let Rect {
        x,
        y,
        width,
        height,
    } = bounds;
    assert_eq!([x, y, width, height], [0.0, 2.0, 8.0, 4.0]);
    assert_eq!(state.pixels(made).unwrap()[..6], [1, 2, 3, 1, 2, 3]);
    let grey = Newer::grey(&mut state, again(&picture)).unwrap().unwrap();
    assert_eq!(state.pixels(grey).unwrap(), [50; 24]);
    let eight = sample(&mut state, "image/png", png(2, 2));
    let refused = Newer::decode_u16(&mut state, eight, true)
        .unwrap()
        .unwrap_err();
    assert!(matches!(refused.code, ErrorCode::Unsupported));
}
