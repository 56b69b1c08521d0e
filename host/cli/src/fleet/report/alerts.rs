//! The alerts of a device that last, as text.

use hotshoe_protocol::alert::{AlertSeverity, AlertStatus};
use hotshoe_protocol::status::Status;
use hotshoe_release::terminal::Terminal;

/// Prints the part of the status about alerts, if there are some.
pub(super) fn show(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let mut label = "alerts";
    for alert in &status.alerts {
        let line = format!("{label:<10}{}", line(alert));
        label = "";
        terminal.print(if is_loud(alert) {
            terminal.warning(&line)
        } else {
            line
        })?;
    }
    Ok(())
}

/// Whether an operator must look.
pub(crate) fn is_loud(alert: &AlertStatus) -> bool {
    alert.severity > AlertSeverity::Info && alert.silenced_until.is_none()
}

/// `critical heat of device: the hottest ..., since 2026-11-30T10:00:00Z, 3 times`
pub(crate) fn line(alert: &AlertStatus) -> String {
    let (severity, kind) = (alert.severity.name(), alert.kind.name());
    let AlertStatus {
        subject,
        text,
        since,
        ..
    } = alert;
    let times = match alert.count {
        0 | 1 => String::new(),
        count => format!(", {count} times"),
    };
    let silenced = alert
        .silenced_until
        .map_or_else(String::new, |until| format!(", silenced until {until}"));
    format!("{severity} {kind} of {subject}: {text}, since {since}{times}{silenced}")
}

#[cfg(test)]
mod tests {
    use hotshoe_protocol::alert::AlertKind;
    use hotshoe_trust::Time;

    use super::*;

    #[test]
    fn a_line_says_what_since_when_and_how_often() {
        let mut alert = AlertStatus {
            kind: AlertKind::Heat,
            subject: "device".to_owned(),
            severity: AlertSeverity::Critical,
            text: "it has 96.0 C".to_owned(),
            since: Time::UNIX_EPOCH,
            count: 1,
            silenced_until: None,
        };
        let expected = "critical heat of device: it has 96.0 C, since 1970-01-01T00:00:00Z";
        assert_eq!(line(&alert), expected);
        alert.count = 3;
        alert.silenced_until = Some(Time::UNIX_EPOCH);
        let more = format!("{expected}, 3 times, silenced until 1970-01-01T00:00:00Z");
        assert_eq!(line(&alert), more);
    }
}
