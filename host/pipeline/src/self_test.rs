//! Proving a release before it serves: its own test samples, and a first instance of every component.

use std::error::Error;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use hotshoe_base::micros;
use hotshoe_engine::Sample;
use hotshoe_trust::{Blob, Device, SelfTest};
use serde::Serialize;

use super::{Backends, Expectation, LoadError, Pipeline, SampleError, Undecided, Worker, checked};

/// A component of the release cannot be instantiated, or its start-up code fails.
#[derive(Debug, thiserror::Error)]
#[error("a component cannot be started")]
pub struct WarmUpError(#[source] SampleError);

impl WarmUpError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        "warm_up_failed"
    }
}

/// Why a release has not proved itself.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// It does not even start.
    #[error(transparent)]
    WarmUp(#[from] WarmUpError),
    /// The backends of a model make something else of the same inputs.
    #[error(
        "the backends disagree about model `{model}` (variant `{variant}`), and no self-test reaches it to say which is right: {difference}; add a self-test to the release, or name the right one on this device: `backend` in [inference.models.{model}]"
    )]
    Undecided {
        /// Its name in the release.
        model: String,
        /// The variant's.
        variant: String,
        /// In which output, and how much.
        difference: String,
    },
    /// A file of a test cannot be read.
    #[error("the release's self-test cannot be read")]
    Blob(#[source] LoadError),
    /// The expected result is no insight.
    #[error(
        "what self-test `{test}` expects is no insight; the file must hold the `insight` that `hotshoe exec` prints, or tensors as .npz"
    )]
    Expected {
        /// The test's name.
        test: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The sample of a test ended with an error.
    #[error("self-test `{test}` ended with an error")]
    Sample {
        /// The test's name.
        test: String,
        /// Which.
        #[source]
        source: SampleError,
    },
    /// The insight is not what the release's author saw.
    #[error(
        "self-test `{test}` failed: its insight agrees with the expected one to {found:.3}, and {wanted:.3} is wanted"
    )]
    Failed {
        /// The test's name.
        test: String,
        /// The agreement, 0 to 1.
        found: f64,
        /// The least that the release accepts.
        wanted: f64,
    },
}

impl SelfTestError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::WarmUp(error) => error.name(),
            Self::Blob(_) | Self::Expected { .. } => "self_test_unreadable",
            Self::Undecided { .. } => "backends_disagree",
            Self::Sample { .. } => "self_test_error",
            Self::Failed { .. } => "self_test_failed",
        }
    }
}

impl From<Undecided> for SelfTestError {
    fn from(undecided: Undecided) -> Self {
        let Undecided {
            model,
            variant,
            difference,
        } = undecided;
        Self::Undecided {
            model,
            variant,
            difference,
        }
    }
}

/// One test that the release has passed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SelfTestReport {
    /// The test's name.
    pub name: String,
    /// How much the insight agreed with the expected one, 0 to 1.
    pub agreement: f64,
    /// The least that the release accepts.
    pub min_agreement: f64,
    /// Wall time of the sample in microseconds: the first of its shape, for which plans are compiled.
    pub micros: u64,
}

impl Pipeline {
    /// Makes an instance of every component and drops it, which finds start-up code that fails.
    ///
    /// # Errors
    /// [`WarmUpError`], whose source names the component.
    pub fn warm_up(&self) -> Result<(), WarmUpError> {
        self.fork().worker().warm_up().map_err(WarmUpError)
    }

    /// Compiles for each model the plans that the model of the same name has run with in the release that serves, so that
    /// samples need not wait for them after the swap. A model that both releases share has them already.
    pub fn warm_up_like(&self, serving: &Self) {
        for (name, model) in &self.models {
            match serving.models.get(name) {
                Some(old) if !Arc::ptr_eq(old.active(), model.active()) => {
                    let plans = model.active().prepare_like(old.active());
                    tracing::debug!(model = name, plans, "plans are ready");
                }
                _ => {}
            }
        }
    }

    /// Decides what runs each model, and runs the self-tests on that. Where they fail on what was remembered, it is decided anew.
    ///
    /// # Errors
    /// As [`Self::self_test`], and [`SelfTestError::Undecided`]: no test reaches a model whose backends disagree.
    pub fn prove<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        backends: &mut Backends,
    ) -> Result<Vec<SelfTestReport>, SelfTestError> {
        let remembered = self.decide(&read, device, backends);
        let passed = match self.self_test(&read, device) {
            // What was remembered may be what does not pass.
            Err(_) if remembered > 0 => {
                self.decide_again(&read, device, backends);
                self.self_test(&read, device)
            }
            other => other,
        }?;
        match self.undecided() {
            None => Ok(passed),
            Some(undecided) => Err(undecided.into()),
        }
    }

    /// Runs the release's own test samples and compares each insight with the expected one. Models thereby compile their plans
    /// for these samples' shapes. It runs over a copy of what the components keep at this moment.
    ///
    /// # Errors
    /// The first test that does not pass.
    pub fn self_test<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
    ) -> Result<Vec<SelfTestReport>, SelfTestError> {
        let mut worker = self.fork().worker();
        worker.warm_up().map_err(WarmUpError)?;
        let before = self.runs();
        let mut passed = Vec::with_capacity(self.release.tests.len());
        for test in &self.release.tests {
            let blob = |blob| {
                checked(&read, "self-test file", &test.name, blob).map_err(SelfTestError::Blob)
            };
            let sample = blob(&test.sample)?;
            let expected = Expectation::parse(&blob(&test.expected)?).map_err(|source| {
                SelfTestError::Expected {
                    test: test.name.clone(),
                    source,
                }
            })?;
            passed.push(run(&mut worker, test, sample, &expected, device)?);
        }
        let reached = self.runs().into_iter().zip(before);
        let reached = reached.filter(|((_, after), (_, before))| after > before);
        let reached = reached.map(|((name, _), _)| name);
        self.tested
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(reached);
        Ok(passed)
    }

    /// Models that no self-test has reached yet.
    pub fn untested(&self) -> Vec<String> {
        let tested = self.tested.lock().unwrap_or_else(PoisonError::into_inner);
        let names = self.models.keys().filter(|name| !tested.contains(*name));
        names.cloned().collect()
    }

    /// How often each model has run, over all its variants.
    fn runs(&self) -> Vec<(String, u64)> {
        let runs = self.models.iter().map(|(name, named)| {
            let variants = named.variants();
            (name.clone(), variants.map(|(_, it)| it.usage().runs).sum())
        });
        runs.collect()
    }
}

fn run(
    worker: &mut Worker,
    test: &SelfTest,
    payload: Vec<u8>,
    expected: &Expectation,
    device: &Device,
) -> Result<SelfTestReport, SelfTestError> {
    let id = format!("self-test/{}", test.name);
    let issued = worker.pipeline().release().issued.as_microsecond();
    let sample = Sample {
        source: id.clone(),
        id,
        content_type: test.media_type.clone(),
        // The same at every run, so that the same release gives the same result.
        timestamp_us: u64::try_from(issued).unwrap_or_default(),
        payload: Arc::from(payload),
    };
    let started = Instant::now();
    let outcome = worker.process(&sample, device);
    let micros = micros(started.elapsed());
    let decision = outcome.result.map_err(|source| SelfTestError::Sample {
        test: test.name.clone(),
        source,
    })?;
    let found = expected.agreement(&decision);
    if found < test.min_agreement {
        return Err(SelfTestError::Failed {
            test: test.name.clone(),
            found,
            wanted: test.min_agreement,
        });
    }
    Ok(SelfTestReport {
        name: test.name.clone(),
        agreement: found,
        min_agreement: test.min_agreement,
        micros,
    })
}
