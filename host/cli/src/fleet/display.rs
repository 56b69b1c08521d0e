//! How a deployer sees a release go to its devices: bars on a terminal, a line a phase elsewhere, JSON on request.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use hotshoe_protocol::status::{DeployEvent, WaitReason};
use hotshoe_store::Phase;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::course::{Change, Course, Outcome};
use crate::terminal::{Terminal, size};

/// The length of a bar, in steps: from nothing to confirmed.
const STEPS: u64 = 100;
/// Where fetching ends; it takes the longest.
const FETCHED: u64 = 60;
const TICK: Duration = Duration::from_millis(200);
const BAR: &str = "{prefix:.bold} [{bar:24}] {wide_msg}";

/// What a device said, as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    event: &'a DeployEvent,
    /// Whether anybody may have said it.
    claimed: bool,
}

/// Shows courses as they go on.
pub struct Display<'t> {
    terminal: &'t Terminal,
    bars: Option<MultiProgress>,
    devices: BTreeMap<String, ProgressBar>,
}

impl<'t> Display<'t> {
    /// Bars if standard error is a terminal, and nobody asked for JSON.
    pub fn new(terminal: &'t Terminal) -> Self {
        let bars = !terminal.json && io::stderr().is_terminal();
        Self {
            terminal,
            bars: bars.then(MultiProgress::new),
            devices: BTreeMap::new(),
        }
    }

    /// Shows what changed on one device.
    pub fn show(&mut self, device: &str, course: &Course, change: Change) -> anyhow::Result<()> {
        if change == Change::None {
            return Ok(());
        }
        if self.terminal.json {
            return match &course.last {
                Some(event) => self.terminal.json_line(&Line {
                    event,
                    claimed: !course.signed,
                }),
                None => Ok(()),
            };
        }
        let Some(bars) = &self.bars else {
            let says =
                course.last.is_some() || !course.ignored.is_empty() || course.claim.is_some();
            if change == Change::Phase && says {
                self.terminal
                    .print(format!("{device}  {}", words(course)))?;
            }
            return Ok(());
        };
        let bar = self.devices.entry(device.to_owned()).or_insert_with(|| {
            let bar = bars
                .add(ProgressBar::new(STEPS))
                .with_prefix(device.to_owned());
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.set_position(position(course));
        let words = words(course);
        match course.outcome {
            None => bar.set_message(words),
            Some(outcome) => {
                bar.finish_with_message(self.terminal.ending(outcome.is_good(), &words))
            }
        }
        Ok(())
    }

    /// A remark, above any bars.
    pub fn say(&self, line: &str) {
        match &self.bars {
            // Losing a remark is no reason to fail.
            Some(bars) => drop(bars.println(line)),
            None => self.terminal.note(line),
        }
    }
}

impl Drop for Display<'_> {
    fn drop(&mut self) {
        // What they said is told once more in the summary.
        for bar in self.devices.values() {
            bar.finish_and_clear();
        }
    }
}

/// How far along the bar a device is.
fn position(course: &Course) -> u64 {
    if course.outcome.is_some_and(Outcome::is_good) {
        return STEPS;
    }
    let part = |from: u64, to: u64, done: u64, of: u64| {
        let span = u128::from(to - from);
        let done = u128::from(done.min(of)) * span / u128::from(of.max(1));
        from + u64::try_from(done).unwrap_or(0)
    };
    match course.phase() {
        Phase::Absent => 0,
        Phase::Fetching | Phase::Verified => {
            let (fetched, total) = course.bytes();
            part(0, FETCHED, fetched, total)
        }
        Phase::Staged => 65,
        Phase::SelfTested => 75,
        Phase::Shadow => 80,
        Phase::Trial => {
            let (samples, wanted) = course.samples.unwrap_or((0, 1));
            part(85, STEPS - 1, samples, wanted)
        }
        Phase::Live | Phase::Refused | Phase::Failed | Phase::RolledBack => STEPS,
    }
}

/// How far a device is, in words.
pub fn words(course: &Course) -> String {
    if let Some(claim) = course.claim {
        return format!("claims {}, not verified: {}", claim.phase, claim.why);
    }
    let mut words = match course.outcome {
        Some(outcome) => match way_out(course) {
            Some(way_out) => format!("{}: {way_out}", outcome.as_str()),
            None => outcome.as_str().to_owned(),
        },
        None => match (course.phase(), course.bytes(), course.samples) {
            (Phase::Fetching, (fetched, total), _) if total > 0 => {
                format!("fetching {} of {}", size(fetched), size(total))
            }
            (Phase::Trial, _, Some((0, wanted))) if wanted > 0 => {
                format!("trial: waits for samples: 0 of {wanted}")
            }
            (Phase::Trial, _, Some((samples, wanted))) if wanted > 0 => {
                format!("trial: {} of {wanted} samples", samples.min(wanted))
            }
            (Phase::Absent, ..) if !course.ignored.is_empty() => {
                format!(
                    "seen; it has left statements aside: {}",
                    course.ignored.join(", ")
                )
            }
            (Phase::Absent, ..) => "seen".to_owned(),
            (phase, ..) => phase.to_string(),
        },
    };
    if course.outcome.is_some() && !course.signed {
        words.push_str(" (claimed)");
    }
    match course.waiting {
        None => {}
        Some(WaitReason::Activation) => words.push_str(", waits for `hotshoe activate`"),
        Some(WaitReason::Window) => words.push_str(", waits for its maintenance window"),
        Some(WaitReason::Probation) => words.push_str(", waits for another release's probation"),
        Some(WaitReason::Retry) => words.push_str(", will try again"),
    }
    if let Some(cause) = course.cause() {
        words.push_str(&format!(": {}: {}", cause.name, cause.message));
    }
    words
}

/// What to do where the device left the statement aside for who signed it.
fn way_out(course: &Course) -> Option<&'static str> {
    course.ignored.iter().find_map(|name| match name.as_str() {
        "unsigned_statement" => Some(
            "the statement is not signed, and this device asks for it; publish with `--key KEY`",
        ),
        "unknown_signer" => Some(
            "the statement is signed by a key that this device's trust.toml does not hold; publish with the `--key` of one that it does",
        ),
        "signer_not_allowed" => Some(
            "the statement's key may not sign this release, says this device's trust.toml; publish with the `--key` of one that may",
        ),
        _ => None,
    })
}
