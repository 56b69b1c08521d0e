//! Runs of models by backend.

use super::Pipeline;

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
    /// Of them, those since a run succeeded.
    pub faults_in_a_row: u32,
}

impl Pipeline {
    /// What each backend has run. It only grows, except for `faults_in_a_row`.
    pub fn model_runs(&self) -> Vec<ModelRunCounts> {
        let models = self.models.iter().map(|(name, named)| ModelRunCounts {
            model: name.clone(),
            variant: named.variant().to_owned(),
            backend: named.active().backend().to_string(),
            runs: named.active().usage().runs,
            faults: 0,
            faults_in_a_row: 0,
        });
        models.collect()
    }
}
