//! What a person sees meanwhile: bars on a terminal, plain lines elsewhere.
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);
const BAR: &str = "{prefix:.bold} [{bar:28}] {decimal_bytes}/{decimal_total_bytes} {wide_msg:.dim}";
const SPINNER: &str = "{spinner} {prefix:.bold} {wide_msg:.dim}";

/// Where progress goes. Everything is written to standard error.
#[derive(Debug, Clone)]
pub struct Progress(Kind, Shown);

/// What texts pass before they are shown.
type Shown = fn(&str) -> String;

#[derive(Debug, Clone)]
enum Kind {
    Bars(MultiProgress),
    Lines,
    Nothing,
}

impl Progress {
    /// Bars if standard error is a terminal, else plain lines.
    pub fn automatic() -> Self {
        if std::io::stderr().is_terminal() {
            Self(Kind::Bars(MultiProgress::new()), str::to_owned)
        } else {
            Self::plain()
        }
    }

    /// A line when something begins and when it ends.
    pub fn plain() -> Self {
        Self(Kind::Lines, str::to_owned)
    }

    /// Nothing at all.
    pub fn silent() -> Self {
        Self(Kind::Nothing, str::to_owned)
    }

    /// The same, with texts as `shown` gives them: names from a registry or a peer may hold what a terminal acts on.
    #[must_use]
    pub fn showing(self, shown: Shown) -> Self {
        Self(self.0, shown)
    }

    /// One line, above any bars.
    pub fn say(&self, line: &str) {
        let line = (self.1)(line);
        match &self.0 {
            // Losing a line of progress is no reason to fail.
            Kind::Bars(bars) => drop(bars.println(&line)),
            Kind::Lines => note(&line),
            Kind::Nothing => {}
        }
    }

    /// Begins something of a known size in bytes.
    pub fn bar(&self, label: &str, total: u64) -> Task {
        self.begin(label, || ProgressBar::new(total), BAR)
    }

    /// Begins something of unknown length.
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

/// A line on standard error, which may be closed.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Something that is under way. Its bar disappears when this is dropped.
#[derive(Debug)]
pub struct Task {
    bar: Option<ProgressBar>,
    label: String,
    progress: Progress,
}

impl Task {
    /// How much is done, in the unit of the total.
    pub fn at(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    /// What is being done just now; shown on terminals only.
    pub fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message((self.progress.1)(text));
        }
    }

    /// Ends it with a line that stays.
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
