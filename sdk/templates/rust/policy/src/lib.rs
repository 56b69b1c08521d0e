//! {{name}}: applies rules from a data file of the release: new rules need no new component.

mod rules;

use hotshoe_sdk::data;
use hotshoe_sdk::prelude::*;
use rules::{Deed, Rule};

struct Component;

impl Policy for Component {
    fn decide(insight: Insight, _device: DeviceContext) -> Result<Vec<Action>> {
        let found: Vec<(String, f32)> = match insight {
            Insight::Detections(found) => {
                found.into_iter().map(|it| (it.label, it.score)).collect()
            }
            Insight::Classes(found) => found.into_iter().map(|it| (it.label, it.score)).collect(),
            _ => {
                return Err(Error::unsupported(
                    "the rules are about detections and classes, and this insight is neither",
                ));
            }
        };
        let text = String::from_utf8(data::read("rules")?)
            .map_err(|_| Error::internal("rules is not UTF-8 text"))?;
        let rules = rules::parse(&text).map_err(Error::internal)?;
        Ok(rules
            .into_iter()
            .filter_map(|rule| action(rule, &found))
            .collect())
    }
}

/// The action of a rule, if it fits any detection or class.
fn action(rule: Rule, found: &[(String, f32)]) -> Option<Action> {
    let fits = |(label, score): &&(String, f32)| rule.fits(label, f64::from(*score));
    let count = found.iter().filter(fits).count();
    if count == 0 {
        return None;
    }
    let message = rule.message.replace("{count}", &count.to_string());
    let alert = |severity, message| Action::Alert(Alert { severity, message });
    Some(match rule.deed {
        Deed::Publish => Action::Publish,
        Deed::Drop => Action::Drop(message),
        Deed::Info => alert(Severity::Info, message),
        Deed::Warning => alert(Severity::Warning, message),
        Deed::Critical => alert(Severity::Critical, message),
    })
}

hotshoe_sdk::policy!(Component);
