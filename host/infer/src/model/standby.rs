//! The standby backend of a model, for failures of the chosen one.
//!
//! A backend that passed the self-tests of a release may still fail on other inputs, for example of another shape. The other backend is
//! then loaded from the file and tried on the same inputs; if it succeeds, it serves from then on.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::chain;
use hotshoe_trust::Digest;

use super::{Loaded, Model};
use crate::backend::{Backend, Session};
use crate::served::ServedFile;
use crate::tract::TractSession;
use crate::{LoadError, ModelOptions, Options, RunError, Tensor};

/// Pause after the standby failed as well, or could not be loaded: loading a model reads the whole file, and bad inputs must not
/// trigger that each time.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Longest pause between two trials of a standby that no run waits for.
const LONGEST_TRIAL_PAUSE: Duration = Duration::from_hours(1);

/// Reads the file of a model; `None` if it no longer exists.
pub type ReadModel = Arc<dyn Fn() -> Option<Vec<u8>> + Send + Sync>;

/// A switch of a model to its standby backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSwitch {
    /// The backend that served.
    pub from: Backend,
    /// The new backend.
    pub to: Backend,
    /// Why.
    pub reason: SwitchReason,
}

/// Why a model runs on its standby backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchReason {
    /// The other one failed with this error, outermost message first.
    Failed(String),
    /// The other one is to be avoided for now.
    Avoided,
    /// It is the chosen one, which works again.
    WorksAgain,
}

/// The standby backend.
pub(super) struct Standby {
    pub(super) backend: Backend,
    /// Whether it is the chosen one, and the other one serves in its place.
    pub(super) is_chosen: bool,
    read: ReadModel,
    /// Loaded, but its first run was inconclusive.
    session: Option<Arc<dyn Session>>,
    not_before: Option<Instant>,
    /// The pause after the next failure before it is tried again where no run waits for it.
    pub(super) trial_pause: Duration,
    pub(super) next_trial: Option<Instant>,
    /// When an avoided backend that passed its trial is tried again.
    pub(super) next_check: Option<Instant>,
}

impl Standby {
    /// One that has not been tried yet, loaded or not.
    pub(super) fn of(backend: Backend, read: ReadModel, session: Option<Arc<dyn Session>>) -> Self {
        Self {
            backend,
            is_chosen: false,
            read,
            session,
            not_before: None,
            trial_pause: RETRY_AFTER,
            next_trial: None,
            next_check: None,
        }
    }

    pub(super) fn without_session(self) -> Self {
        Self {
            session: None,
            ..self
        }
    }

    /// Puts off trials that no run waits for, each time for twice as long.
    pub(super) fn try_later(&mut self) {
        self.next_trial = Some(Instant::now() + self.trial_pause);
        self.trial_pause = self.trial_pause.saturating_mul(2).min(LONGEST_TRIAL_PAUSE);
    }
}

impl fmt::Debug for Standby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Standby({})", self.backend)
    }
}

/// Options to load a model again.
#[derive(Debug)]
pub(super) struct ReopenOptions {
    pub(super) model: ModelOptions,
    pub(super) all: Options,
}

impl ReopenOptions {
    fn open(
        &self,
        backend: Backend,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<Arc<dyn Session>, LoadError> {
        let malformed = |source| LoadError::Malformed { source };
        if Digest::of(bytes) != digest {
            return Err(malformed("the file has changed".into()));
        }
        let file = ServedFile::read(bytes, &self.model.outputs)?;
        let graph = file.graph()?;
        match backend {
            Backend::Tract => {
                let session =
                    TractSession::load(&file.model, graph, self.model.threads, &self.all)?;
                Ok(Arc::new(session))
            }
            Backend::Ort => {
                crate::ort::load(&file.model, graph, &file.bytes, &self.model, &self.all)
            }
        }
    }
}

impl Model {
    /// As [`Model::settle`], but keeps the other backend as a standby: it is loaded from the bytes of `read` and tried if the chosen one
    /// fails by its own fault. Its results must not be known to differ.
    pub fn settle_with_standby(&self, backend: Backend, read: ReadModel) {
        let other = self.backends().into_iter().find(|it| *it != backend);
        self.settle(backend);
        if let Some(other) = other.filter(|_| self.backends() == [backend]) {
            *self.standby.lock() = Some(Standby::of(other, read, None));
        }
    }

    /// The switch to the standby, if there was one.
    pub fn switched(&self) -> Option<BackendSwitch> {
        let switch = self.switched.lock();
        switch.clone()
    }

    /// Runs inputs on the standby after `failed` has failed on them. If it succeeds, it serves from then on, and is returned with the
    /// outputs. `None` if there is no standby, or if it fails as well.
    pub(super) fn run_on_standby(
        &self,
        failed: &Arc<dyn Session>,
        error: &RunError,
        inputs: &[Tensor],
        deadline: Option<Instant>,
    ) -> Option<(Backend, Vec<Tensor>)> {
        // Only one run tries it; others return their errors meanwhile.
        let mut standby = self.standby.try_lock()?;
        let (backend, serving) = self.serving();
        if !Arc::ptr_eq(&serving, failed) {
            // Another run has already switched.
            drop(standby);
            let outputs = self.run_alone(&serving, inputs, deadline).ok()?;
            return Some((backend, outputs));
        }
        let this = standby.as_mut()?;
        if this.not_before.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let Some(session) = this.session.take().or_else(|| self.reopen(this)) else {
            this.not_before = Some(Instant::now() + RETRY_AFTER);
            return None;
        };
        match self.run_alone(&session, inputs, deadline) {
            Ok(outputs) => {
                let (from, to) = (backend, this.backend);
                // The cause may quote elements of the tensors: the status has it, where it may leave.
                tracing::warn!(digest = %self.digest, %from, %to, "backend failed; the standby serves");
                self.switch(this, session, SwitchReason::Failed(chain(error)));
                Some((to, outputs))
            }
            Err(other) if other.is_own_fault() => {
                this.not_before = Some(Instant::now() + RETRY_AFTER);
                None
            }
            // Inconclusive: the deadline, or a full queue.
            Err(_) => {
                this.session = Some(session);
                None
            }
        }
    }

    fn run_alone(
        &self,
        session: &Arc<dyn Session>,
        inputs: &[Tensor],
        deadline: Option<Instant>,
    ) -> Result<Vec<Tensor>, RunError> {
        let (session, inputs) = (session.clone(), inputs.to_vec());
        self.lane
            .run(deadline, move |stop| session.run(&inputs, stop))
    }

    pub(super) fn reopen(&self, standby: &Standby) -> Option<Arc<dyn Session>> {
        let bytes = (standby.read)()?;
        let opened =
            crate::guard::guard(|| self.options.open(standby.backend, self.digest, &bytes));
        match opened {
            Ok(Ok(session)) => Some(session),
            Ok(Err(error)) => {
                tracing::warn!(digest = %self.digest, backend = %standby.backend, cause = chain(&error), "the standby backend cannot be loaded");
                None
            }
            Err(panic) => {
                tracing::warn!(digest = %self.digest, backend = %standby.backend, panic, "the standby backend cannot be loaded");
                None
            }
        }
    }

    /// Makes the standby serve by one write, and the other backend the standby.
    pub(super) fn switch(
        &self,
        standby: &mut Standby,
        session: Arc<dyn Session>,
        reason: SwitchReason,
    ) {
        let to = standby.backend;
        let has_failed = matches!(reason, SwitchReason::Failed(_));
        let most = session.at_once().or(self.options.model.max_runs);
        let mut loaded = self.loaded.write();
        let before = std::mem::replace(
            &mut *loaded,
            Loaded {
                serving: (to, session),
                other: None,
            },
        );
        let from = before.serving.0;
        // Before the lock is released: a status that shows the backend has its reason.
        *self.switched.lock() = Some(BackendSwitch { from, to, reason });
        drop(loaded);
        self.lane.limit(most);
        standby.backend = from;
        standby.is_chosen = !standby.is_chosen;
        // It may be of the backend that serves now.
        standby.session = None;
        standby.not_before = None;
        standby.next_trial = None;
        standby.next_check = None;
        if has_failed {
            standby.try_later();
        }
    }
}
