//! One simulated device: how long it takes. What it does is judged by `rollout`.

use hotshoe_rollout::{
    Control, Health, Observed, Placement, Report, Reporting, SignedPlan, Situation, Wanted, judge,
    project,
};
use hotshoe_store::Phase;
use hotshoe_trust::{Device, Time};

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

/// A device.
#[derive(Debug)]
pub(crate) struct SimulatedDevice {
    pub identity: Device,
    pub class: String,
    pub placement: Placement,
    pub phase: Phase,
    pub is_off: bool,
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
}

/// What a device does next.
pub(crate) struct Next {
    /// A report for its registry.
    pub report: Option<Report>,
    /// When it looks again at the latest, in milliseconds.
    pub wakes_ms: u64,
}

impl SimulatedDevice {
    /// Does what is due at `now_ms`.
    pub(crate) fn work(
        &mut self,
        plan: &SignedPlan,
        now: Time,
        now_ms: u64,
        cut_permille: u64,
        random: &mut Random,
    ) -> Next {
        if self.step_ends_ms.is_some_and(|ends| ends <= now_ms) {
            self.end_step(now_ms, cut_permille, random);
        }
        let situation = Situation {
            phase: self.phase,
            deferral: None,
            has_previous: true,
            now,
        };
        let mut later_ms = now_ms.saturating_add(300_000);
        match judge(plan, &self.control, &self.placement, &situation) {
            Wanted::Begin => {
                self.is_touched = true;
                self.enter(Phase::Fetching, now_ms, random);
            }
            Wanted::Cancel if self.phase == Phase::Trial => {
                self.phase = Phase::RolledBack;
                self.step_ends_ms = None;
            }
            Wanted::Cancel => {
                self.phase = Phase::Absent;
                self.step_ends_ms = None;
            }
            Wanted::GoBack => {
                let (least, most) = SWAP_MS;
                self.phase = Phase::RolledBack;
                self.went_back_ms = Some(now_ms.saturating_add(random.between(least, most)));
            }
            Wanted::Wait { until: Some(until) } => {
                let seconds = until.as_second().saturating_sub(now.as_second());
                let wait_ms = u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
                // A time has whole seconds.
                later_ms = later_ms.min(now_ms.saturating_add(wait_ms.max(1_000)));
            }
            _ => {}
        }
        let state = project(self.phase, None);
        let cause = match self.phase {
            Phase::RolledBack if self.went_back_ms.is_some() => "rollout_reversed",
            Phase::RolledBack => "trap_rate",
            _ => "",
        };
        let health = self.health();
        let report = self.reporting.due(plan, state, cause, now, || Observed {
            health,
            ..Observed::of(state, cause)
        });
        let ends = self.step_ends_ms.unwrap_or(u64::MAX);
        Next {
            report,
            wakes_ms: later_ms.min(ends),
        }
    }

    fn health(&self) -> Health {
        let samples = match self.phase {
            Phase::Live => SAMPLES,
            _ => 0,
        };
        Health {
            samples,
            ..Health::default()
        }
    }

    fn enter(&mut self, phase: Phase, now_ms: u64, random: &mut Random) {
        let lasts = match phase {
            Phase::Fetching => Some(FETCH_MS),
            Phase::Staged => Some(PROVE_MS),
            Phase::SelfTested => Some(SWAP_MS),
            Phase::Trial => Some(TRIAL_MS),
            _ => None,
        };
        self.phase = phase;
        self.step_ends_ms = lasts.map(|(least, most)| {
            let lasts = random.between(least, most);
            now_ms.saturating_add(lasts)
        });
    }

    fn end_step(&mut self, now_ms: u64, cut_permille: u64, random: &mut Random) {
        let next = match self.phase {
            // The power was cut: the ledger has the phase, and the step begins again.
            phase if random.happens(cut_permille) => phase,
            Phase::Fetching => Phase::Staged,
            Phase::Staged => Phase::SelfTested,
            Phase::SelfTested => Phase::Trial,
            Phase::Trial if self.is_bad => Phase::RolledBack,
            Phase::Trial => Phase::Live,
            other => other,
        };
        self.enter(next, now_ms, random);
    }
}
