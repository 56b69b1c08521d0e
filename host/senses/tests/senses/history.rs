//! Sketches and the history of series.

use std::time::Duration;

use hotshoe_senses::{History, HistoryError, Shape, Sketch};
use proptest::prelude::*;

const SHAPE: Shape = Shape {
    slot: Duration::from_secs(10),
    slots: 6,
    series: 3,
};
const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn is_near(found: Option<f64>, expected: f64) -> bool {
    found.is_some_and(|found| (found - expected).abs() <= 0.02 * expected.abs() + 0.01)
}

#[test]
fn quantiles_are_within_two_percent() {
    let mut sketch = Sketch::default();
    for value in 1..=1_000 {
        sketch.add(f64::from(value));
    }
    for (q, expected) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0)] {
        assert!(is_near(sketch.quantile(q), expected), "{q}");
    }
    assert_eq!((sketch.min(), sketch.max()), (Some(1.0), Some(1_000.0)));
    assert_eq!((sketch.count(), sketch.sum()), (1_000, Some(500_500.0)));
}

#[test]
fn temperatures_below_zero_and_nothing_at_all_are_known() {
    let mut sketch = Sketch::default();
    assert_eq!(sketch.quantile(0.5), None);
    sketch.add(f64::NAN);
    assert_eq!(sketch.count(), 0);
    for celsius in [-20.0, -10.0, 0.0, 10.0, 20.0] {
        sketch.add(celsius);
    }
    assert!(is_near(sketch.quantile(0.25), -10.0));
    assert_eq!(sketch.quantile(0.5), Some(0.0));
    assert!(is_near(sketch.quantile(0.75), 10.0));
}

#[test]
fn a_window_has_its_own_values_alone() {
    let mut history = History::new(SHAPE);
    for second in 0..60_u32 {
        let value = if second < 30 { 1_000.0 } else { 2_000.0 };
        let time = at(u64::from(second));
        history.add("stage", value, time).unwrap();
    }
    let now = at(59);
    let whole = history.summary("stage", MINUTE, now).unwrap();
    assert_eq!((whole.count, whole.max, whole.mean), (60, 2_000.0, 1_500.0));
    assert!(is_near(Some(whole.p50), 1_000.0) && is_near(Some(whole.p95), 2_000.0));
    // From the slot of the 39th second on.
    let last = history.summary("stage", at(20), now).unwrap();
    assert_eq!((last.count, last.mean), (30, 2_000.0));
    assert_eq!(history.summary("other", MINUTE, now), None);
    // The slots go one by one.
    let kept = |now| {
        history
            .summary("stage", 10 * MINUTE, at(now))
            .map(|it| it.count)
    };
    assert_eq!(
        [59, 69, 109, 110].map(kept),
        [Some(60), Some(50), Some(10), None]
    );
}

#[test]
fn a_slot_is_used_again_and_a_late_value_is_left_out() {
    let mut history = History::new(SHAPE);
    history.add("stage", 1.0, at(5)).unwrap();
    history.add("stage", 2.0, at(65)).unwrap();
    history.add("stage", 3.0, at(5)).unwrap();
    let summary = history.summary("stage", MINUTE, at(65)).unwrap();
    assert_eq!((summary.count, summary.max), (1, 2.0));
}

#[test]
fn the_last_values_stay_known_after_their_time() {
    let mut history = History::new(SHAPE);
    assert_eq!(history.last_summary("stage"), None);
    for (second, value) in [(0, 1.0), (65, 2.0), (119, 3.0)] {
        history.add("stage", value, at(second)).unwrap();
    }
    assert_eq!(history.summary("stage", MINUTE, at(600)), None);
    // The slots of the 60th to the 119th second.
    let last = history.last_summary("stage").unwrap();
    assert_eq!((last.count, last.max, last.mean), (2, 3.0, 2.5));
    assert_eq!(history.slot(at(119)), 11);
    let slot = |number| history.summary_of_slot("stage", number).map(|it| it.mean);
    assert_eq!([6, 7, 11].map(slot), [Some(2.0), None, Some(3.0)]);
}

#[test]
fn series_are_limited_and_one_without_values_makes_room() {
    let mut history = History::new(SHAPE);
    for name in ["a", "b", "c"] {
        history.add(name, 1.0, at(0)).unwrap();
    }
    history.add("a", 1.0, at(30)).unwrap();
    let error = history.add("d", 1.0, at(59)).unwrap_err();
    let expected = HistoryError::TooManySeries {
        name: "d".to_owned(),
        most: 3,
    };
    assert_eq!(error, expected);
    assert_eq!(error.name(), "too_many_series");
    history.add("d", 1.0, at(60)).unwrap();
    assert_eq!(history.names().collect::<Vec<_>>(), ["a", "d"]);
    let error = history.add(&"n".repeat(129), 1.0, at(60)).unwrap_err();
    assert_eq!(error, HistoryError::LongName { bytes: 129 });
}

#[test]
fn the_default_takes_at_most_5_mib() {
    assert!(History::new(Shape::default()).max_bytes() <= 5 << 20);
}

/// Values of all magnitudes.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-3.0..10.0_f64).prop_map(|power| 10_f64.powf(power)),
        1 => (-3.0..10.0_f64).prop_map(|power| -(10_f64.powf(power))),
        1 => any::<f64>(),
    ]
}

proptest! {
    #[test]
    fn a_merge_is_as_if_all_values_had_been_added_to_one(
        parts in prop::collection::vec(prop::collection::vec(value(), 0..40), 1..6),
    ) {
        let (mut merged, mut whole) = (Sketch::default(), Sketch::default());
        for part in &parts {
            let mut sketch = Sketch::default();
            for value in part {
                sketch.add(*value);
                whole.add(*value);
            }
            merged.merge(&sketch);
        }
        prop_assert_eq!(merged.count(), whole.count());
        for q in [0.0, 0.05, 0.5, 0.95, 0.99, 1.0] {
            prop_assert_eq!(merged.quantile(q), whole.quantile(q));
        }
        prop_assert!(merged.bytes() <= Sketch::MAX_BYTES);
    }

    #[test]
    fn a_quantile_is_near_the_value_of_that_rank(
        mut values in prop::collection::vec((-1.0..9.0_f64).prop_map(|power| 10_f64.powf(power)), 1..200),
        percent in 0..=100_usize,
    ) {
        let mut sketch = Sketch::default();
        for value in &values {
            sketch.add(*value);
        }
        values.sort_by(f64::total_cmp);
        let share = percent as f64 / 100.0;
        let rank = (share * (values.len() - 1) as f64) as usize;
        let found = sketch.quantile(share).unwrap();
        prop_assert!((found - values[rank]).abs() <= 0.0201 * values[rank]);
    }

    #[test]
    fn a_history_stays_within_its_memory(
        values in prop::collection::vec((0..5_u8, value(), 0..300_u64), 0..300),
    ) {
        let mut history = History::new(SHAPE);
        for (name, value, seconds) in values {
            let _ = history.add(&name.to_string(), value, at(seconds));
        }
        prop_assert!(history.bytes() <= history.max_bytes());
        prop_assert!(history.names().count() <= SHAPE.series);
    }
}
