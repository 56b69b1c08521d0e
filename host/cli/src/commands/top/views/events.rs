//! The last events, newest first.

use hotshoe_protocol::event::Severity;
use hotshoe_protocol::status::Status;

use super::super::lines::{Lines, Tone};

pub(super) fn show(status: &Status, lines: &mut Lines) {
    if status.events.is_empty() {
        return lines.text(Tone::Dim, "There are no events since the start.");
    }
    for event in status.events.iter().rev() {
        let (word, tone) = match event.severity {
            Severity::Info => ("", Tone::Plain),
            Severity::Notice => ("", Tone::Bold),
            Severity::Warning => ("warning ", Tone::Warning),
            Severity::Error => ("error ", Tone::Bad),
        };
        lines.text(tone, &format!("{:.0} {word}{event}", event.time));
    }
}
