//! Decides what happens to a text, by rules: regular expressions in a file of the release.
//!
//! ```json
//! {
//!   "rules": [
//!     {"pattern": "(?i)recall", "then": "alert", "severity": "warning", "reason": "a recalled label"},
//!     {"pattern": "SN-[0-9]{6}", "then": "accept"}
//!   ],
//!   "otherwise": {"then": "reject", "reason": "no serial number was read"}
//! }
//! ```
//! Patterns are searched in all lines joined by line ends. Every alert that matches is raised; the first accept or reject that matches
//! decides, and `otherwise` (accept, if it is missing) where none does.

use regex_lite::Regex;
use serde::Deserialize;

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be looked at.
    Warning,
    /// To be looked at now.
    Critical,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "then", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Consequence {
    /// Let the insight leave the device.
    Accept,
    /// Keep it, for this reason.
    Reject {
        /// One sentence for a person.
        reason: String,
    },
    /// Raise an alert, and go on with the next rule.
    Alert {
        /// How urgent.
        severity: Severity,
        /// One sentence for a person.
        reason: String,
    },
}

/// The rules of a file.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<(Regex, Consequence)>,
    otherwise: Consequence,
}

/// What the rules say about a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Alerts to raise, in the order of the rules.
    pub alerts: Vec<(Severity, String)>,
    /// Why the insight stays on the device, if it does.
    pub rejected: Option<String>,
}

/// A rules file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// It is not JSON, or not of the right form.
    #[error("the rules are not of the form that is expected")]
    Form(#[from] serde_json::Error),
    /// A pattern is not a regular expression.
    #[error("rule {number} has a pattern that is not a regular expression: {pattern}")]
    Pattern {
        /// Counted from 1.
        number: usize,
        /// As written.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: regex_lite::Error,
    },
    /// `otherwise` alerts, which decides nothing.
    #[error("`otherwise` must accept or reject")]
    Undecided,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rules: Vec<FileRule>,
    otherwise: Option<Consequence>,
}

#[derive(Deserialize)]
struct FileRule {
    pattern: String,
    #[serde(flatten)]
    consequence: Consequence,
}

impl Rules {
    /// Reads a rules file (JSON).
    pub fn parse(file: &[u8]) -> Result<Self, RulesError> {
        let file: File = serde_json::from_slice(file)?;
        let otherwise = file.otherwise.unwrap_or(Consequence::Accept);
        if matches!(otherwise, Consequence::Alert { .. }) {
            return Err(RulesError::Undecided);
        }
        let mut rules = Vec::with_capacity(file.rules.len());
        for (at, rule) in file.rules.into_iter().enumerate() {
            match Regex::new(&rule.pattern) {
                Ok(pattern) => rules.push((pattern, rule.consequence)),
                Err(source) => {
                    return Err(RulesError::Pattern {
                        number: at + 1,
                        pattern: rule.pattern,
                        source,
                    });
                }
            }
        }
        Ok(Self { rules, otherwise })
    }

    /// Judges a text.
    pub fn judge(&self, text: &str) -> Verdict {
        let mut alerts = Vec::new();
        let matching = self
            .rules
            .iter()
            .filter(|(pattern, _)| pattern.is_match(text))
            .map(|(_, consequence)| consequence);
        for consequence in matching.chain([&self.otherwise]) {
            match consequence {
                Consequence::Alert { severity, reason } => alerts.push((*severity, reason.clone())),
                Consequence::Accept => break,
                Consequence::Reject { reason } => {
                    return Verdict {
                        alerts,
                        rejected: Some(reason.clone()),
                    };
                }
            }
        }
        Verdict {
            alerts,
            rejected: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests"
    )]
    use super::*;

    const FILE: &str = r#"{
        "rules": [
            {"pattern": "(?i)recall", "then": "alert", "severity": "warning", "reason": "recalled"},
            {"pattern": "SN-[0-9]{3}", "then": "accept"},
            {"pattern": "void", "then": "reject", "reason": "void label"}
        ],
        "otherwise": {"then": "reject", "reason": "no serial number"}
    }"#;

    #[test]
    fn the_first_decision_counts_and_alerts_before_it_are_raised() {
        let rules = Rules::parse(FILE.as_bytes()).unwrap();
        let verdict = rules.judge("RECALL\nSN-123 void");
        assert_eq!(
            verdict,
            Verdict {
                alerts: vec![(Severity::Warning, "recalled".into())],
                rejected: None
            }
        );
        assert_eq!(rules.judge("void").rejected.as_deref(), Some("void label"));
        assert_eq!(
            rules.judge("").rejected.as_deref(),
            Some("no serial number")
        );
    }

    #[test]
    fn the_shipped_rules_publish_letters_of_any_script_and_nothing_less() {
        let rules = Rules::parse(include_bytes!("../rules.json")).unwrap();
        for text in ["Region-based", "7", "\u{56fd}"] {
            assert_eq!(rules.judge(text).rejected, None, "{text}");
        }
        assert!(rules.judge("-- .").rejected.is_some());
        assert!(rules.judge("Confidential 7").rejected.is_some());
        assert_eq!(rules.judge("DANGER 7").alerts.len(), 1);
    }

    #[test]
    fn mistakes_in_the_file_are_errors() {
        assert!(matches!(Rules::parse(b"{"), Err(RulesError::Form(_))));
        assert!(matches!(
            Rules::parse(br#"{"rules": [], "otherwize": {"then": "accept"}}"#),
            Err(RulesError::Form(_))
        ));
        let bad = Rules::parse(br#"{"rules": [{"pattern": "(", "then": "accept"}]}"#).unwrap_err();
        assert!(bad.to_string().contains("rule 1"), "{bad}");
        let alert =
            br#"{"rules": [], "otherwise": {"then": "alert", "severity": "info", "reason": "x"}}"#;
        assert!(matches!(Rules::parse(alert), Err(RulesError::Undecided)));
    }
}
