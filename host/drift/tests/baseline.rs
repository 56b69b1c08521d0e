//! The file of a baseline, and what makes one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use hotshoe_drift::{
    Baseline, BaselineBuilder, BaselineError, MAX_LABELS, MAX_SERIES, MAX_VALUES, Measured, Series,
    Source, Value, cuts, kolmogorov_smirnov, psi,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn source(text: &str) -> Source {
    text.parse().unwrap()
}

fn of_one(text: &str, values: impl IntoIterator<Item = Value>) -> Result<Baseline, BaselineError> {
    let mut builder = BaselineBuilder::new(vec![source(text)]).unwrap();
    for value in values {
        builder.add(&Measured(vec![Some(value)]));
    }
    builder.finish()
}

fn numbers(count: u32) -> Baseline {
    let values = (0..count).map(|it| Value::Number(it.into()));
    of_one("mean(x)", values).unwrap()
}

/// The error of the file of `numbers(30)` with one field changed.
fn changed(change: impl FnOnce(&mut Json)) -> BaselineError {
    let mut file: Json = serde_json::from_slice(&numbers(30).to_json()).unwrap();
    change(&mut file);
    Baseline::parse(&serde_json::to_vec(&file).unwrap()).unwrap_err()
}

#[test]
fn a_file_is_read_as_it_was_written() {
    let baseline = numbers(30);
    assert_eq!(Baseline::parse(&baseline.to_json()).unwrap(), baseline);
    let vectors = (0..30).map(|it| Value::Vector(vec![1.0 / 3.0, f64::from(it * it % 7) / 3.0]));
    let baseline = of_one("embedding(values)", vectors).unwrap();
    assert_eq!(Baseline::parse(&baseline.to_json()).unwrap(), baseline);
}

#[test]
fn many_values_keep_evenly_spaced_ranks() {
    let baseline = numbers(4_000);
    let Series::Numbers(numbers) = &baseline.series()[0].values else {
        panic!("{baseline:?}");
    };
    assert_eq!((numbers.count, numbers.sorted.len()), (4_000, MAX_VALUES));
    // The third of each four.
    assert_eq!(numbers.sorted[..3], [2.0, 6.0, 10.0]);
    assert_eq!(numbers.sorted[MAX_VALUES - 1], 3_998.0);
}

#[test]
fn the_most_frequent_labels_are_told_apart() {
    let label = |number: usize| Value::Labels(vec![format!("label-{number:02}")]);
    let often = (0..3 * MAX_LABELS).map(|it| label(it % MAX_LABELS));
    let rare = (0..5).map(|it| label(MAX_LABELS + it));
    let baseline = of_one("label(x)", often.chain(rare)).unwrap();
    let Series::Labels(labels) = &baseline.series()[0].values else {
        panic!("{baseline:?}");
    };
    assert_eq!(labels.counts.len(), MAX_LABELS);
    assert!(labels.counts.values().all(|count| *count == 3));
    assert_eq!((labels.samples, labels.other), (101, 5));
}

#[test]
fn too_few_samples_are_refused_with_the_number_that_is_needed() {
    let few = of_one("mean(x)", (0..29).map(|it| Value::Number(it.into()))).unwrap_err();
    assert!(matches!(
        few,
        BaselineError::TooFew {
            found: 29,
            least: 30,
            ..
        }
    ));
    assert_eq!(few.name(), "too_few_samples");
    let vectors = (0..59).map(|it| Value::Vector(vec![f64::from(it); 30]));
    let few = of_one("embedding(values)", vectors).unwrap_err();
    assert!(matches!(
        few,
        BaselineError::TooFew {
            found: 59,
            least: 60,
            ..
        }
    ));
    let mixed = [1, 2].map(|length| Value::Vector(vec![0.0; length]));
    let mixed = of_one("embedding(values)", mixed).unwrap_err();
    assert_eq!(mixed.name(), "mixed_dimensions");
}

#[test]
fn sources_are_given_once_and_not_too_many() {
    let many = (0..=MAX_SERIES).map(|it| source(&format!("mean(x{it})")));
    for (sources, expected) in [
        (Vec::new(), "a baseline of 0 sources; give 1 to 32"),
        (many.collect(), "a baseline of 33 sources; give 1 to 32"),
        (
            vec![source("mean(x)"), source("min(x)"), source("mean(x)")],
            "`mean(x)` is in the baseline twice; leave one out",
        ),
    ] {
        let error = BaselineBuilder::new(sources).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.name(), "invalid_sources");
    }
}

#[test]
fn what_no_builder_writes_is_refused() {
    let newer = changed(|file| file["format"] = json!(2));
    assert_eq!(newer.name(), "newer_format");
    let unknown = changed(|file| file["more"] = json!(1));
    assert!(matches!(unknown, BaselineError::Unreadable(_)));
    let numbers = "/series/0/values/numbers";
    let set = |path: &'static str, value: Json| {
        move |file: &mut Json| {
            *file.pointer_mut(&format!("{numbers}{path}")).unwrap() = value;
        }
    };
    for (error, problem) in [
        (changed(set("/count", json!(29))), "too few values"),
        (changed(set("/count", json!(31))), "not as many"),
        (changed(set("/sorted/3", json!(99))), "not sorted"),
        (changed(set("/sorted/29", json!(1e13))), "too large"),
        (
            changed(|file| file["series"][0]["source"] = json!("label(x)")),
            "not of its kind",
        ),
    ] {
        assert!(error.to_string().contains(problem), "{error}");
        assert_eq!(error.name(), "invalid_baseline");
    }
    assert_eq!(
        changed(|file| file["series"] = json!([])).name(),
        "invalid_sources"
    );
}

#[test]
fn vectors_that_do_not_fit_are_refused() {
    let vectors = (0..30).map(|it| Value::Vector(vec![f64::from(it), f64::from(it * it % 7)]));
    let baseline = of_one("embedding(values)", vectors).unwrap();
    let file: Json = serde_json::from_slice(&baseline.to_json()).unwrap();
    for (path, value, problem) in [
        ("mean", json!([1.0]), "does not fit its mean"),
        ("covariance", json!([[1.0], [1.0]]), "does not fit its mean"),
        ("mean", json!([]), "dimensions are out of range"),
    ] {
        let mut file = file.clone();
        file["series"][0]["values"]["embeddings"][path] = value;
        let error = Baseline::parse(&serde_json::to_vec(&file).unwrap()).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(-1e6..1e6_f64, 1..200)
}

proptest! {
    #[test]
    fn distances_are_shares_and_do_not_depend_on_the_order_of_samples(
        one in values(),
        other in values(),
    ) {
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        let (one, other) = (sorted(one), sorted(other));
        let found = kolmogorov_smirnov(&one, &other).unwrap();
        prop_assert!((0.0..=1.0).contains(&found.distance));
        prop_assert!((0.0..=1.0).contains(&found.p_value));
        let turned = kolmogorov_smirnov(&other, &one).unwrap();
        prop_assert!((found.distance - turned.distance).abs() < 1e-12);
        let same = kolmogorov_smirnov(&one, &one).unwrap();
        prop_assert_eq!(same.distance, 0.0);
        // A rising change of both changes nothing.
        let doubled = |values: &[f64]| values.iter().map(|it| it * 2.0).collect::<Vec<_>>();
        let changed = kolmogorov_smirnov(&doubled(&one), &doubled(&other)).unwrap();
        prop_assert!((found.distance - changed.distance).abs() < 1e-12);
    }

    #[test]
    fn an_index_is_not_negative_and_symmetric(
        counts in proptest::collection::vec((0_u64..1_000, 0_u64..1_000), 1..20),
    ) {
        let (one, other): (Vec<u64>, Vec<u64>) = counts.into_iter().unzip();
        let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
        let (n, m) = (total(&one), total(&other));
        let found = psi(&one, &other, n, m);
        prop_assert!(found.index >= 0.0 && found.index.is_finite());
        prop_assert!((0.0..=1.0).contains(&found.p_value));
        let turned = psi(&other, &one, m, n);
        prop_assert!((found.index - turned.index).abs() < 1e-9);
        prop_assert!(psi(&one, &one, n, n).index.abs() < 1e-12);
    }

    #[test]
    fn cuts_rise(mut values in values()) {
        values.sort_by(f64::total_cmp);
        let found = cuts(&values);
        prop_assert!(found.is_sorted_by(|one, next| one < next));
        prop_assert!(found.len() < hotshoe_drift::BINS && !found.is_empty());
    }

    #[test]
    fn no_bytes_are_a_baseline_that_cannot_be_written(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Baseline::parse(&bytes).is_err());
    }
}
