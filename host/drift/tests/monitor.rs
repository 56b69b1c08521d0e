//! Windows of values with and without a shift.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use hotshoe_drift::{
    Baseline, BaselineBuilder, Measured, Monitor, MonitorError, Source, StateChange, Test, Value,
    Verdict,
};
use hotshoe_trust::Drift;

/// Numbers that repeat exactly: `SplitMix64` (G. L. Steele, D. Lea and C. H. Flood, 2014).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Strictly between 0 and 1.
    fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Mean 0, variance 1: G. E. P. Box and M. E. Muller, 1958.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }
}

const SOURCES: [&str; 4] = [
    "mean(lines.*.score)",
    "count(lines)",
    "label(lines.*.kind)",
    "embedding(values)",
];
const DIMENSIONS: usize = 8;

/// How much each kind of value is shifted.
#[derive(Clone, Copy, Default)]
struct Shift {
    /// In standard deviations.
    score: f64,
    /// The share of samples with the rarer label instead of the usual one.
    label: f64,
    /// In standard deviations, in one direction.
    vector: f64,
}

fn sample(random: &mut Random, shift: Shift) -> Measured {
    // A skewed distribution of scores, as real ones have: its logarithm is normal.
    let score = 1.0 - (-3.0 + 0.5 * (random.normal() - shift.score)).exp();
    let count = (random.uniform() * 6.0).floor();
    let rare = random.uniform() < 0.2 + 0.8 * shift.label;
    let label = if rare { "handwritten" } else { "printed" };
    let mut vector: Vec<f64> = (0..DIMENSIONS).map(|_| random.normal()).collect();
    vector[0] += shift.vector;
    Measured(vec![
        Some(Value::Number(score)),
        Some(Value::Number(count)),
        Some(Value::Labels(vec![label.to_owned()])),
        Some(Value::Vector(vector)),
    ])
}

fn sources() -> Vec<Source> {
    SOURCES.iter().map(|text| text.parse().unwrap()).collect()
}

fn baseline(random: &mut Random, samples: usize) -> Baseline {
    let mut builder = BaselineBuilder::new(sources()).unwrap();
    for _ in 0..samples {
        builder.add(&sample(random, Shift::default()));
    }
    let file = builder.finish().unwrap().to_json();
    Baseline::parse(&file).unwrap()
}

fn rules() -> Drift<String> {
    Drift::new("baseline.json".to_owned())
}

fn monitor(baseline: &Baseline, rules: &Drift<String>) -> Monitor {
    Monitor::new(baseline, rules).unwrap()
}

/// The verdicts of so many samples, one a second.
fn verdicts(
    monitor: &mut Monitor,
    random: &mut Random,
    samples: u64,
    shift: Shift,
) -> Vec<Verdict> {
    let seconds = (0..samples).map(Duration::from_secs);
    seconds
        .filter_map(|now| monitor.add(&sample(random, shift), now))
        .collect()
}

fn reasons(verdict: &Verdict) -> Vec<(&str, Test)> {
    verdict.reasons().map(|(of, it)| (of, it.test)).collect()
}

/// 200,000 samples in 400 windows: with the default thresholds, none drifts.
#[test]
fn a_long_quiet_run_has_no_false_alarm() {
    let mut random = Random(1);
    let baseline = baseline(&mut random, 2_000);
    let mut monitor = monitor(&baseline, &rules());
    let found = verdicts(&mut monitor, &mut random, 200_000, Shift::default());
    assert_eq!(found.len(), 400);
    let alarms: Vec<_> = found.iter().filter(|it| it.drifted).map(reasons).collect();
    assert!(alarms.is_empty(), "{alarms:?}");
    assert!(!monitor.is_drifting());
}

/// Without thresholds of size, the p-value alone decides: at most 5 % of windows.
#[test]
fn the_p_value_bounds_the_false_alarms() {
    let mut random = Random(2);
    let baseline = baseline(&mut random, 2_000);
    let rules = Drift {
        psi: 0.0,
        ks: 0.0,
        embedding: 0.0,
        p_value: 0.05,
        change: 1_000.0,
        ..rules()
    };
    let mut monitor = monitor(&baseline, &rules);
    let found = verdicts(&mut monitor, &mut random, 200_000, Shift::default());
    let alarms = found.iter().filter(|it| it.drifted).count();
    assert!(alarms * 20 <= found.len(), "{alarms} of {}", found.len());
}

#[test]
fn each_kind_of_shift_is_found_by_its_tests() {
    let mut random = Random(3);
    let baseline = baseline(&mut random, 2_000);
    let rules = Drift {
        change: 1_000.0,
        ..rules()
    };
    let one = |shift: Shift| {
        let mut random = Random(4);
        let mut monitor = monitor(&baseline, &rules);
        verdicts(&mut monitor, &mut random, 500, shift).remove(0)
    };
    let score = one(Shift {
        score: 1.0,
        ..Shift::default()
    });
    let of = "mean(lines.*.score)";
    assert_eq!(reasons(&score), [(of, Test::Psi), (of, Test::Ks)]);
    let label = one(Shift {
        label: 0.5,
        ..Shift::default()
    });
    assert_eq!(reasons(&label), [("label(lines.*.kind)", Test::Psi)]);
    let vector = one(Shift {
        vector: 1.5,
        ..Shift::default()
    });
    assert_eq!(reasons(&vector), [("embedding(values)", Test::Embedding)]);
}

#[test]
fn a_sudden_change_ends_the_window_early() {
    let mut random = Random(5);
    let baseline = baseline(&mut random, 2_000);
    let mut monitor = monitor(&baseline, &rules());
    assert!(verdicts(&mut monitor, &mut random, 200, Shift::default()).is_empty());
    let shift = Shift {
        score: 2.0,
        ..Shift::default()
    };
    let found = verdicts(&mut monitor, &mut random, 60, shift);
    // Each value adds 1.5 on average, and 15 is the threshold.
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].samples < 230, "{}", found[0].samples);
    assert!(reasons(&found[0]).contains(&("mean(lines.*.score)", Test::Change)));
    assert_eq!(found[0].change, Some(StateChange::Began));
    // While it drifts, windows have their full length.
    let found = verdicts(&mut monitor, &mut random, 500, shift);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].samples, found[0].change), (500, None));
    assert!(found[0].drifted && monitor.is_drifting());
    let found = verdicts(&mut monitor, &mut random, 500, Shift::default());
    // The window began with samples of the shift.
    let last = verdicts(&mut monitor, &mut random, 500, Shift::default());
    let ended = found
        .iter()
        .chain(&last)
        .any(|it| it.change == Some(StateChange::Ended));
    assert!(ended && !monitor.is_drifting());
}

#[test]
fn drift_begins_and_ends_after_windows_in_a_row() {
    let mut random = Random(6);
    let baseline = baseline(&mut random, 2_000);
    let rules = Drift {
        windows: 2,
        change: 1_000.0,
        ..rules()
    };
    let mut monitor = monitor(&baseline, &rules);
    let shifted = Shift {
        score: 1.0,
        ..Shift::default()
    };
    let mut changes = Vec::new();
    for shift in [true, false, true, true, false, true, false, false] {
        let shift = if shift { shifted } else { Shift::default() };
        let found = verdicts(&mut monitor, &mut random, 500, shift).remove(0);
        changes.push(found.change);
    }
    let (began, ended) = (Some(StateChange::Began), Some(StateChange::Ended));
    assert_eq!(changes, [None, None, None, began, None, None, None, ended]);
}

#[test]
fn a_window_ends_after_its_time_with_enough_samples() {
    let mut random = Random(7);
    let baseline = baseline(&mut random, 200);
    let rules = Drift {
        window_seconds: 60,
        at_least: 20,
        ..rules()
    };
    let mut monitor = monitor(&baseline, &rules);
    let mut add = |second: u64| {
        let sample = sample(&mut random, Shift::default());
        monitor.add(&sample, Duration::from_secs(second))
    };
    // One sample in ten seconds: 20 of them are there after 190 s.
    let found: Vec<_> = (0..20).filter_map(|step| add(step * 10)).collect();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].samples, found[0].seconds), (20, 190.0));
    // Two samples in a second: 60 s have more than enough.
    let found: Vec<_> = (0..121).filter_map(|step| add(1_000 + step / 2)).collect();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].samples, found[0].seconds), (121, 60.0));
}

#[test]
fn a_source_with_few_values_is_not_tested() {
    let mut random = Random(8);
    let baseline = baseline(&mut random, 200);
    let mut monitor = monitor(&baseline, &rules());
    let mut last = None;
    for second in 0..500_u64 {
        let mut sample = sample(&mut random, Shift::default());
        if second >= 99 {
            sample.0[0] = None;
            // Another kind of value, and another length, are left out.
            sample.0[1] = Some(Value::Labels(vec!["x".to_owned()]));
            sample.0[3] = Some(Value::Vector(vec![0.0]));
        }
        last = monitor.add(&sample, Duration::from_secs(second)).or(last);
    }
    let verdict = last.unwrap();
    let values: Vec<_> = verdict.series.iter().map(|it| it.values).collect();
    assert_eq!(values, [99, 99, 500, 99]);
    let tests: Vec<usize> = verdict.series.iter().map(|it| it.findings.len()).collect();
    assert_eq!(tests, [1, 1, 1, 0]);
    // One test with a p-value was made.
    assert_eq!(verdict.p_value, 0.001);
}

#[test]
fn only_what_a_release_watches_is_watched() {
    let mut random = Random(9);
    let baseline = baseline(&mut random, 200);
    let watching = |text: &str| Drift {
        watch: [text.to_owned()].into(),
        ..rules()
    };
    let monitor = Monitor::new(&baseline, &watching("count(lines)")).unwrap();
    assert_eq!(monitor.sources(), ["count(lines)".parse().unwrap()]);
    let error = Monitor::new(&baseline, &watching("count(words)")).unwrap_err();
    assert_eq!(
        error,
        MonitorError::NotInBaseline {
            watched: "count(words)".to_owned(),
            known: SOURCES.map(str::to_owned).to_vec(),
        }
    );
    assert_eq!(error.name(), "not_in_baseline");
}

#[test]
fn rare_samples_have_a_rarity_near_one() {
    let mut random = Random(10);
    let baseline = baseline(&mut random, 1_000);
    let monitor = monitor(&baseline, &rules());
    let number = |score: f64| Measured(vec![Some(Value::Number(score)), None, None, None]);
    let median = 1.0 - (-3.0_f64).exp();
    assert!(monitor.rarity(&number(median)).unwrap() < 0.1);
    assert!(monitor.rarity(&number(0.0)).unwrap() > 0.99);
    let labels = |label: &str| {
        let labels = Value::Labels(vec![label.to_owned()]);
        Measured(vec![None, None, Some(labels), None])
    };
    let usual = monitor.rarity(&labels("printed")).unwrap();
    assert!((usual - 0.2).abs() < 0.05, "{usual}");
    assert_eq!(monitor.rarity(&labels("drawn")), Some(1.0));
    assert_eq!(monitor.rarity(&Measured(vec![None; 4])), None);
    let far = Measured(vec![None, None, None, Some(Value::Vector(vec![9.0; 8]))]);
    let found = monitor.rarities(&far);
    assert_eq!(found.len(), 1);
    assert!(found[0].0.to_string() == "embedding(values)" && found[0].1 > 0.95);
}

#[test]
fn a_monitor_that_restarts_knows_nothing_of_what_it_saw() {
    let mut random = Random(7);
    let baseline = baseline(&mut random, 500);
    let rules = Drift {
        window: 100,
        ..Drift::new(())
    };
    let mut monitor = Monitor::new(&baseline, &rules).unwrap();
    let shift = Shift {
        score: 3.0,
        ..Shift::default()
    };
    for _ in 0..150 {
        monitor.add(&sample(&mut random, shift), Duration::ZERO);
    }
    assert!(monitor.is_drifting() && monitor.samples() == 50);
    monitor.restart();
    assert!(!monitor.is_drifting() && monitor.samples() == 0);
    // It began in the middle of a window with large sums.
    for number in 1..=100 {
        let verdict = monitor.add(&sample(&mut random, Shift::default()), Duration::ZERO);
        assert_eq!(
            verdict.map(|it| it.drifted),
            (number == 100).then_some(false)
        );
    }
}
