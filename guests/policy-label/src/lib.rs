//! Decides from the text that was read, by the rules in the release's data file `rules`.

use std::sync::OnceLock;

use hotshoe_sdk::data;
use hotshoe_sdk::prelude::*;
use label_reader::rules;

struct PolicyLabel;

impl Policy for PolicyLabel {
    fn decide(insight: Insight, _: DeviceContext) -> Result<Vec<Action>> {
        let Insight::Text(lines) = insight else {
            return Err(Error::unsupported(
                "this policy judges text, and the insight is of another kind",
            ));
        };
        let rules = rules()?;
        let lines: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        let verdict = rules.judge(&lines.join("\n"));
        let alerts = verdict.alerts.into_iter().map(|(urgency, message)| {
            Action::Alert(Alert {
                severity: severity(urgency),
                message,
            })
        });
        let decision = verdict.rejected.map_or(Action::Publish, Action::Drop);
        Ok(alerts.chain([decision]).collect())
    }
}

/// The rules, parsed at the first sample: a release's data never changes.
fn rules() -> Result<&'static rules::Rules> {
    static RULES: OnceLock<rules::Rules> = OnceLock::new();
    match RULES.get() {
        Some(rules) => Ok(rules),
        None => {
            let parsed = rules::Rules::parse(&data::read("rules")?)?;
            Ok(RULES.get_or_init(|| parsed))
        }
    }
}

fn severity(of: rules::Severity) -> Severity {
    match of {
        rules::Severity::Info => Severity::Info,
        rules::Severity::Warning => Severity::Warning,
        rules::Severity::Critical => Severity::Critical,
    }
}

hotshoe_sdk::policy!(PolicyLabel);
