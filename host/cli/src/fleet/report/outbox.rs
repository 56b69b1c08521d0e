//! What a device still has to deliver, as text.

use hotshoe_protocol::status::{OutboxStatus, OutletState, OutletStatus, Status};
use hotshoe_release::terminal::{Terminal, size};

/// Prints the part of the status about the outbox, if there is one.
pub(super) fn show(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let Some(outbox) = &status.outbox else {
        return Ok(());
    };
    for (place, (line, is_good)) in lines(outbox).into_iter().enumerate() {
        let label = if place == 0 { "outbox" } else { "" };
        let line = format!("{label:<10}{line}");
        terminal.print(if is_good {
            line
        } else {
            terminal.warning(&line)
        })?;
    }
    Ok(())
}

/// What waits, where it goes and what was lost, and whether each is as it should be.
pub(crate) fn lines(outbox: &OutboxStatus) -> Vec<(String, bool)> {
    if let Some(error) = &outbox.error {
        let line = format!(
            "cannot be used, so nothing is durable ({}: {})",
            error.name, error.message
        );
        return vec![(line, false)];
    }
    let mut lines = vec![(waiting(outbox), true), outlet(&outbox.outlet)];
    let lost = outbox.lost.iter();
    lines.extend(lost.map(|(cause, count)| (format!("lost: {cause} {count}"), false)));
    if outbox.rejected > 0 {
        let line = format!("refused: {} for their size or names", outbox.rejected);
        lines.push((line, false));
    }
    lines
}

/// `12 records wait (3.1 kB, the oldest for 40 s), 5 delivered; 65.5 kB of files`
fn waiting(outbox: &OutboxStatus) -> String {
    let oldest = outbox.oldest_seconds.map_or_else(String::new, |seconds| {
        format!(", the oldest for {seconds:.0} s")
    });
    let records = match outbox.records {
        0 => "no records wait".to_owned(),
        1 => format!("1 record waits ({}{oldest})", size(outbox.bytes)),
        count => format!("{count} records wait ({}{oldest})", size(outbox.bytes)),
    };
    let (delivered, files) = (outbox.delivered, size(outbox.disk_bytes));
    format!("{records}, {delivered} delivered; {files} of files")
}

/// What the outlet does, and whether that is as it should be.
fn outlet(outlet: &OutletStatus) -> (String, bool) {
    let name = outlet.name.as_str();
    let to = outlet
        .peer
        .as_ref()
        .map_or_else(String::new, |peer| format!(" to {peer}"));
    match outlet.state {
        OutletState::Off => ("is not delivered: there is no outlet".to_owned(), false),
        OutletState::Waiting => (format!("{name}: no collector is there"), false),
        OutletState::Idle => (format!("{name}: all is delivered{to}"), true),
        OutletState::Delivering => (format!("{name}: delivers{to}"), true),
        OutletState::Failing => {
            let error = outlet.error.as_ref().map_or_else(String::new, |error| {
                format!(": {} ({})", error.message, error.name)
            });
            (
                format!("{name}: the last batch{to} did not arrive{error}"),
                false,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use hotshoe_protocol::status::OutboxError;

    use super::*;

    #[test]
    fn what_waits_and_where_it_goes_is_said() {
        let outbox = OutboxStatus {
            records: 2,
            bytes: 512,
            oldest_seconds: Some(40.4),
            delivered: 5,
            ..OutboxStatus::default()
        };
        let text = waiting(&outbox);
        let start = format!(
            "2 records wait ({}, the oldest for 40 s), 5 delivered; ",
            size(512)
        );
        assert!(text.starts_with(&start), "{text}");
        let failing = OutletStatus {
            name: "mqtt".to_owned(),
            state: OutletState::Failing,
            peer: Some("broker:8883".to_owned()),
            error: Some(OutboxError {
                name: "mqtt_late".to_owned(),
                message: "the broker did not acknowledge in time".to_owned(),
            }),
        };
        let expected = "mqtt: the last batch to broker:8883 did not arrive: the broker did not acknowledge in time (mqtt_late)";
        assert_eq!(outlet(&failing), (expected.to_owned(), false));
    }
}
