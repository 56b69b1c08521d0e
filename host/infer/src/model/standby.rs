//! The backend that was not chosen for a model, for the day when the chosen one fails.
//!
//! A backend that ran a release's tests may still fail on other inputs, of another shape perhaps. The one that was let go is
//! then opened again from the file and tried on the very inputs; where it succeeds, it serves from then on.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use hotshoe_base::chain;
use hotshoe_trust::Digest;
use prost::Message;
use tract_onnx::pb::ModelProto;

use super::{Loaded, Model};
use crate::backend::{Backend, Session};
use crate::tract::TractSession;
use crate::{LoadError, ModelOptions, Options, RunError, Tensor};

/// After the other backend failed as well, or could not be opened, it is left alone for this long: opening a model reads the
/// whole file, and whoever sends bad inputs must not have that done at each.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Reads the file of a model again; `None` where it is gone.
pub type ReadModel = Arc<dyn Fn() -> Option<Vec<u8>> + Send + Sync>;

/// A model that its chosen backend failed, and which runs on the other since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSwitch {
    /// The one that failed.
    pub from: Backend,
    /// The one that serves.
    pub to: Backend,
    /// What the first one said, outermost first.
    pub cause: String,
}

/// The other backend.
pub(super) struct Standby {
    backend: Backend,
    read: ReadModel,
    /// Opened, but not in time to say anything.
    session: Option<Arc<dyn Session>>,
    not_before: Option<Instant>,
}

impl fmt::Debug for Standby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Standby({})", self.backend)
    }
}

/// ReopenOptions a model is opened again.
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
            return Err(malformed("it is not the file that it was".into()));
        }
        let file = ModelProto::decode(bytes).map_err(|error| malformed(error.into()))?;
        let graph = file.graph.as_ref();
        let graph = graph.ok_or_else(|| malformed("it has no graph".into()))?;
        match backend {
            Backend::Tract => {
                let session = TractSession::load(&file, graph, self.model.threads, &self.all)?;
                Ok(Arc::new(session))
            }
            Backend::Ort => crate::ort::load(&file, graph, bytes, &self.model, &self.all),
        }
    }
}

impl Model {
    /// As [`Model::settle`], but the backend that is let go is opened again, with what `read` gives, and tried where the chosen
    /// one fails by its own fault. It must not be known to give anything wrong.
    pub fn settle_with_standby(&self, backend: Backend, read: ReadModel) {
        let other = self.backends().into_iter().find(|it| *it != backend);
        self.settle(backend);
        if let Some(other) = other.filter(|_| self.backends() == [backend]) {
            *self.standby.lock().unwrap_or_else(PoisonError::into_inner) = Some(Standby {
                backend: other,
                read,
                session: None,
                not_before: None,
            });
        }
    }

    /// Whether another backend took over since the choice, and why.
    pub fn switched(&self) -> Option<BackendSwitch> {
        let switch = self.switched.lock();
        switch.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs inputs on the other backend that `failed` has failed on. `None` if there is none, or if it fails as well; it serves
    /// from then on where it succeeds.
    pub(super) fn run_on_standby(
        &self,
        failed: &Arc<dyn Session>,
        error: &RunError,
        inputs: &[Tensor],
        deadline: Option<Instant>,
    ) -> Option<Vec<Tensor>> {
        // One run tries it; the others keep their own errors meanwhile.
        let mut standby = self.standby.try_lock().ok()?;
        let serving = self.session();
        if !Arc::ptr_eq(&serving, failed) {
            // Another run has found it to work.
            drop(standby);
            return self.run_alone(&serving, inputs, deadline).ok();
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
                let switch = BackendSwitch {
                    from: self.backend(),
                    to: this.backend,
                    cause: chain(error),
                };
                this.backend = switch.from;
                self.serve(switch.to, session);
                tracing::warn!(digest = %self.digest, from = %switch.from, to = %switch.to, cause = switch.cause, "backend failed; the other one serves");
                *self.switched.lock().unwrap_or_else(PoisonError::into_inner) = Some(switch);
                Some(outputs)
            }
            Err(other) if other.is_own_fault() => {
                this.not_before = Some(Instant::now() + RETRY_AFTER);
                None
            }
            // The deadline, or too many that wait: it says nothing.
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

    fn reopen(&self, standby: &Standby) -> Option<Arc<dyn Session>> {
        let bytes = (standby.read)()?;
        let opened = crate::guard::guard(|| self.options.open(standby.backend, self.digest, &bytes));
        match opened {
            Ok(Ok(session)) => Some(session),
            Ok(Err(error)) => {
                tracing::warn!(digest = %self.digest, backend = %standby.backend, cause = chain(&error), "the other backend cannot be opened");
                None
            }
            Err(panic) => {
                tracing::warn!(digest = %self.digest, backend = %standby.backend, panic, "the other backend cannot be opened");
                None
            }
        }
    }

    fn serve(&self, backend: Backend, session: Arc<dyn Session>) {
        let most = session.at_once().or(self.options.model.max_runs);
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        *loaded = Loaded {
            serving: (backend, session),
            other: None,
        };
        drop(loaded);
        self.lane.limit(most);
    }
}
