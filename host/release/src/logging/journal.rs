//! Priorities for the journal of systemd, as sd-daemon(3) has them: `<3>` before a line is an error.

use std::{env, fmt, io};

use rustix::fs::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What systemd sets for a service whose output goes to the journal: device and inode of that output.
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// Whether the journal of systemd reads standard error.
pub(super) fn is_reader() -> bool {
    let Ok(stream) = env::var(JOURNAL_STREAM) else {
        return false;
    };
    // Programs that the service starts inherit the variable, although their output may go elsewhere.
    fstat(io::stderr()).is_ok_and(|found| stream == format!("{}:{}", found.st_dev, found.st_ino))
}

/// Writes the priority of a line before it.
pub(super) struct WithPriority<F>(F);

impl<F> WithPriority<F> {
    /// Before the lines of this format.
    pub(super) const fn new(format: F) -> Self {
        Self(format)
    }
}

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The priority of syslog: 3 is an error, 7 is for debugging.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_has_the_priority_of_syslog() {
        let priorities = [
            Level::ERROR,
            Level::WARN,
            Level::INFO,
            Level::DEBUG,
            Level::TRACE,
        ];
        assert_eq!(priorities.map(priority), [3, 4, 6, 7, 7]);
    }
}
