//! Counters of the runs of a variant, by backend.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::{Backend, RunError, Tensor};

/// Largest inputs of a failed run that are kept, in bytes: 64 MiB.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// Runs of a variant on one backend since it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantRuns {
    /// The variant.
    pub variant: String,
    /// What ran it.
    pub backend: Backend,
    /// Runs that succeeded, and `faults`. Inputs that do not fit, and missed deadlines, do not count.
    pub runs: u64,
    /// Runs that failed by a fault of the backend or the file.
    pub faults: u64,
    /// Of them, those since the last run that succeeded, or since a trial run of a backend that no longer serves did.
    pub faults_in_a_row: u32,
}

/// Counts the runs of one variant.
#[derive(Debug, Default)]
pub(crate) struct RunCounts(Mutex<BTreeMap<Backend, BackendCounts>>);

#[derive(Debug, Default)]
struct BackendCounts {
    runs: u64,
    faults: u64,
    faults_in_a_row: u32,
    /// The inputs of the last fault, in the order of the file, until a run succeeds.
    failed_on: Option<Vec<Tensor>>,
}

impl RunCounts {
    /// Counts the end of a run on these inputs.
    pub(crate) fn ended(&self, backend: Backend, error: Option<&RunError>, inputs: &[Tensor]) {
        if error.is_some_and(|error| !error.is_own_fault()) {
            return;
        }
        let mut all = self.0.lock();
        let counts = all.entry(backend).or_default();
        counts.runs += 1;
        if error.is_none() {
            counts.faults_in_a_row = 0;
            counts.failed_on = None;
            return;
        }
        counts.faults += 1;
        counts.faults_in_a_row = counts.faults_in_a_row.saturating_add(1);
        let bytes: usize = inputs.iter().map(Tensor::byte_len).sum();
        counts.failed_on = (bytes <= MAX_KEPT_BYTES).then(|| inputs.to_vec());
    }

    /// The inputs that this backend failed on last, if it has not succeeded since.
    pub(crate) fn failed_on(&self, backend: Backend) -> Option<Vec<Tensor>> {
        self.0.lock().get(&backend)?.failed_on.clone()
    }

    /// A trial run of a backend that does not serve has succeeded.
    pub(crate) fn works_again(&self, backend: Backend) {
        if let Some(counts) = self.0.lock().get_mut(&backend) {
            counts.faults_in_a_row = 0;
            counts.failed_on = None;
        }
    }

    /// Forgets the faults in a row, as of backends that were only tried.
    pub(crate) fn restart(&self) {
        for counts in self.0.lock().values_mut() {
            counts.faults_in_a_row = 0;
            counts.failed_on = None;
        }
    }

    /// The counters of each backend that has run it.
    pub(crate) fn read(&self, variant: &str) -> Vec<VariantRuns> {
        let all = self.0.lock();
        let runs = all.iter().map(|(backend, counts)| VariantRuns {
            variant: variant.to_owned(),
            backend: *backend,
            runs: counts.runs,
            faults: counts.faults,
            faults_in_a_row: counts.faults_in_a_row,
        });
        runs.collect()
    }
}
