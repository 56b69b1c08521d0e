//! Shows a rollout: bars on a terminal, one line per phase elsewhere, JSON on request.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use hotshoe_protocol::status::{DeployEvent, WaitReason};
use hotshoe_store::Phase;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::rollout::{Change, DeviceProgress, Outcome};
use hotshoe_release::terminal::{Terminal, size};

/// The length of a bar, in steps.
const STEPS: u64 = 100;
/// The step at which fetching ends; it takes the longest.
const FETCHED: u64 = 60;
const TICK: Duration = Duration::from_millis(200);
const BAR: &str = "{prefix:.bold} [{bar:24}] {wide_msg}";

/// A device's event, as a line of JSON.
#[derive(Serialize)]
struct EventLine<'a> {
    #[serde(flatten)]
    event: &'a DeployEvent,
    /// Whether the event is not signed by its device.
    claimed: bool,
}

/// Shows the progress of devices while it changes.
pub(crate) struct Display<'t> {
    terminal: &'t Terminal,
    bars: Option<MultiProgress>,
    devices: BTreeMap<String, ProgressBar>,
}

impl<'t> Display<'t> {
    /// Shows bars if standard error is a terminal and JSON is off.
    pub(crate) fn new(terminal: &'t Terminal) -> Self {
        let bars = !terminal.json && io::stderr().is_terminal();
        Self {
            terminal,
            bars: bars.then(MultiProgress::new),
            devices: BTreeMap::new(),
        }
    }

    /// Shows what changed on one device.
    pub(crate) fn show(
        &mut self,
        device: &str,
        progress: &DeviceProgress,
        change: Change,
    ) -> anyhow::Result<()> {
        if change == Change::None {
            return Ok(());
        }
        if self.terminal.json {
            return match &progress.last {
                Some(event) => self.terminal.json_line(&EventLine {
                    event,
                    claimed: !progress.signed,
                }),
                None => Ok(()),
            };
        }
        let Some(bars) = &self.bars else {
            let says =
                progress.last.is_some() || !progress.ignored.is_empty() || progress.claim.is_some();
            if change == Change::Phase && says {
                self.terminal
                    .print(format!("{device}  {}", words(progress)))?;
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
        bar.set_position(position(progress));
        let words = words(progress);
        match progress.outcome {
            None => bar.set_message(words),
            Some(outcome) => {
                bar.finish_with_message(self.terminal.ending(outcome.is_good(), &words))
            }
        }
        Ok(())
    }

    /// Prints a remark above any bars.
    pub(crate) fn say(&self, line: &str) {
        match &self.bars {
            // A lost remark is not an error.
            Some(bars) => drop(bars.println(line)),
            None => self.terminal.note(line),
        }
    }
}

impl Drop for Display<'_> {
    fn drop(&mut self) {
        // The summary repeats their messages.
        for bar in self.devices.values() {
            bar.finish_and_clear();
        }
    }
}

/// The position of a device on its bar, in steps.
fn position(progress: &DeviceProgress) -> u64 {
    if progress.outcome.is_some_and(Outcome::is_good) {
        return STEPS;
    }
    let part = |from: u64, to: u64, done: u64, of: u64| {
        let span = u128::from(to - from);
        let done = u128::from(done.min(of)) * span / u128::from(of.max(1));
        from + u64::try_from(done).unwrap_or(0)
    };
    match progress.phase() {
        Phase::Absent => 0,
        Phase::Fetching | Phase::Verified => {
            let (fetched, total) = progress.bytes();
            part(0, FETCHED, fetched, total)
        }
        Phase::Staged => 65,
        Phase::SelfTested => 75,
        Phase::Shadow => 80,
        Phase::Trial => {
            let (samples, wanted) = progress.samples.unwrap_or((0, 1));
            part(85, STEPS - 1, samples, wanted)
        }
        Phase::Live | Phase::Refused | Phase::Failed | Phase::RolledBack => STEPS,
    }
}

/// The progress of a device as text.
pub(crate) fn words(progress: &DeviceProgress) -> String {
    if let Some(claim) = progress.claim {
        return format!("claims {}, not verified: {}", claim.phase, claim.why);
    }
    let mut words = match progress.outcome {
        Some(outcome) => match advice(progress) {
            Some(advice) => format!("{}: {advice}", outcome.as_str()),
            None => outcome.as_str().to_owned(),
        },
        None => match (progress.phase(), progress.bytes(), progress.samples) {
            (Phase::Fetching, (fetched, total), _) if total > 0 => {
                format!("fetching {} of {}", size(fetched), size(total))
            }
            (Phase::Trial, _, Some((0, wanted))) if wanted > 0 => {
                format!("trial: waits for samples: 0 of {wanted}")
            }
            (Phase::Trial, _, Some((samples, wanted))) if wanted > 0 => {
                format!("trial: {} of {wanted} samples", samples.min(wanted))
            }
            (Phase::Absent, ..) if !progress.ignored.is_empty() => {
                format!(
                    "seen; it ignored statements: {}{}",
                    progress.ignored.join(", "),
                    clock_advice(progress)
                )
            }
            (Phase::Absent, ..) => "seen".to_owned(),
            (phase, ..) => phase.to_string(),
        },
    };
    if progress.outcome.is_some() && !progress.signed {
        words.push_str(" (claimed)");
    }
    match progress.waiting {
        None => {}
        Some(WaitReason::Activation) => words.push_str(", waits for `hotshoe activate`"),
        Some(WaitReason::Window) => words.push_str(", waits for its maintenance window"),
        Some(WaitReason::Probation) => {
            words.push_str(", waits for the probation of another release")
        }
        Some(WaitReason::Retry) => words.push_str(", will try again"),
    }
    if let Some(cause) = progress.cause() {
        words.push_str(&format!(": {}: {}", cause.name, cause.message));
    }
    words
}

/// Least difference between the clocks of this machine and a device that is shown, in seconds.
const CLOCK_DIFFERENCE_S: u64 = 3;

/// The difference of the clocks, if the device ignored the statement because of its time.
fn clock_advice(progress: &DeviceProgress) -> String {
    let is_about = |names: &[&str]| {
        progress
            .ignored
            .iter()
            .any(|it| names.contains(&it.as_str()))
    };
    let by_time = [
        "statement_from_future",
        "statement_expired",
        "clock_backwards",
    ];
    let ahead = progress.clock_ahead_s.unwrap_or_default();
    if (is_about(&by_time) || is_about(&["replayed"])) && ahead.unsigned_abs() >= CLOCK_DIFFERENCE_S
    {
        let side = if ahead < 0 { "behind" } else { "ahead of" };
        return format!(
            "; the device's clock is {} s {side} this machine's: set the wrong one",
            ahead.unsigned_abs()
        );
    }
    if is_about(&["replayed"]) {
        return "; it follows a newer statement of another deployer: publish again, and compare your clocks if that does not help"
            .to_owned();
    }
    String::new()
}

/// What to do if the device ignored the statement because of its signature.
fn advice(progress: &DeviceProgress) -> Option<&'static str> {
    progress.ignored.iter().find_map(|name| match name.as_str() {
        "unsigned_statement" => Some(
            "this device accepts only signed statements; publish with `--key KEY`",
        ),
        "unknown_signer" => Some(
            "this device's trust.toml does not have the key that signed the statement; publish with the `--key` of one that it has",
        ),
        "signer_not_allowed" => Some(
            "this device's trust.toml does not allow the statement's key to sign this release; publish with the `--key` of one that it allows",
        ),
        _ => None,
    })
}
