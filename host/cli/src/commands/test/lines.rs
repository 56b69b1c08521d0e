//! Collects the log lines of components for each test.
use std::fmt::{Debug, Write as _};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use hotshoe_release::logging::TARGET;

/// The most lines per test.
const MAX_LINES: usize = 200;

/// The lines since the last [`Self::take`].
#[derive(Debug, Clone, Default)]
pub(super) struct LogLines(Arc<Mutex<Vec<String>>>);

impl LogLines {
    /// Takes the lines.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl<S: Subscriber> Layer<S> for LogLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != TARGET {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let mut lines = self.0.lock();
        if lines.len() < MAX_LINES {
            let level = event.metadata().level();
            lines.push(format!(
                "{level} {}: {}{}",
                line.component, line.message, line.rest
            ));
        } else if lines.len() == MAX_LINES {
            lines.push(format!("... more than {MAX_LINES} lines"));
        }
    }
}

#[derive(Default)]
struct Line {
    component: String,
    message: String,
    rest: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

impl Line {
    fn put(&mut self, field: &Field, value: &str) {
        match field.name() {
            "component" => value.clone_into(&mut self.component),
            "message" => value.clone_into(&mut self.message),
            // Writing to a string cannot fail.
            name => drop(write!(self.rest, " {name}={value}")),
        }
    }
}
