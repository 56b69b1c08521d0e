//! Progress output: bars on a terminal, plain lines elsewhere.
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// The interval of a spinner.
const TICK: Duration = Duration::from_millis(120);
const BAR: &str = "{prefix:.bold} [{bar:28}] {decimal_bytes}/{decimal_total_bytes} {wide_msg:.dim}";
const SPINNER: &str = "{spinner} {prefix:.bold} {wide_msg:.dim}";

/// Writes progress to standard error.
#[derive(Debug, Clone)]
pub struct Progress(Kind, TextFilter);

/// A filter of texts before they are shown.
type TextFilter = fn(&str) -> String;

#[derive(Debug, Clone)]
enum Kind {
    Bars(MultiProgress),
    Lines,
    Nothing,
}

impl Progress {
    /// Bars if standard error is a terminal, otherwise plain lines.
    pub fn automatic() -> Self {
        if std::io::stderr().is_terminal() {
            Self(Kind::Bars(MultiProgress::new()), str::to_owned)
        } else {
            Self::plain()
        }
    }

    /// A line at the start and the end of each task.
    pub fn plain() -> Self {
        Self(Kind::Lines, str::to_owned)
    }

    /// No output.
    pub fn silent() -> Self {
        Self(Kind::Nothing, str::to_owned)
    }

    /// Filters all texts with `filter`, because names from a registry or a peer may contain control characters.
    #[must_use]
    pub fn showing(self, filter: TextFilter) -> Self {
        Self(self.0, filter)
    }

    /// Prints a line, above any bars.
    pub fn say(&self, line: &str) {
        let line = (self.1)(line);
        match &self.0 {
            // A lost line is not an error.
            Kind::Bars(bars) => drop(bars.println(&line)),
            Kind::Lines => note(&line),
            Kind::Nothing => {}
        }
    }

    /// Starts a task of a known size in bytes.
    pub fn bar(&self, label: &str, total: u64) -> Task {
        self.begin(label, || ProgressBar::new(total), BAR)
    }

    /// Starts a task of unknown length.
    pub fn spinner(&self, label: &str) -> Task {
        self.begin(label, ProgressBar::new_spinner, SPINNER)
    }

    fn begin(&self, label: &str, make: impl FnOnce() -> ProgressBar, template: &str) -> Task {
        let label = (self.1)(label);
        let bar = match &self.0 {
            Kind::Bars(bars) => {
                let bar = bars.add(make()).with_prefix(label.clone());
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(TICK);
                Some(bar)
            }
            Kind::Lines => {
                note(&format!("{label} ..."));
                None
            }
            Kind::Nothing => None,
        };
        Task {
            bar,
            label,
            progress: self.clone(),
        }
    }
}

/// Prints a line to standard error, which may be closed.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A running task. Its bar disappears when this is dropped.
#[derive(Debug)]
pub struct Task {
    bar: Option<ProgressBar>,
    label: String,
    progress: Progress,
}

impl Task {
    /// Sets the position, in the unit of the total.
    pub fn at(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    /// Shows the current step, on terminals only.
    pub fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message((self.progress.1)(text));
        }
    }

    /// Ends the task with a permanent line.
    pub fn done(self, result: &str) {
        self.clear();
        self.progress.say(&format!("{}: {result}", self.label));
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.clear();
    }
}
