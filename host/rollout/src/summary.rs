//! A rollout as it is shown: its stages, its devices by state, and what follows.

use std::collections::BTreeMap;

use hotshoe_store::Cause;
use hotshoe_trust::{Digest, Time};
use serde::Serialize;

use crate::{
    comparison::Comparison,
    control::Directive,
    controller::{Action, End, step},
    fleet::Fleet,
    rollouts::Rollout,
};

/// A stage, with the devices that the rollout has reached by its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageSummary {
    /// Its number.
    pub stage: u32,
    /// Its share of the devices, in millionths; 0 for the first devices.
    pub share_ppm: u32,
    /// Devices that the rollout has reached by its end.
    pub devices: u64,
    /// Devices by state.
    pub states: BTreeMap<&'static str, u64>,
}

/// A rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The name of the release.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// The digest of its manifest.
    pub release: Digest,
    /// The digest of the manifest of the release before it.
    pub previous: Digest,
    /// The digest of the plan.
    pub rollout: Digest,
    /// The number of the rollout.
    pub number: u64,
    /// When the plan was issued.
    pub issued: Time,
    /// When it expires.
    pub expires: Time,
    /// The highest stage that runs or ran.
    pub stage: u32,
    /// The last stage of the plan.
    pub last_stage: u32,
    /// `running`, `done`, `paused`, `aborted`, `reversed` or `superseded`.
    pub state: &'static str,
    /// Why it is paused, aborted or reversed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Seconds until the stage ends in any case; none if it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_s: Option<i64>,
    /// The stages.
    pub stages: Vec<StageSummary>,
    /// Devices by the stable name of the cause.
    pub causes: BTreeMap<String, u64>,
    /// What the comparison by device says so far; none if the plan compares nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

impl Summary {
    /// A rollout by what is known at `now`.
    pub fn of(rollout: &Rollout, fleet: &Fleet, now: Time) -> Self {
        let (plan, control) = (rollout.plan(), rollout.control());
        let (state, cause) = match step(plan, control, fleet, now) {
            Action::End(End::Done) => ("done", None),
            Action::End(End::Paused(cause)) => ("paused", Some(cause)),
            Action::End(End::Aborted(cause)) => ("aborted", Some(cause)),
            Action::End(End::Reversed(cause)) => ("reversed", Some(cause)),
            Action::Wait | Action::State(_) => ("running", None),
        };
        let stage = control.stage();
        let runs = matches!(control.directive(), Directive::Run) && state == "running";
        let began = control.began(plan, stage).as_second();
        let deadline_s = i64::try_from(plan.stage_deadline_s(stage)).unwrap_or(i64::MAX);
        let ends = began.saturating_add(deadline_s);
        let stages = (0_u32..).zip(&plan.stages).map(|(number, it)| {
            let figures = fleet.figures(plan, number, now);
            let states = figures.states().iter();
            StageSummary {
                stage: number,
                share_ppm: it.share_ppm,
                devices: figures.devices(),
                states: states
                    .map(|(state, count)| (state.as_str(), *count))
                    .collect(),
            }
        });
        Self {
            name: plan.name.clone(),
            generation: plan.generation,
            release: plan.release,
            previous: plan.previous,
            rollout: plan.digest(),
            number: plan.rollout,
            issued: plan.issued,
            expires: plan.expires,
            stage,
            last_stage: plan.last_stage(),
            state,
            cause,
            left_s: runs.then(|| ends.saturating_sub(now.as_second()).max(0)),
            stages: stages.collect(),
            causes: fleet.figures(plan, stage, now).causes().clone(),
            comparison: plan.compare.as_ref().map(|it| Comparison::of(it, fleet)),
        }
    }

    /// A rollout whose place another one took.
    pub fn superseded(rollout: &Rollout, now: Time) -> Self {
        let mut view = Self::of(rollout, &Fleet::default(), now);
        if view.state == "running" || view.state == "done" {
            view.state = "superseded";
            view.left_s = None;
        }
        view
    }
}
