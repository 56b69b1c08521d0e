//! Decides like `policy-label`, but only from legible lines: those whose score reaches the setting `min-score`. The others
//! go into an alert, and no rule reads them.

use common::label;
use hotshoe_sdk::config;
use hotshoe_sdk::prelude::*;

/// The default of `min-score`.
const MIN_SCORE: f32 = 0.5;

struct PolicyLegible;

impl Policy for PolicyLegible {
    fn decide(insight: Insight, _: DeviceContext) -> Result<Vec<Action>> {
        let min_score = match config::get("min-score") {
            Some(text) => text.parse().map_err(|error| {
                Error::internal(format_args!("the setting min-score `{text}`: {error}"))
            })?,
            None => MIN_SCORE,
        };
        let lines = label::lines(insight)?;
        let all = lines.len();
        let legible: Vec<TextLine> = lines
            .into_iter()
            .filter(|line| line.score >= min_score)
            .collect();
        let mut actions = label::judge(&legible)?;
        let left_out = all - legible.len();
        if left_out > 0 {
            let alert = Alert {
                severity: Severity::Info,
                message: format!(
                    "{left_out} of {all} lines were read with a score below {min_score} and count for nothing"
                ),
            };
            actions.insert(0, Action::Alert(alert));
        }
        Ok(actions)
    }
}

hotshoe_sdk::policy!(PolicyLegible);
