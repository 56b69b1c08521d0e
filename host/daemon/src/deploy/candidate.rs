//! The candidate: a verified release on its way to its trial. Pure: facts and a time go in, the next step comes out.
//!
//! [`Candidate::step`] says what is to be done, the coordinator does it, and [`Candidate::after`] takes the outcome.

use std::time::{Duration, Instant};

use hotshoe_protocol::status::WaitReason;

use crate::deploy::package_queue::pause;
use crate::serving::ShadowVerdict;

/// Pause after an interrupted compilation, in which the command that interrupted it is carried out.
const INTERRUPTED_PAUSE: Duration = Duration::from_millis(200);
/// Most times that the daemon may die while it loads, tests or shadows a release.
pub const MAX_PROOFS: u32 = 3;

/// State of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateState {
    /// Its blobs are to be fetched, at this time or later.
    Due(Instant),
    /// Its blobs are being fetched.
    Fetching {
        /// The id of the fetch.
        fetch_id: u64,
    },
    /// All of its blobs are on disk.
    Fetched,
    /// It is staged in the ledger. It is to be loaded and tested, at this time or later.
    Staged(Instant),
    /// It has passed its self-test.
    Proven,
    /// It runs in shadow.
    Shadow,
    /// It is on trial, has failed, or was abandoned.
    Ended,
}

/// The trial beside a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BesideTrial {
    /// No trial runs.
    None,
    /// A trial runs, and the candidate waits for its end.
    Running,
    /// A trial of an older generation of the same name runs. The candidate replaces it: a trial without samples must not block the
    /// release that repairs it.
    Replaceable,
}

/// What a step depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// Whether the ledger has every transition that has happened.
    pub is_settled: bool,
    /// Whether a fetch of blobs runs, also one of an earlier candidate.
    pub is_fetching: bool,
    /// The running trial.
    pub trial: BesideTrial,
    /// Number of times that the daemon died while it loaded or tested the staged release.
    pub proofs: u32,
    /// Whether the release is to be activated as soon as it may be.
    pub activate: bool,
    /// Whether the maintenance window is open.
    pub is_window_open: bool,
    /// Whether the release is in memory. One that waits may be unloaded.
    pub is_loaded: bool,
    /// The verdict of the shadow; `None` if the release needs none.
    pub shadow: Option<ShadowVerdict>,
}

/// Why a candidate fails by a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepFailure {
    /// The daemon died while it loaded or tested the release, as often as is allowed.
    DiedInProof,
    /// The shadow disagrees with the live release: the mean agreement.
    ShadowDisagreement(f64),
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Nothing before this time, or before the facts change.
    Wait(Option<Instant>),
    /// A release that is staged or self-tested waits for this.
    Hold(WaitReason),
    /// Fetch its blobs.
    Fetch,
    /// Record that all blobs are on disk.
    Stage,
    /// Roll back the trial of an older generation.
    ReplaceTrial,
    /// Load it, and run its self-test.
    Prove,
    /// Start its shadow.
    OpenShadow,
    /// Start its trial.
    BeginTrial,
    /// Record that it failed.
    Fail(StepFailure),
    /// Nothing any more.
    End,
}

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A fetch with this id runs.
    FetchStarted(u64),
    /// The fetch with this id has all blobs.
    Fetched(u64),
    /// The blobs could not be fetched or staged, or one was damaged on disk. They are fetched again after a pause.
    FetchLater,
    /// The ledger has it as staged.
    Staged,
    /// The ledger could not be written. Its self-test is repeated after a pause.
    ProveLater,
    /// A command interrupted its compilation.
    Interrupted,
    /// It has passed its self-test.
    Proven,
    /// Its shadow runs.
    ShadowOpened,
    /// It is on trial, has failed, or was abandoned.
    Ended,
}

/// The progress of a verified release that does not serve yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    state: CandidateState,
    failures: u32,
}

impl Candidate {
    /// A candidate that has just been verified.
    pub const fn verified(now: Instant) -> Self {
        Self::at(CandidateState::Due(now))
    }

    /// A candidate that was staged before the daemon started.
    pub const fn staged(now: Instant) -> Self {
        Self::at(CandidateState::Staged(now))
    }

    const fn at(state: CandidateState) -> Self {
        Self { state, failures: 0 }
    }

    /// Its state.
    pub const fn state(&self) -> CandidateState {
        self.state
    }

    /// The next step. The same facts at the same time give the same step.
    pub fn step(&self, facts: &Facts, now: Instant) -> Step {
        if self.state == CandidateState::Ended {
            return Step::End;
        }
        if !facts.is_settled {
            // Otherwise, a pending transition could hit this release.
            return Step::Wait(None);
        }
        match self.state {
            CandidateState::Due(due) | CandidateState::Staged(due) if due > now => {
                Step::Wait(Some(due))
            }
            CandidateState::Due(_) if facts.is_fetching => Step::Wait(None),
            CandidateState::Due(_) => Step::Fetch,
            CandidateState::Fetching { .. } => Step::Wait(None),
            CandidateState::Fetched => Step::Stage,
            CandidateState::Staged(_) => match facts.trial {
                BesideTrial::Running => Step::Hold(WaitReason::Probation),
                BesideTrial::Replaceable => Step::ReplaceTrial,
                BesideTrial::None => prove(facts),
            },
            CandidateState::Proven => activate(facts),
            CandidateState::Shadow => match facts.shadow {
                Some(ShadowVerdict::Wait) => Step::Wait(None),
                Some(ShadowVerdict::Disagree(mean)) => {
                    Step::Fail(StepFailure::ShadowDisagreement(mean))
                }
                Some(ShadowVerdict::Agree) | None => Step::BeginTrial,
            },
            CandidateState::Ended => Step::End,
        }
    }

    /// The candidate after an outcome. An ended one stays ended, and only the fetch that runs can end.
    #[must_use]
    pub fn after(self, outcome: Outcome, now: Instant) -> Self {
        let state = match (self.state, outcome) {
            (CandidateState::Ended, _) | (_, Outcome::Ended) => CandidateState::Ended,
            (_, Outcome::FetchStarted(fetch_id)) => CandidateState::Fetching { fetch_id },
            (CandidateState::Fetching { fetch_id }, Outcome::Fetched(ended))
                if fetch_id == ended =>
            {
                CandidateState::Fetched
            }
            (state, Outcome::Fetched(_)) => state,
            (_, Outcome::FetchLater) => {
                return self.later(CandidateState::Due(now + pause(self.failures)));
            }
            (_, Outcome::ProveLater) => {
                return self.later(CandidateState::Staged(now + pause(self.failures)));
            }
            (_, Outcome::Interrupted) => CandidateState::Staged(now + INTERRUPTED_PAUSE),
            (_, Outcome::Staged) => return Self::at(CandidateState::Staged(now)),
            (_, Outcome::Proven) => return Self::at(CandidateState::Proven),
            (_, Outcome::ShadowOpened) => CandidateState::Shadow,
        };
        Self { state, ..self }
    }

    const fn later(self, state: CandidateState) -> Self {
        Self {
            state,
            failures: self.failures.saturating_add(1),
        }
    }
}

fn activate(facts: &Facts) -> Step {
    if !facts.activate {
        return Step::Hold(WaitReason::Activation);
    }
    if facts.trial != BesideTrial::None {
        return Step::Hold(WaitReason::Probation);
    }
    if !facts.is_window_open {
        return Step::Hold(WaitReason::Window);
    }
    if !facts.is_loaded {
        // It was unloaded to save memory; it is loaded and tested again.
        return prove(facts);
    }
    match facts.shadow {
        Some(_) => Step::OpenShadow,
        None => Step::BeginTrial,
    }
}

const fn prove(facts: &Facts) -> Step {
    if facts.proofs >= MAX_PROOFS {
        return Step::Fail(StepFailure::DiedInProof);
    }
    Step::Prove
}
