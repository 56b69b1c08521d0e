//! A choice of the backend while the model serves: the other backend runs beside it, and takes over by one write.

use std::sync::Arc;

use super::standby::{ReadModel, Standby};
use super::{Loaded, Model};
use crate::backend::{Backend, Session, Stop};
use crate::guard::guard;
use crate::{RunError, Tensor};

impl Model {
    /// Runs on this backend, whether or not it serves, on this thread and outside of the slots of the model, so that no other run waits.
    /// It has no deadline, is not batched, and is not counted. `None` if the backend is not loaded.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn run_aside(
        &self,
        backend: Backend,
        inputs: &[(&str, &Tensor)],
    ) -> Option<Result<Vec<(String, Tensor)>, RunError>> {
        let session = self.on(backend)?;
        // A run without rows is the same on both.
        match self.run_without_rows(inputs, None, None) {
            Ok(None) => {}
            Ok(Some(results)) => return Some(Ok(results)),
            Err(error) => return Some(Err(error)),
        }
        Some(self.checked(inputs).and_then(|ordered| {
            let ended = guard(|| session.run(&ordered, &Stop::default()));
            let results = ended.unwrap_or_else(|message| Err(RunError::Panicked { message }))?;
            let names = self.outputs.iter().map(|info| info.name.clone());
            Ok(names.zip(results).collect())
        }))
    }

    /// Keeps the other backend loaded until [`Self::end_race`], and lets it take over if the serving one fails by its own fault. Does
    /// nothing if only one is loaded.
    pub fn begin_race(&self, read: ReadModel) {
        let mut standby = self.standby.lock();
        let other = self.loaded.read().other.clone();
        if let Some((backend, session)) = other {
            *standby = Some(Standby::of(backend, read, Some(session)));
        }
    }

    /// Compiles the plans of the serving backend on the other one, so that no sample waits for them after [`Self::end_race`].
    pub fn prepare_other(&self) {
        let other = self.loaded.read().other.clone();
        let Some((_, other)) = other else { return };
        for signature in self.session().signatures() {
            if !matches!(guard(|| other.prepare(&signature)), Ok(Ok(()))) {
                tracing::debug!("no plan for these shapes on the other backend");
            }
        }
    }

    /// Makes `winner` serve by one write, and unloads the other backend, which stays the standby if `is_alike`: its outputs are not known to
    /// differ. Runs that have begun end on the backend that they began on. False, and nothing is changed, if the choice is no longer
    /// open: the serving backend has failed, or was replaced.
    pub fn end_race(&self, winner: Backend, is_alike: bool) -> bool {
        let mut standby = self.standby.lock();
        if self.loaded.read().other.is_none() {
            return false;
        }
        let before = self.backend();
        if !self.use_backend(winner) {
            return false;
        }
        let dropped = self.loaded.write().other.take();
        *standby = standby.take().filter(|_| is_alike).map(|mut standby| {
            if before != winner {
                standby.backend = before;
            }
            standby.without_session()
        });
        drop(standby);
        drop(dropped);
        true
    }

    fn on(&self, backend: Backend) -> Option<Arc<dyn Session>> {
        let loaded = self.loaded.read();
        let Loaded { serving, other } = &*loaded;
        let mut both = std::iter::once(serving).chain(other);
        both.find(|it| it.0 == backend).map(|it| it.1.clone())
    }
}
