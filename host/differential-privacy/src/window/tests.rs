//! Two neighbouring data sets: their results differ in probability by at most e^ε, and nearly that much. And bounds.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

/// Runs for each data set.
const RUNS: u32 = 60_000;
/// The bound on a ratio of two observed shares is widened by this many standard deviations: with random seeds, an event would be wrong in 3 of
/// 10^7 runs.
const Z: f64 = 5.0;

/// SplitMix64, as in `tests/common`.
fn seeded(seed: u64) -> Noise {
    let mut state = seed;
    Noise::from_source(move |bytes| {
        for chunk in bytes.chunks_exact_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        }
        Ok(())
    })
}

fn definition(kind: Kind, contributions: u32, millionths: u64) -> Definition {
    let epsilon = Epsilon::from_millionths(millionths).unwrap();
    Definition::new("test", kind, contributions, epsilon).unwrap()
}

/// A window with these records of contributors.
fn window(definition: &Definition, records: &[(u8, i64)]) -> Window {
    let mut window = Window::new(definition.clone());
    for (contributor, value) in records {
        window.add(contributor, *value);
    }
    window
}

/// Whether the cells of figures are such that an event is seen.
type Event<'a> = &'a dyn Fn(&[i64]) -> bool;

/// The greatest loss in `events`, less [`Z`] standard deviations: ln of how much more often an event is seen with one data set.
fn loss(definition: &Definition, [left, right]: [&[(u8, i64)]; 2], events: &[Event<'_>]) -> f64 {
    let mut noise = seeded(11);
    let mut counted = |records: &[(u8, i64)]| -> Vec<f64> {
        let mut counts = vec![0.0; events.len()];
        for _ in 0..RUNS {
            let figures = window(definition, records).noisy(&mut noise).unwrap();
            for (count, event) in counts.iter_mut().zip(events) {
                *count += f64::from(u8::from(event(figures.cells())));
            }
        }
        counts
    };
    let (left, right) = (counted(left), counted(right));
    let losses = left.iter().zip(&right).map(|(left, right): (&f64, &f64)| {
        assert!(
            *left > 500.0 && *right > 500.0,
            "a rare event: {left}, {right}"
        );
        (left / right).ln().abs() - Z * (1.0 / left + 1.0 / right).sqrt()
    });
    losses.fold(f64::MIN, f64::max)
}

fn is_tight(loss: f64, epsilon: f64) {
    assert!(loss <= epsilon, "the loss is {loss}, and epsilon {epsilon}");
    // The test would see a promise of two thirds of ε broken: it has power, and the noise is not more than needed.
    assert!(loss > epsilon * 2.0 / 3.0, "the loss is only {loss}");
}

#[test]
fn a_count_hides_a_contributor_with_all_its_records() {
    // The contributor 1 has more records than count.
    let with = [(0, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0)];
    let without = [(0, 0)];
    let definition = definition(Kind::Count, 3, 600_000);
    let at_least: Vec<_> = (-3..=8)
        .map(|k: i64| move |cells: &[i64]| cells.iter().all(|cell| *cell >= k))
        .collect();
    let at_most: Vec<_> = (-3..=8)
        .map(|k: i64| move |cells: &[i64]| cells.iter().all(|cell| *cell <= k))
        .collect();
    let at_least = at_least.iter().map(|event| event as Event<'_>);
    let at_most = at_most.iter().map(|event| event as Event<'_>);
    let events: Vec<_> = at_least.chain(at_most).collect();
    is_tight(loss(&definition, [&with, &without], &events), 0.6);
}

#[test]
fn a_sum_hides_the_greatest_change_of_a_value() {
    // Both are clipped: to 5 and to -2.
    let (one, other) = ([(0, 1), (1, 1_000)], [(0, 1), (1, -1_000)]);
    let kind = Kind::Sum {
        lowest: -2,
        highest: 5,
    };
    let definition = definition(kind, 1, 600_000);
    let high = |cells: &[i64]| cells.iter().all(|cell| *cell >= 6);
    let low = |cells: &[i64]| cells.iter().all(|cell| *cell <= -1);
    is_tight(loss(&definition, [&one, &other], &[&high, &low]), 0.6);
}

#[test]
fn a_histogram_hides_in_which_cell_a_value_is() {
    let (one, other) = ([(0, 1), (1, 5)], [(0, 1), (1, 15)]);
    let kind = Kind::Histogram {
        edges: vec![0, 10, 20],
    };
    let definition = definition(kind, 1, 600_000);
    let cell = |cells: &[i64], at: usize| cells.get(at).copied().unwrap();
    // The cell from 0 to 9 has 2 or 1 values, that from 10 to 19 has 0 or 1.
    let first = |cells: &[i64]| cell(cells, 1) >= 2 && cell(cells, 2) <= 0;
    let second = |cells: &[i64]| cell(cells, 1) <= 1 && cell(cells, 2) >= 1;
    is_tight(loss(&definition, [&one, &other], &[&first, &second]), 0.6);
}

#[test]
fn records_are_clipped_and_counted_in_their_cell() {
    let exact = |kind, contributions, records: &[(u8, i64)]| {
        window(&definition(kind, contributions, 1), records).cells
    };
    let records = [(0, 7), (0, i64::MAX), (0, 1), (1, i64::MIN), (2, 0)];
    assert_eq!(exact(Kind::Count, 2, &records), [4]);
    let sum = Kind::Sum {
        lowest: -10,
        highest: 100,
    };
    assert_eq!(exact(sum, 2, &records), [7 + 100 - 10]);
    let edges = vec![0, 7];
    assert_eq!(exact(Kind::Histogram { edges }, 3, &records), [1, 2, 2]);
}

#[test]
fn a_full_window_takes_no_new_contributors() {
    let mut window = Window::new(definition(Kind::Count, 2, 1));
    for contributor in 0..MAX_CONTRIBUTORS + 10 {
        window.add(&contributor, 0);
    }
    window.add(&0_usize, 0);
    assert_eq!(window.contributors.len(), MAX_CONTRIBUTORS);
    // 65,536 and the second record of the first; a collision of two hashes would be one in 2^32 runs.
    assert_eq!(window.cells, [65_537]);
}

#[test]
fn bounds_decide_the_sensitivity() {
    let sum = |lowest, highest| Kind::Sum { lowest, highest }.sensitivity();
    assert_eq!(sum(0, 5), 5);
    assert_eq!(sum(2, 5), 5);
    assert_eq!(sum(-2, 5), 7);
    assert_eq!(sum(-5, -2), 5);
    let widest = (-crate::MAX_BOUND, crate::MAX_BOUND);
    assert_eq!(sum(widest.0, widest.1), 1 << 33);
    let kind = Kind::Sum {
        lowest: widest.0,
        highest: widest.1,
    };
    let epsilon = Epsilon::from_millionths(1).unwrap();
    assert!(Definition::new("widest", kind, crate::MAX_CONTRIBUTIONS, epsilon).is_ok());
}
