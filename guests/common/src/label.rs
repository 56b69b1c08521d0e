//! Judging text by the rules in the release's data file `rules`.

use std::sync::OnceLock;

use hotshoe_sdk::data;
use hotshoe_sdk::prelude::*;
use label_reader::rules;

/// The lines of an insight, which must be text.
pub fn lines(insight: Insight) -> Result<Vec<TextLine>> {
    match insight {
        Insight::Text(lines) => Ok(lines),
        _ => Err(Error::unsupported(
            "this policy judges text, and the insight is of another kind",
        )),
    }
}

/// What the rules say about these lines.
pub fn judge(lines: &[TextLine]) -> Result<Vec<Action>> {
    let lines: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let verdict = rules()?.judge(&lines.join("\n"));
    let alerts = verdict.alerts.into_iter().map(|(urgency, message)| {
        Action::Alert(Alert {
            severity: severity(urgency),
            message,
        })
    });
    let decision = verdict.rejected.map_or(Action::Publish, Action::Drop);
    Ok(alerts.chain([decision]).collect())
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
