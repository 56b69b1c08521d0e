//! Backends that a plan avoids.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_engine::low_priority;
use hotshoe_infer::{Backend, NamedModel, Tensor, TensorInfo};

use super::Pipeline;
use super::choice::synthetic;

/// The part that changes backends.
const PART: &str = "backends";

/// Runs of one model by a variant on a backend, since the release was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRunCounts {
    /// Its name in the release.
    pub model: String,
    /// The variant.
    pub variant: String,
    /// What ran it.
    pub backend: String,
    /// Runs that succeeded, and `faults`.
    pub runs: u64,
    /// Runs that failed by a fault of the backend or the file.
    pub faults: u64,
    /// Of them, those since a run succeeded. A backend that does not serve is tried now and then.
    pub faults_in_a_row: u32,
}

impl Pipeline {
    /// What each backend has run, of samples, self-tests and the measurement of modes. It only grows, except for `faults_in_a_row`.
    pub fn model_runs(&self) -> Vec<ModelRunCounts> {
        let all = self.models.iter().flat_map(|(name, named)| {
            named.runs().into_iter().map(|it| ModelRunCounts {
                model: name.clone(),
                variant: it.variant,
                backend: it.backend.to_string(),
                runs: it.runs,
                faults: it.faults,
                faults_in_a_row: it.faults_in_a_row,
            })
        });
        all.collect()
    }

    /// Lets variants on these backends, `tract` and `ort`, run on the other one where nothing is known against it
    /// ([`Self::settle_with_standbys`]), and back when they are no longer avoided and work. It returns at once: a thread of low priority
    /// loads the other backend, tries it, and swaps one pointer. Call it with each plan, since it also tries again what failed.
    pub fn avoid_backends(&self, backends: &BTreeSet<String>, parts: &Supervisor) {
        let named = |backend: &Backend| backends.contains(&backend.to_string());
        let both = [Backend::Tract, Backend::Ort];
        let avoided: BTreeSet<Backend> = both.into_iter().filter(named).collect();
        let models = self.models.values();
        let models: Vec<Arc<NamedModel>> = models
            .filter(|named| named.needs_backend_change(&avoided))
            .cloned()
            .collect();
        if models.is_empty() || self.changing_backends.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = Running(Arc::clone(&self.changing_backends));
        let started = parts.task(PART, move || {
            let _running = running;
            if let Err(error) = low_priority() {
                tracing::debug!(%error, "cannot lower the priority of the thread that loads backends");
            }
            for named in models {
                named.change_backends(&avoided, made_up);
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "cannot start a thread to change backends; the next plan tries again");
        }
    }
}

/// Ends with its thread, also where that panics or does not start.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn made_up(infos: &[TensorInfo]) -> Vec<Vec<Tensor>> {
    let all = synthetic::inputs(infos).into_iter();
    all.map(|inputs| inputs.into_iter().map(|(_, tensor)| tensor).collect())
        .collect()
}
