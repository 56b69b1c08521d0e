//! Backends that are avoided for now: their models move to the standby, and back when they work again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::Model;
use super::standby::{RETRY_AFTER, Standby, SwitchReason};
use crate::backend::{Backend, Session, Stop};
use crate::counts::RunCounts;
use crate::guard::guard;
use crate::{RunError, Tensor};

/// What the standby is tried for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// It replaces an avoided backend.
    Replace,
    /// It is the chosen backend, and no longer avoided.
    Return,
    /// It is the chosen backend, and avoided while it does not work.
    Check,
}

impl Trial {
    fn of(model: &Model, standby: &Standby, avoided: &BTreeSet<Backend>) -> Option<Self> {
        if standby.next_trial.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        match (avoided.contains(&standby.backend), standby.is_chosen) {
            (false, true) => Some(Self::Return),
            (true, true) => {
                let is_due = standby.next_check.is_none_or(|at| at <= Instant::now());
                is_due.then_some(Self::Check)
            }
            (false, false) => avoided.contains(&model.backend()).then_some(Self::Replace),
            // Every backend is avoided: the chosen one goes on.
            (true, false) => None,
        }
    }
}

impl Model {
    /// Whether [`Self::change_backend`] has something to do.
    pub(crate) fn needs_backend_change(&self, avoided: &BTreeSet<Backend>) -> bool {
        let standby = self.standby.try_lock();
        let standby = standby.as_ref().and_then(|standby| standby.as_ref());
        standby.is_some_and(|standby| Trial::of(self, standby, avoided).is_some())
    }

    /// See [`crate::NamedModel::change_backends`]. Returns whether another backend serves now.
    pub(crate) fn change_backend(
        &self,
        avoided: &BTreeSet<Backend>,
        counts: &RunCounts,
        made_up: impl Fn() -> Vec<Vec<Tensor>>,
    ) -> bool {
        let Some(mut standby) = self.standby.try_lock() else {
            return false; // a run tries it
        };
        let Some(standby) = standby.as_mut() else {
            return false;
        };
        let Some(trial) = Trial::of(self, standby, avoided) else {
            return false;
        };
        let (serving, old) = self.serving();
        let suspect = match trial {
            Trial::Replace => serving,
            Trial::Return | Trial::Check => standby.backend,
        };
        let session = self.reopen(standby).filter(|session| {
            let prepared = guard(|| prepare(session, &old));
            prepared.is_ok() && works(session, counts.failed_on(suspect), made_up)
        });
        let Some(session) = session else {
            standby.try_later();
            return false;
        };
        match trial {
            Trial::Check => {
                standby.next_check = Some(Instant::now() + RETRY_AFTER);
                counts.works_again(suspect);
                return false;
            }
            Trial::Return => {
                counts.works_again(suspect);
                self.switch(standby, session, SwitchReason::WorksAgain);
            }
            Trial::Replace => {
                standby.trial_pause = RETRY_AFTER;
                self.switch(standby, session, SwitchReason::Avoided);
            }
        }
        true
    }
}

/// Compiles the plans of the serving backend, so that samples do not wait for them after the switch.
fn prepare(session: &Arc<dyn Session>, serving: &Arc<dyn Session>) {
    for signature in serving.signatures() {
        if session.prepare(&signature).is_err() {
            tracing::debug!("no plan for these shapes on the standby backend");
        }
    }
}

/// Whether a backend runs the inputs of the last fault, or else one of those that are made up. It runs on this thread, outside of the slots
/// of the model: a trial delays no run.
fn works(
    session: &Arc<dyn Session>,
    failed_on: Option<Vec<Tensor>>,
    made_up: impl Fn() -> Vec<Vec<Tensor>>,
) -> bool {
    let runs = |inputs: &Vec<Tensor>| {
        let run: Result<Result<_, RunError>, String> =
            guard(|| session.run(inputs, &Stop::default()));
        matches!(run, Ok(Ok(_)))
    };
    match failed_on {
        Some(inputs) => runs(&inputs),
        None => made_up().iter().any(runs),
    }
}
