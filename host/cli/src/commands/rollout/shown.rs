//! What is shown of a rollout.

use std::process::ExitCode;

use hotshoe_release::terminal::Terminal;
use hotshoe_rollout::{ArmSummary, Comparison, Fleet, Rollout, StageSummary, State, Summary};
use hotshoe_store::Cause;
use hotshoe_trust::Time;
use serde::Serialize;

use super::session::FleetArgs;

/// Characters of a bar.
const BAR: u64 = 20;
/// The note if no signature of a count was checked.
const CLAIMED: &str =
    "claimed: the signatures of the counts were not checked; give --registry-keys";

/// Show a rollout
///
/// Asks the registries for the plan, the statements and the counts, and shows the devices by stage and state, the causes of failures, and
/// what follows.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe rollout status ocr --site-dir lab
  hotshoe rollout status ocr --site-dir lab --json | jq .causes

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(super) struct StatusArgs {
    /// The name of the release
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// List the rollouts that the registries know
///
/// The last one of each release name, and up to 64 whose place others took: their numbers, their stages, and how they ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe rollout history --site-dir lab

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    fleet: FleetArgs,
}

/// What is printed of a rollout.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct View(Summary);

impl View {
    /// A rollout by what is known at `now`.
    pub(super) fn of(rollout: &Rollout, fleet: &Fleet, now: Time) -> Self {
        Self(Summary::of(rollout, fleet, now))
    }

    /// The rollout in one line.
    pub(super) fn line(&self) -> String {
        let of_stage = self.0.stages.iter().find(|it| it.stage == self.0.stage);
        let (devices, confirmed) =
            of_stage.map_or((0, 0), |it| (it.devices, count(it, State::Confirmed)));
        let cause = self.0.cause.as_ref();
        let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
        format!(
            "{} generation {}: stage {} of {}, {}{cause}; {confirmed} of {devices} devices confirmed it",
            self.0.name, self.0.generation, self.0.stage, self.0.last_stage, self.0.state
        )
    }

    /// Prints it all.
    pub(super) fn print(&self, are_claimed: bool, terminal: &Terminal) -> anyhow::Result<()> {
        if terminal.json {
            return terminal.json_line(self);
        }
        let line = self.line();
        terminal.print(match self.0.state {
            "running" | "done" => terminal.bold(&line),
            _ => terminal.bad(&line),
        })?;
        let rows = self.0.stages.iter().map(|it| {
            let share = match it.stage {
                0 => "first".to_owned(),
                _ => format!("{} %", f64::from(it.share_ppm) / 10_000.0),
            };
            let others = it.states.iter().filter(|(state, _)| **state != "confirmed");
            let others = others.map(|(state, count)| format!("{count} {state}"));
            vec![
                it.stage.to_string(),
                share,
                bar(count(it, State::Confirmed), it.devices),
                format!("{} of {}", count(it, State::Confirmed), it.devices),
                others.collect::<Vec<_>>().join(", "),
            ]
        });
        let head = ["stage", "share", "", "confirmed", "others"];
        terminal.print(terminal.table(&head, rows))?;
        for (cause, devices) in &self.0.causes {
            terminal.print(format!("{devices} devices: {cause}"))?;
        }
        if let Some(comparison) = &self.0.comparison {
            terminal.print(compared(comparison))?;
        }
        if let Some(left_s) = self.0.left_s {
            terminal.print(format!("the stage ends in {left_s} s at the latest"))?;
        }
        if are_claimed {
            terminal.note(CLAIMED);
        }
        Ok(())
    }
}

/// A comparison in one line.
fn compared(comparison: &Comparison) -> String {
    let arm = |arm: &ArmSummary| {
        let mean = arm
            .mean
            .map_or_else(|| "no mean".to_owned(), |it| format!("{it:.4}"));
        format!("{mean} on {} devices", arm.devices)
    };
    let (new, kept) = (arm(&comparison.new), arm(&comparison.kept));
    let verdict = match (comparison.verdict, comparison.needed) {
        ("not-known", Some(needed)) => {
            let samples = comparison.samples;
            format!(
                "not known yet; this difference needs {needed} more devices of each arm, {samples} samples each"
            )
        }
        ("not-known", None) => "not known yet".to_owned(),
        (verdict, _) => verdict.to_owned(),
    };
    let metric = &comparison.metric;
    format!("{metric}: {new}, {kept} with the previous release: {verdict}")
}

fn count(stage: &StageSummary, state: State) -> u64 {
    stage.states.get(state.as_str()).copied().unwrap_or(0)
}

fn bar(part: u64, whole: u64) -> String {
    let full = part.saturating_mul(BAR).checked_div(whole).unwrap_or(0);
    let full = usize::try_from(full.min(BAR)).unwrap_or(0);
    let rest = usize::try_from(BAR).unwrap_or(0).saturating_sub(full);
    format!("[{}{}]", "=".repeat(full), " ".repeat(rest))
}

pub(super) fn status(args: &StatusArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let session = args.fleet.open()?;
    let rollout = session.rollout(&args.name)?;
    let mut fleet = Fleet::default();
    for said in session.counts()? {
        session.take_count(&rollout, &mut fleet, said);
    }
    let are_claimed = session.are_claimed();
    session.client.close();
    View::of(&rollout, &fleet, Time::now()).print(are_claimed, terminal)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn history(args: &HistoryArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let session = args.fleet.open()?;
    let rollouts = session.all()?;
    let counts = session.counts()?;
    let past = session.past()?;
    let past = past
        .iter()
        .map(|it| View(Summary::superseded(it, Time::now())));
    let mut views: Vec<View> = past.collect();
    for rollout in rollouts.iter() {
        let mut fleet = Fleet::default();
        for said in counts.clone() {
            session.take_count(rollout, &mut fleet, said);
        }
        views.push(View::of(rollout, &fleet, Time::now()));
    }
    session.client.close();
    if terminal.json {
        terminal.json(&views)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = views.iter().map(|View(it)| {
        vec![
            it.name.clone(),
            it.number.to_string(),
            it.generation.to_string(),
            it.issued.to_string(),
            format!("{} of {}", it.stage, it.last_stage),
            it.state.to_owned(),
            it.cause.as_ref().map_or_else(String::new, Cause::to_string),
        ]
    });
    let head = [
        "release",
        "number",
        "generation",
        "issued",
        "stage",
        "state",
        "cause",
    ];
    terminal.print(terminal.table(&head, rows))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_says_what_is_missing() {
        let arm = |devices, mean| ArmSummary { devices, mean };
        let mut comparison = Comparison {
            metric: "mean(lines.*.score)".to_owned(),
            samples: 100,
            new: arm(10, Some(0.9)),
            kept: arm(9, Some(0.6)),
            verdict: "not-known",
            needed: Some(51),
        };
        assert_eq!(
            compared(&comparison),
            "mean(lines.*.score): 0.9000 on 10 devices, 0.6000 on 9 devices with the previous release: not known yet; this \
             difference needs 51 more devices of each arm, 100 samples each"
        );
        (comparison.verdict, comparison.needed) = ("worse", None);
        assert!(compared(&comparison).ends_with(": worse"));
        comparison.new = arm(0, None);
        assert!(compared(&comparison).contains("no mean on 0 devices"));
    }

    #[test]
    fn a_bar_is_as_full_as_its_part() {
        assert_eq!(bar(0, 0), format!("[{}]", " ".repeat(20)));
        assert_eq!(bar(1, 2), format!("[{}{}]", "=".repeat(10), " ".repeat(10)));
        assert_eq!(bar(7, 7), format!("[{}]", "=".repeat(20)));
    }
}
