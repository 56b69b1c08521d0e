//! Alerts of a device: conditions that need an operator, each with how serious it is, since when it lasts, and until when it is silenced.

use hotshoe_trust::Time;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Most alerts of a device at once: 64.
pub const MAX_ALERTS: usize = 64;
/// Most silences of a device: 64.
pub const MAX_SILENCES: usize = 64;

/// How serious an alert is, the least serious first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AlertSeverity {
    /// Good to know.
    Info,
    /// An operator should look at it.
    Warning,
    /// The device does not do its work, or soon will not.
    Critical,
}

/// What an alert is about.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AlertKind {
    /// The site, or the other end of the outbox, is not reached.
    Offline,
    /// The hottest thermal zone is too hot.
    Heat,
    /// The batteries run empty.
    Battery,
    /// The storage of the data folder is nearly full.
    Disk,
    /// The clock does not follow a time server.
    Clock,
    /// Too many samples fail.
    ErrorSpike,
    /// Components miss their deadline on too many samples.
    DeadlineMisses,
    /// The samples differ from those that a model was made for.
    Drift,
    /// The release that serves expires soon, or has expired.
    ReleaseExpiry,
    /// A certificate expires soon, or has expired.
    CertificateExpiry,
}

/// An alert that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertStatus {
    /// What it is about. There is at most one alert of a kind and a subject.
    pub kind: AlertKind,
    /// What of the device it is about, such as `site`, `data` or `zenoh.tls.certificate`.
    pub subject: String,
    /// How serious it is.
    pub severity: AlertSeverity,
    /// What was measured last, and the threshold, for people.
    pub text: String,
    /// Since when its cause lasts, by the device's clock.
    pub since: Time,
    /// How often its cause came back before it had been away for `alerts.calm-s`; 1 for the first time.
    pub count: u64,
    /// When its silence ends. `None` if it is not silenced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced_until: Option<Time>,
}

/// What an operator does not want to be told for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// The kind of alert.
    pub kind: AlertKind,
    /// The subject; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it ends, by the device's clock.
    pub until: Time,
}

/// The alerts and silences of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertList {
    /// The alerts that last, the most serious first.
    pub alerts: Vec<AlertStatus>,
    /// The silences that have not ended.
    pub silences: Vec<Silence>,
}

impl AlertSeverity {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl AlertKind {
    /// Its stable name, in snake case.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Silence {
    /// Whether it is about this alert.
    pub fn covers(&self, kind: AlertKind, subject: &str) -> bool {
        self.kind == kind && self.subject.as_deref().is_none_or(|it| it == subject)
    }
}

/// Reads a list of alerts, and leaves out what is not one, as [`crate::event::readable`] does.
///
/// # Errors
/// It is not a list.
pub fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AlertStatus>, D::Error> {
    let values = Vec::<Value>::deserialize(deserializer)?;
    let alerts = values.into_iter().map(serde_json::from_value);
    Ok(alerts.filter_map(Result::ok).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use serde_json::json;
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn a_name_is_the_same_in_json_and_in_a_command() {
        for kind in AlertKind::VARIANTS {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(kind.name().parse::<AlertKind>().unwrap(), *kind);
        }
        for severity in AlertSeverity::VARIANTS {
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.name());
        }
        assert!(AlertSeverity::Info < AlertSeverity::Warning);
        assert!(AlertSeverity::Warning < AlertSeverity::Critical);
    }

    #[test]
    fn a_silence_covers_one_subject_or_all() {
        let mut silence = Silence {
            kind: AlertKind::Drift,
            subject: None,
            until: Time::UNIX_EPOCH,
        };
        assert!(silence.covers(AlertKind::Drift, "scores"));
        assert!(!silence.covers(AlertKind::Heat, "scores"));
        silence.subject = Some("scores".to_owned());
        assert!(silence.covers(AlertKind::Drift, "scores"));
        assert!(!silence.covers(AlertKind::Drift, "brightness"));
    }

    #[test]
    fn an_alert_of_a_newer_version_is_left_out_of_the_list() {
        #[derive(Deserialize)]
        struct List(#[serde(deserialize_with = "readable")] Vec<AlertStatus>);
        let known = json!({
            "kind": "heat", "subject": "device", "severity": "warning", "text": "hot",
            "since": "2026-11-30T00:00:00Z", "count": 1, "unknown": true,
        });
        let mut newer = known.clone();
        newer["kind"] = json!("earthquake");
        let List(found) = serde_json::from_value(json!([newer, known, 7])).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found.first().unwrap().kind, AlertKind::Heat);
    }
}
