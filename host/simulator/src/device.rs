//! One simulated device: its ledger, and how long its steps take. What it does is judged by `rollout`, and its ledger changes by the
//! transitions of `store`.

use hotshoe_rollout::{
    Control, Health, Observed, Placement, Report, Reporting, SignedPlan, Situation, Wanted, judge,
    progress, project,
};
use hotshoe_store::{Cause, Ledger, Phase, Slot, Transition};
use hotshoe_trust::{Device, Release, Time, Verified};

use crate::random::Random;

/// How long a device fetches, in milliseconds.
const FETCH_MS: (u64, u64) = (5_000, 60_000);
/// How long it loads and tests the release, in milliseconds.
const PROVE_MS: (u64, u64) = (1_000, 20_000);
/// How long its trial takes, in milliseconds.
const TRIAL_MS: (u64, u64) = (30_000, 120_000);
/// How long it takes to swap releases, in milliseconds.
const SWAP_MS: (u64, u64) = (50, 500);
/// Samples that a release has served when it is confirmed.
const SAMPLES: u64 = 100;
/// Most times that a device may die while it loads or tests a release, as in the daemon.
const MAX_PROOFS: u32 = 3;
/// Of 1,000 power cuts at the end of a step, those after its record was durable.
const DURABLE_PERMILLE: u64 = 500;

/// A device.
#[derive(Debug)]
pub(crate) struct SimulatedDevice {
    pub identity: Device,
    pub class: String,
    pub placement: Placement,
    pub ledger: Ledger,
    /// The phase of its work that the ledger does not have.
    pub working: Option<Phase>,
    /// Why it does not take the release, where the ledger does not have that.
    pub refused: bool,
    /// When it is off, in milliseconds.
    pub off_ms: Option<(u64, u64)>,
    /// By how much its clock is ahead, in seconds.
    pub clock_ahead_s: i64,
    pub is_bad: bool,
    /// Whether it ever began.
    pub is_touched: bool,
    /// When it went back, in milliseconds of the simulation.
    pub went_back_ms: Option<u64>,
    /// What its registry has verified, as far as the device has heard.
    pub control: Control,
    pub reporting: Reporting,
    /// When its present step ends, in milliseconds.
    pub step_ends_ms: Option<u64>,
    /// When it is awake next. Earlier events for it are of no use.
    pub wakes_ms: u64,
    /// Times that its power was cut within an update.
    pub cuts: u64,
    /// The version of its trusted keys.
    pub trust_version: u64,
}

/// The rollout and the time of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment<'w> {
    pub plan: &'w SignedPlan,
    /// The release of the plan.
    pub release: &'w Verified<Release>,
    pub now: Time,
    pub now_ms: u64,
    /// Power cuts at the end of a step, in thousandths.
    pub cut_permille: u64,
}

/// What a device does next.
pub(crate) struct Next {
    /// A report for its registry.
    pub report: Option<Report>,
    /// When it looks again at the latest, in milliseconds.
    pub wakes_ms: u64,
    /// Whether it is awake then for more than a report.
    pub is_busy: bool,
}

impl SimulatedDevice {
    pub(crate) fn is_off(&self, now_ms: u64) -> bool {
        let off_ms = self.off_ms;
        off_ms.is_some_and(|(from, until)| (from..until).contains(&now_ms))
    }

    /// Its clock, when it is `now`.
    pub(crate) fn clock(&self, now: Time) -> Time {
        let seconds = now.as_second().saturating_add(self.clock_ahead_s);
        Time::from_second(seconds).unwrap_or(now)
    }

    /// The phase of the plan's release on it, with the stable name of the cause.
    pub(crate) fn progress(&self, plan: &SignedPlan) -> (Phase, &str) {
        let known = progress(plan, &self.ledger, self.working);
        let otherwise = match self.refused {
            true => Phase::Refused,
            false => Phase::Absent,
        };
        known.unwrap_or((otherwise, ""))
    }

    /// Does what is due.
    pub(crate) fn work(&mut self, at: &Moment<'_>, random: &mut Random) -> Next {
        let Moment {
            plan, now, now_ms, ..
        } = *at;
        if self.step_ends_ms.is_some_and(|ends| ends <= now_ms) {
            self.end_step(at, random);
        }
        let situation = Situation {
            phase: self.progress(plan).0,
            deferral: None,
            has_previous: self.has_previous(plan),
            now,
        };
        let mut later_ms = now_ms.saturating_add(300_000);
        let mut is_busy = false;
        match judge(plan, &self.control, &self.placement, &situation) {
            Wanted::Begin => {
                self.is_touched = true;
                self.working = Some(Phase::Fetching);
                self.begin_step(at, random);
            }
            Wanted::Cancel => self.cancel(now),
            Wanted::GoBack => {
                let (least, most) = SWAP_MS;
                self.went_back_ms = Some(now_ms.saturating_add(random.between(least, most)));
                let cause = Cause::new("rollout_reversed", "by the rollout");
                self.apply(&Transition::GoBack(cause), now);
            }
            Wanted::Wait { until: Some(until) } => {
                let seconds = until.as_second().saturating_sub(now.as_second());
                let wait_ms = u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
                // A time has whole seconds.
                later_ms = later_ms.min(now_ms.saturating_add(wait_ms.max(1_000)));
                is_busy = true;
            }
            _ => {}
        }
        let (phase, cause) = self.progress(plan);
        let (state, cause) = (project(phase, None), cause.to_owned());
        let health = health(phase);
        let report = self.reporting.due(plan, state, &cause, now, || Observed {
            health,
            ..Observed::of(state, &cause)
        });
        let ends = self.step_ends_ms.unwrap_or(u64::MAX);
        Next {
            report,
            wakes_ms: later_ms.min(ends),
            is_busy: is_busy || self.step_ends_ms.is_some(),
        }
    }

    fn has_previous(&self, plan: &SignedPlan) -> bool {
        let previous = self.ledger.previous.as_ref();
        previous.is_some_and(|slot| slot.release == plan.previous)
    }

    /// Records a transition; whether it is allowed.
    pub(crate) fn apply(&mut self, transition: &Transition, now: Time) -> bool {
        match self.ledger.after(transition, now) {
            Ok(ledger) => {
                self.ledger = ledger;
                true
            }
            Err(_) => false,
        }
    }

    fn cancel(&mut self, now: Time) {
        self.working = None;
        self.step_ends_ms = None;
        let cause = Cause::new("rollout_ended", "by the rollout");
        if self.ledger.trial.is_some() {
            self.apply(&Transition::RollBack(cause), now);
        } else if self.ledger.staged.is_some() {
            self.apply(&Transition::Unstage(cause), now);
        }
    }

    /// The daemon starts: it continues from the ledger, as a daemon does.
    pub(crate) fn restart(&mut self, at: &Moment<'_>, random: &mut Random) {
        (self.working, self.step_ends_ms) = (None, None);
        if let Some(trial) = &self.ledger.trial {
            let again = match trial.tries_left {
                0 => Transition::RollBack(Cause::new("died_in_probation", "no try is left")),
                _ => Transition::TryAgain,
            };
            self.apply(&again, at.now);
        }
        if let Some(staged) = self.ledger.staged.clone() {
            if staged.release != at.plan.release {
                self.apply(&Transition::Unstage(superseded()), at.now);
            } else if self.ledger.proofs >= MAX_PROOFS {
                let cause = Cause::new("died_in_proof", "it may be the reason");
                self.apply(&Transition::Fail(staged, Phase::Failed, cause), at.now);
            } else {
                self.working = Some(Phase::Staged);
            }
        }
        self.begin_step(at, random);
    }

    /// Begins the step of the present phase, if it has one.
    fn begin_step(&mut self, at: &Moment<'_>, random: &mut Random) {
        let lasts = match self.progress(at.plan).0 {
            Phase::Fetching => Some(FETCH_MS),
            Phase::Staged => Some(PROVE_MS),
            Phase::SelfTested => Some(SWAP_MS),
            Phase::Trial => Some(TRIAL_MS),
            _ => None,
        };
        if self.working == Some(Phase::Staged) {
            self.apply(&Transition::BeginProof, at.now);
        }
        self.step_ends_ms = lasts.map(|(least, most)| {
            let lasts = random.between(least, most);
            at.now_ms.saturating_add(lasts)
        });
    }

    fn end_step(&mut self, at: &Moment<'_>, random: &mut Random) {
        let is_cut = random.happens(at.cut_permille);
        if !is_cut || random.happens(DURABLE_PERMILLE) {
            self.finish_step(at);
        }
        if is_cut {
            self.cuts += 1;
            self.restart(at, random);
        } else {
            self.begin_step(at, random);
        }
    }

    /// Records what the present step came to.
    fn finish_step(&mut self, at: &Moment<'_>) {
        match self.progress(at.plan).0 {
            Phase::Fetching => {
                let stage = Transition::Stage {
                    slot: slot(at.plan, at.now),
                    issued: at.release.issued,
                    activate: true,
                };
                let is_staged = self.apply(&stage, at.now);
                self.working = is_staged.then_some(Phase::Staged);
                // Its floor or its memory refuses the release.
                self.refused |= !is_staged;
            }
            Phase::Staged => {
                self.apply(&Transition::EndProof, at.now);
                self.working = Some(Phase::SelfTested);
            }
            Phase::SelfTested => {
                let tries = at.release.health.tries;
                self.apply(&Transition::BeginTrial { tries }, at.now);
                self.working = None;
            }
            Phase::Trial if self.is_bad => {
                let cause = Cause::new("trap_rate", "it trapped");
                self.apply(&Transition::RollBack(cause), at.now);
            }
            Phase::Trial => {
                self.apply(&Transition::Confirm, at.now);
            }
            _ => {}
        }
    }

    /// Another plan takes the place of that which it followed. A trial ends before the device turns to it.
    pub(crate) fn follow(&mut self, placement: Placement, now: Time) {
        if self.ledger.trial.is_some() {
            let end = match self.is_bad {
                true => Transition::RollBack(superseded()),
                false => Transition::Confirm,
            };
            self.apply(&end, now);
        }
        if self.ledger.staged.is_some() {
            self.apply(&Transition::Unstage(superseded()), now);
        }
        self.placement = placement;
        self.control = Control::default();
        (self.working, self.step_ends_ms, self.went_back_ms) = (None, None, None);
        (self.refused, self.is_touched, self.is_bad) = (false, false, false);
    }
}

fn superseded() -> Cause {
    Cause::new("superseded", "by another rollout")
}

fn health(phase: Phase) -> Health {
    let samples = match phase {
        Phase::Live => SAMPLES,
        _ => 0,
    };
    Health {
        samples,
        ..Health::default()
    }
}

/// The slot of the plan's release.
pub(crate) fn slot(plan: &SignedPlan, now: Time) -> Slot {
    Slot {
        release: plan.release,
        bundles: plan.bundles.clone(),
        name: plan.name.clone(),
        generation: plan.generation,
        installed: now,
    }
}
