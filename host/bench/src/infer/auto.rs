//! `auto` against the better one of the two backends, in pairs.

use anyhow::Context;
use hotshoe_release::ratio::ratio_bound;

use super::AUTO_TARGET;
use super::sides::{Times, Turn, runs_in_a_turn};
use crate::report::{Row, Unit};

/// Least number of pairs, so that the bound holds.
const PAIRS: usize = 21;

/// How far `auto` may be above the better backend, and how far that one is from itself, as upper 95% bounds over at least [`PAIRS`] pairs.
/// `better` and `again` run the same model.
pub(super) fn bounds(
    title: &str,
    name: &str,
    [auto, better, again]: [Turn<'_>; 3],
    rounds: usize,
) -> anyhow::Result<Vec<Row>> {
    let mut sides = [better, auto, again];
    let runs = runs_in_a_turn(&mut sides)?;
    let (mut ratios, mut noise) = (Vec::new(), Vec::new());
    for round in 0..rounds.max(PAIRS) {
        let mut medians = [f64::NAN; 3];
        for at in (0..3).map(|at| (at + round) % 3) {
            let side = sides.get_mut(at).context("three sides")?;
            let found = Times::of(side(runs)?).median();
            *medians.get_mut(at).context("three sides")? = found;
        }
        let [better, auto, again] = medians;
        ratios.push(auto / better);
        noise.push(again / better);
    }
    let row = |what: &str, ratios: &[f64], target| {
        let above_percent = (ratio_bound(ratios).1 - 1.0) * 100.0;
        let name = format!("{title}: {what}, upper 95% bound");
        Row::alone(&name, Unit::Percent, above_percent, target)
    };
    let target = (AUTO_TARGET - 1.0) * 100.0;
    Ok(vec![
        row(&format!("auto above {name}"), &ratios, Some(target)),
        row(&format!("{name} above itself"), &noise, None),
    ])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    #[expect(clippy::indexing_slicing, reason = "of JSON, a missing value is null")]
    fn a_side_is_compared_with_the_better_one_and_that_one_with_itself() {
        let side = |millis: u64| -> Turn<'_> {
            Box::new(move |times| Ok(vec![Duration::from_millis(millis); times]))
        };
        for (auto, above, met) in [(20, 0.0, true), (30, 50.0, false)] {
            let rows = bounds("m", "tract", [side(auto), side(20), side(20)], 1).unwrap();
            let rows = json!(rows);
            assert_eq!(rows[0]["value"], above, "{rows}");
            assert_eq!(rows[0]["met"], met, "{rows}");
            assert_eq!(rows[1]["value"], 0.0, "{rows}");
        }
    }
}
