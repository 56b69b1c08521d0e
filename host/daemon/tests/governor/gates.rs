//! Which samples the rate in force lets through, and when the device rests.

use std::num::NonZeroU32;
use std::time::{Duration, Instant, UNIX_EPOCH};

use hotshoe_base::{Clock, VirtualClock};
use hotshoe_daemon::in_force::InForce;
use hotshoe_daemon::serving::motion_gate::MotionGate;
use hotshoe_daemon::serving::rate_gate::{MAX_SOURCES, RateGate};
use hotshoe_engine::Sample;
use hotshoe_pipeline::Boundary;
use hotshoe_senses::{Because, Plan, Rate, Rest, SignedMode, SignedModes};
use hotshoe_trust::{Privacy, PrivacyMask};
use proptest::prelude::*;

fn rate(every: u32, interval_ms: u32) -> Rate {
    Rate {
        every: NonZeroU32::new(every).unwrap(),
        interval_ms,
        on_motion: false,
    }
}

#[test]
fn one_of_three_passes_and_the_first_of_each_source() {
    let (gate, now) = (RateGate::default(), Instant::now());
    let passed = |source: &str| gate.admits(source, rate(3, 0), now);
    let first: Vec<bool> = (0..7).map(|_| passed("a")).collect();
    assert_eq!(first, [true, false, false, true, false, false, true]);
    assert!(passed("b"));
}

#[test]
fn two_a_second_of_a_third_are_one_in_each_half_second_whose_turn_it_is() {
    let (gate, start) = (RateGate::default(), Instant::now());
    // A sample in each 100 ms: 0, 300, 600, ... have their turn, and of those the ones that are 500 ms apart pass.
    let passed: Vec<u64> = (0..15)
        .map(|it| 100 * it)
        .filter(|at| gate.admits("a", rate(3, 500), start + Duration::from_millis(*at)))
        .collect();
    assert_eq!(passed, [0, 600, 1_200]);
}

#[test]
fn the_full_rate_lets_everything_through() {
    let (gate, now) = (RateGate::default(), Instant::now());
    assert!((0..100).all(|_| gate.admits("a", Rate::FULL, now)));
}

#[test]
fn sources_beyond_the_limit_are_counted_as_one() {
    let (gate, now) = (RateGate::default(), Instant::now());
    let passed = |source: usize| gate.admits(&source.to_string(), rate(2, 0), now);
    assert!((0..MAX_SOURCES).all(passed));
    let others: Vec<bool> = (MAX_SOURCES..MAX_SOURCES + 4).map(passed).collect();
    assert_eq!(others, [true, false, true, false]);
    // Those that send nothing for 10 minutes make room.
    let later = now + Duration::from_secs(600);
    assert!(gate.admits("new", rate(2, 0), later) && !gate.admits("new", rate(2, 0), later));
    assert!(gate.admits("another", rate(2, 0), later));
}

proptest! {
    #[test]
    fn never_more_than_one_of_n_of_a_source(
        every in 1..6_u32,
        sources in prop::collection::vec(0..3_u8, 1..120),
    ) {
        let (gate, now) = (RateGate::default(), Instant::now());
        for source in 0..3 {
            let of_source = sources.iter().filter(|it| **it == source).count();
            let passed = (0..of_source)
                .filter(|_| gate.admits(&source.to_string(), rate(every, 0), now))
                .count();
            prop_assert_eq!(passed, of_source.div_ceil(every as usize));
        }
    }

    #[test]
    fn never_more_in_a_time_than_the_interval_says(
        every in 1..4_u32,
        interval_ms in 1..1_000_u32,
        steps in prop::collection::vec(0..400_u64, 1..120),
    ) {
        let clock = VirtualClock::at(UNIX_EPOCH);
        let gate = RateGate::default();
        let mut passed: Vec<Instant> = Vec::new();
        for step in steps {
            clock.advance(Duration::from_millis(step));
            let now = clock.clock().now();
            if gate.admits("a", rate(every, interval_ms), now) {
                passed.push(now);
            }
        }
        let interval = Duration::from_millis(interval_ms.into());
        prop_assert!(passed.windows(2).all(|pair| pair[1] - pair[0] >= interval));
    }

    #[test]
    fn a_stricter_rate_applies_to_the_next_sample(before in 0..5_usize, every in 2..5_u32) {
        let (gate, now) = (RateGate::default(), Instant::now());
        for _ in 0..before {
            gate.admits("a", rate(2, 0), now);
        }
        let passed: Vec<bool> = (0..20).map(|_| gate.admits("a", rate(every, 0), now)).collect();
        for window in passed.windows(every as usize) {
            prop_assert!(window.iter().filter(|it| **it).count() <= 1);
        }
    }
}

/// A grey frame of 64 x 48 pixels.
fn frame(source: &str, grey: u8) -> Sample {
    Sample {
        id: "sample".to_owned(),
        source: source.to_owned(),
        content_type: "video/x-raw; format=GRAY8; width=64; height=48".to_owned(),
        timestamp_us: 0,
        payload: vec![grey; 64 * 48].into(),
    }
}

#[test]
fn only_a_picture_that_differs_from_the_last_one_that_did_moves() {
    let (gate, clock) = (MotionGate::default(), Clock::system());
    let boundary = Boundary::of(&Privacy::default(), &Privacy::default());
    let moves = |source: &str, grey| {
        let sample = frame(source, grey);
        gate.moves(source, &boundary.mask(&sample).unwrap(), &clock)
    };
    // 2% of 255 are 5.1.
    let found = [100, 100, 103, 104, 106, 106].map(|grey| moves("a", grey));
    assert_eq!(found, [true, false, false, false, true, false]);
    assert!(moves("b", 106) && !moves("b", 106));
    let mut text = frame("a", 106);
    text.content_type = "text/plain".to_owned();
    let text = boundary.mask(&text).unwrap();
    assert!(gate.moves("a", &text, &clock) && gate.moves("a", &text, &clock));
}

#[test]
fn what_is_under_a_mask_does_not_move() {
    let (gate, clock) = (MotionGate::default(), Clock::system());
    let left = PrivacyMask {
        source: "a".to_owned(),
        polygon: vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]],
    };
    let device = Privacy {
        masks: vec![left],
        ..Privacy::default()
    };
    let boundary = Boundary::of(&Privacy::default(), &device);
    // The left and the right half of a frame.
    let moves = |source: &str, left: u8, right: u8| {
        let row = [[left; 32], [right; 32]].concat();
        let sample = Sample {
            payload: row.repeat(48).into(),
            ..frame(source, 0)
        };
        gate.moves(source, &boundary.mask(&sample).unwrap(), &clock)
    };
    assert!(moves("a", 0, 100));
    assert!(!moves("a", 250, 100));
    assert!(moves("a", 250, 150));
    // Without a mask, the same change moves.
    assert!(moves("b", 0, 100) && moves("b", 250, 100));
}

#[test]
fn the_rate_in_force_is_that_of_the_mode_and_of_the_plan_with_both_reasons() {
    let modes = SignedModes(vec![
        SignedMode {
            name: "full".to_owned(),
            rate: Rate::FULL,
        },
        SignedMode {
            name: "half".to_owned(),
            rate: rate(2, 0),
        },
    ]);
    let plan = Plan {
        mode: Some(Because::new("half".to_owned(), "heat")),
        rate: Some(Because::new(rate(1, 500), "charge")),
        ..Plan::default()
    };
    let in_force = InForce::of(&plan, &modes, None);
    assert_eq!(in_force.rate, rate(2, 500));
    assert_eq!(in_force.rate_reason(), "charge; heat");
    assert_eq!(
        InForce::of(&plan, &SignedModes::default(), None).rate,
        rate(1, 500)
    );
    assert_eq!(InForce::default().rate, Rate::FULL);
}

#[test]
fn a_rest_until_a_time_ends_by_itself_and_a_stop_does_not() {
    let now = Instant::now();
    let ends = now + Duration::from_secs(60);
    let rest = |rest| {
        let plan = Plan {
            rest: Some(Because::new(rest, "why")),
            ..Plan::default()
        };
        InForce::of(&plan, &SignedModes::default(), Some(ends))
    };
    for (rest_of, before, after) in [
        (Rest::Until(0), Some("why"), None),
        (Rest::Stop, Some("why"), Some("why")),
        (Rest::Hibernate, Some("why"), Some("why")),
    ] {
        let in_force = rest(rest_of);
        assert_eq!(in_force.rests(now), before);
        assert_eq!(in_force.rests(ends), after);
    }
    assert_eq!(InForce::default().rests(now), None);
}
