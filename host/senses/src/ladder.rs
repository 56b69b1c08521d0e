//! Which plan is in force. A policy may wish something else with each reading; the device changes seldom, and sooner to the stricter side.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use crate::plan::{Plan, PlanError, SignedModes};

/// How seldom the plan in force changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LadderLimits {
    /// Least time between two changes.
    pub least: Duration,
    /// How long only looser plans must be wished before a looser one is in force.
    pub calm: Duration,
    /// After so many changes within `period`, the plan becomes no looser before the period is over.
    pub most_changes: usize,
    /// See `most_changes`.
    pub period: Duration,
}

impl Default for LadderLimits {
    fn default() -> Self {
        Self {
            least: Duration::from_secs(10),
            calm: Duration::from_secs(30),
            most_changes: 20,
            period: Duration::from_secs(3_600),
        }
    }
}

/// What someone wishes to be in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Who, such as `governor`.
    pub from: String,
    /// What.
    pub plan: Plan,
}

/// A wish that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose.
    pub from: String,
    /// Why.
    pub error: PlanError,
}

/// What a step did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether another plan is in force now.
    pub has_changed: bool,
    /// What the wished plan waits for, if it is not in force.
    pub waits: Option<Waiting>,
    /// The wishes that are left out.
    pub refused: Vec<Refusal>,
}

/// What a wished plan waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Which limit.
    pub limit: WaitsFor,
    /// When it will be in force, if it is wished until then. By the clock of the step.
    pub until: Duration,
}

/// A limit of [`LadderLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// The least time between two changes.
    LeastTime,
    /// The time of calm before a looser plan.
    Calm,
    /// The number of changes within a period.
    RateLimit,
}

impl WaitsFor {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeastTime => "least_time",
            Self::Calm => "calm",
            Self::RateLimit => "rate_limit",
        }
    }
}

/// The plan in force, and what decides when it changes. It starts with the plan that changes nothing; a restart derives it again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ladder {
    in_force: Plan,
    /// The last changes, oldest first, at most [`LadderLimits::most_changes`].
    changes: VecDeque<Duration>,
    /// Since when only looser plans are wished, and the strictest of them.
    looser: Option<(Duration, Plan)>,
    refused: u64,
}

impl Ladder {
    /// The plan in force.
    pub fn in_force(&self) -> &Plan {
        &self.in_force
    }

    /// Wishes that were left out since the start.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The same with the modes of another release: a mode that it does not have is no longer in force.
    #[must_use]
    pub fn for_release(mut self, modes: &SignedModes) -> Self {
        let mode = self.in_force.mode.take();
        self.in_force.mode = mode.filter(|mode| modes.contains(&mode.value));
        self.looser = None;
        self
    }

    /// One step: the wishes of this time are joined to the strictest, and the plan in force changes if the limits permit it. A wish that
    /// names an unsigned mode or is too large is left out. Without any other wish, all stays as it is.
    ///
    /// `at` is a monotonic time, of any start.
    pub fn step(
        mut self,
        limits: &LadderLimits,
        modes: &SignedModes,
        wishes: &[Wish],
        at: Duration,
    ) -> (Self, Decision) {
        let mut decision = Decision::default();
        let mut wished: Option<Plan> = None;
        for wish in wishes {
            match wish.plan.check(modes) {
                Ok(()) => {
                    wished = Some(match wished {
                        Some(others) => others.stricter(&wish.plan, modes),
                        None => wish.plan.clone(),
                    });
                }
                Err(error) => decision.refused.push(Refusal {
                    from: wish.from.clone(),
                    error,
                }),
            }
        }
        self.refused += decision.refused.len() as u64;
        let Some(wished) = wished else {
            self.looser = None;
            return (self, decision);
        };
        let stricter = self.in_force.clone().stricter(&wished, modes);
        let (next, gates) = if !stricter.wishes_same(&self.in_force) {
            self.looser = None;
            (stricter, vec![self.least_time(limits)])
        } else if wished.wishes_same(&self.in_force) {
            self.looser = None;
            return (self, decision);
        } else {
            let (since, plan) = self.loosened(modes, wished, at);
            let gates = self.gates_to_looser(limits, since);
            (plan, gates)
        };
        decision.waits = gates
            .into_iter()
            .filter(|gate| gate.until > at)
            .max_by_key(|gate| gate.until);
        if decision.waits.is_none() {
            decision.has_changed = true;
            self.change(limits, next, at);
        }
        (self, decision)
    }

    fn change(&mut self, limits: &LadderLimits, next: Plan, at: Duration) {
        self.in_force = next;
        self.looser = None;
        self.changes.push_back(at);
        while self.changes.len() > limits.most_changes.max(1) {
            self.changes.pop_front();
        }
    }

    /// Since when looser plans are wished, and the strictest of them, which is looser than the one in force.
    fn loosened(&mut self, modes: &SignedModes, wished: Plan, at: Duration) -> (Duration, Plan) {
        let joined = self
            .looser
            .take()
            .map(|(since, plan)| (since, plan.stricter(&wished, modes)))
            // Together they wish what is in force.
            .filter(|(_, plan)| !plan.wishes_same(&self.in_force));
        let looser = joined.unwrap_or((at, wished));
        self.looser = Some(looser.clone());
        looser
    }

    fn least_time(&self, limits: &LadderLimits) -> Waiting {
        let last = self.changes.back();
        Waiting {
            limit: WaitsFor::LeastTime,
            until: last.map_or(Duration::ZERO, |last| last.saturating_add(limits.least)),
        }
    }

    fn gates_to_looser(&self, limits: &LadderLimits, since: Duration) -> Vec<Waiting> {
        let is_full = self.changes.len() >= limits.most_changes.max(1);
        let oldest = self.changes.front().filter(|_| is_full);
        vec![
            self.least_time(limits),
            Waiting {
                limit: WaitsFor::Calm,
                until: since.saturating_add(limits.calm),
            },
            Waiting {
                limit: WaitsFor::RateLimit,
                until: oldest.map_or(Duration::ZERO, |it| it.saturating_add(limits.period)),
            },
        ]
    }
}
