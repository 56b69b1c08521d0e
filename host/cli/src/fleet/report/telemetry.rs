//! What goes to a collector of OpenTelemetry, as text.

use hotshoe_protocol::status::{Status, TelemetryStatus};
use hotshoe_release::terminal::Terminal;

/// Prints the part of the status about the collector of OpenTelemetry, if there is one.
pub(super) fn show(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let Some(telemetry) = &status.telemetry else {
        return Ok(());
    };
    terminal.print(format!("telemetry {}", sent(telemetry)))?;
    if let Some(error) = &telemetry.error {
        let line = format!(
            "          the last request failed ({}: {})",
            error.name, error.message
        );
        terminal.print(terminal.warning(&line))?;
    }
    Ok(())
}

fn sent(telemetry: &TelemetryStatus) -> String {
    let dropped: u64 = telemetry.traces_dropped.values().sum();
    format!(
        "{} traces sent, {dropped} dropped; metrics sent {} times",
        telemetry.traces_sent, telemetry.metrics_sent
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_traces_are_of_all_causes() {
        let telemetry = TelemetryStatus {
            traces_sent: 7,
            metrics_sent: 2,
            traces_dropped: [("queue_full", 3), ("refused", 1)]
                .map(|(cause, count)| (cause.to_owned(), count))
                .into(),
            ..TelemetryStatus::default()
        };
        assert_eq!(
            sent(&telemetry),
            "7 traces sent, 4 dropped; metrics sent 2 times"
        );
    }
}
