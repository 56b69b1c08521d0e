//! The governor that ships and the device's own plan wish the same on the same figures, in heat and by charge. They differ by design where
//! p95 is late: a component moves along signed modes, and the device alone leaves out variants.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "../../pipeline/tests/fixture/mod.rs"]
mod fixture;

use std::sync::Arc;
use std::time::Duration;

use hotshoe_daemon::governor::convert;
use hotshoe_engine::{DeviceState, Instance, MeasuredMode, ThermalZone};
use hotshoe_senses::{DefaultPlan, Moment, SignedMode, SignedModes, Thresholds};
use hotshoe_trust::{Mode, Rate, Rests};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use fixture::Fixture;

const RELEASE: &str = r#"generation = 1
[components.measure]
file = "{guests}/measure.wasm"
world = "stage"
[components.governor]
file = "{guests}/governor.wasm"
world = "governor"
grants = ["data"]
[[pipeline]]
stage = "measure"
"#;
const NAMES: [&str; 2] = ["full", "minimal"];

/// What a device knows at one time: degrees, percent, and whether it is on mains.
type Known = (Option<f64>, Option<f64>, Option<bool>);

fn known() -> impl Strategy<Value = Known> {
    // Beside the limits and their margins, where the two may round differently.
    let celsius = (400..1_000_u32).prop_map(|tenths| f64::from(tenths) / 10.0);
    let percent = (0..100_u32).prop_map(|percent| f64::from(percent) + 0.5);
    (
        prop::option::weighted(0.8, celsius),
        prop::option::weighted(0.8, percent),
        any::<Option<bool>>(),
    )
}

fn state((celsius, percent, mains): Known, seconds: u64) -> DeviceState {
    let modes = NAMES.iter().zip(0..).map(|(name, level)| MeasuredMode {
        name: (*name).to_owned(),
        mode: Mode {
            level,
            rate: Rate::FULL,
            variants: [].into(),
            rests: Rests::default(),
        },
        agreement_ratio: None,
        p95_ms: None,
        memory_bytes: None,
        joules_per_sample: None,
    });
    let zone = celsius.map(|celsius| ThermalZone {
        name: "cpu".to_owned(),
        celsius,
    });
    let mut state = DeviceState {
        now_us: 1_790_000_000_000_000 + 1_000_000 * seconds,
        thermal_zones: zone.into_iter().collect(),
        modes: modes.collect(),
        mode: Some("full".to_owned()),
        outputs: vec!["fan".to_owned()],
        ..DeviceState::default()
    };
    state.power.charge_ratio = percent.map(|percent| percent / 100.0);
    state.power.mains = mains;
    state
}

#[test]
fn the_component_and_the_device_wish_the_same() {
    let fixture = Fixture::new();
    let pipeline = fixture.load(RELEASE).unwrap().pipeline;
    let component = Arc::clone(&pipeline.components()["governor"]);
    let modes = NAMES.map(|name| SignedMode {
        name: name.to_owned(),
        rate: hotshoe_senses::Rate::FULL,
    });
    let modes = SignedModes(modes.into());
    let thresholds = Thresholds::default();
    let scenes = prop::collection::vec(known(), 1..16);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
    let run = |scene: Vec<Known>| {
        let mut governor = Instance::new(Arc::clone(&component));
        let mut own = DefaultPlan::default();
        for (moment, seconds) in scene.into_iter().zip(0..) {
            let state = state(moment, seconds);
            let made = governor.govern(&state).unwrap();
            let made = convert::plan(&made, Some("full"), state.now_us);
            let (celsius, charge_percent, is_on_mains) = moment;
            let moment = Moment {
                celsius,
                charge_percent,
                is_on_mains,
                ..Moment::default()
            };
            let at = Duration::from_secs(seconds);
            let (next, plan) = own.next(&thresholds, &modes, &moment, at);
            own = next;
            prop_assert!(made.wishes_same(&plan), "{moment:?}\n{made:#?}\n{plan:#?}");
        }
        Ok(())
    };
    runner.run(&scenes, run).unwrap();
}
