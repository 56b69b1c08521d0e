//! Tests of a release before it serves: its self-tests, and a first instance of every component.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hotshoe_base::micros;
use hotshoe_engine::Sample;
use hotshoe_trust::{Blob, Device, SelfTest};
use serde::Serialize;

use super::{
    Backends, Expectation, LoadError, Outcome, Pipeline, RunMode, SampleError, Undecided, Worker,
    checked,
};

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

/// Why a release failed its self-tests.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// A component cannot be instantiated.
    #[error(transparent)]
    WarmUp(#[from] WarmUpError),
    /// The backends of a model disagree about the same inputs.
    #[error(
        "the backends disagree about model `{model}` (variant `{variant}`), and no self-test decides which is right: {difference}; add a self-test to the release, or name the right one on this device: `backend` in [inference.models.{model}]"
    )]
    Undecided {
        /// Its name in the release.
        model: String,
        /// The name of the variant.
        variant: String,
        /// The output in which they differ, and how.
        difference: String,
    },
    /// A file of a test cannot be read.
    #[error("the release's self-test cannot be read")]
    Blob(#[source] LoadError),
    /// The expected result is not an insight.
    #[error(
        "the expected result of self-test `{test}` is not an insight; the file must have the `insight` that `hotshoe exec` prints, or tensors as .npz"
    )]
    Expected {
        /// The test's name.
        test: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The sample of a test ended with an error.
    #[error("self-test `{test}` ended with an error")]
    Sample {
        /// The test's name.
        test: String,
        /// The error.
        #[source]
        source: SampleError,
    },
    /// The insight does not agree with the expected one.
    #[error(
        "self-test `{test}` failed: its insight agrees with the expected one to {found:.3}, but {wanted:.3} is required"
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

/// One passed self-test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SelfTestReport {
    /// The test's name.
    pub name: String,
    /// Agreement of the insight with the expected one, 0 to 1.
    pub agreement: f64,
    /// The least that the release accepts.
    pub min_agreement: f64,
    /// Wall time of the sample in microseconds, including the compilation of plans for its shapes.
    pub micros: u64,
}

impl Pipeline {
    /// Creates and drops an instance of every component, to find start-up code that fails.
    ///
    /// # Errors
    /// [`WarmUpError`], whose source names the component.
    pub fn warm_up(&self) -> Result<(), WarmUpError> {
        self.fork().worker().warm_up().map_err(WarmUpError)
    }

    /// Compiles for each model, and each variant that a mode begins with, the plans that the model of the same name has used in the
    /// serving release, so that samples do not wait for them after the swap. A model that both releases share already has them.
    pub fn warm_up_like(&self, serving: &Self) {
        for (name, model) in &self.models {
            let Some(old) = serving.models.get(name).map(|old| old.active()) else {
                continue;
            };
            for ready in self.variants_of_modes(name, model) {
                if !Arc::ptr_eq(old, ready) {
                    let plans = ready.prepare_like(old);
                    tracing::debug!(model = name, plans, "plans are ready");
                }
            }
        }
    }

    /// Chooses the backend of each model, and runs the self-tests in the full mode. If they fail with remembered choices, it chooses again.
    /// Then it judges the agreement of the other modes ([`Self::mode_figures`]), which also compiles their plans.
    ///
    /// # Errors
    /// As [`Self::self_test`], and [`SelfTestError::Undecided`]: no self-test runs a model whose backends disagree.
    pub fn prove<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        backends: &mut Backends,
    ) -> Result<Vec<SelfTestReport>, SelfTestError> {
        let remembered = self.decide(&read, device, backends);
        self.prove_chosen(remembered, None, read, device, backends)
    }

    /// As [`Self::prove`], but leaves backends to be measured while the release serves, as [`Self::decide_first`].
    ///
    /// # Errors
    /// As [`Self::prove`].
    pub fn prove_first<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        backends: &mut Backends,
    ) -> Result<Vec<SelfTestReport>, SelfTestError> {
        let begun = self.begin(&read, device, backends);
        self.prove_chosen(begun.remembered, begun.passed, read, device, backends)
    }

    /// Proves the release with the chosen backends; `passed` are the self-tests if they have passed with them.
    fn prove_chosen<E: Error + Send + Sync + 'static>(
        &self,
        remembered: usize,
        passed: Option<Vec<SelfTestReport>>,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        backends: &mut Backends,
    ) -> Result<Vec<SelfTestReport>, SelfTestError> {
        let passed = match passed {
            Some(passed) => passed,
            None => match self.self_test(&read, device) {
                // A remembered choice may be the cause.
                Err(_) if remembered > 0 => {
                    self.decide_again(&read, device, backends);
                    self.self_test(&read, device)?
                }
                other => other?,
            },
        };
        if let Some(undecided) = self.undecided() {
            return Err(undecided.into());
        }
        if !self.release.modes.is_empty() {
            let samples = self.test_samples(&read)?;
            self.judge_modes(&samples, device, &AtomicBool::new(false));
        }
        Ok(passed)
    }

    /// Runs the self-tests of the release and compares each insight with the expected one. This also compiles the plans for the shapes
    /// of these samples. It uses a copy of the current state of the components.
    ///
    /// # Errors
    /// The first failed test.
    pub fn self_test<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
    ) -> Result<Vec<SelfTestReport>, SelfTestError> {
        let mode = self.run_mode(None, 0);
        let before = self.runs();
        let passed = self.self_test_in(read, device, &mode, &AtomicBool::new(false))?;
        let reached = self.runs().into_iter().zip(before);
        let reached = reached.filter(|((_, after), (_, before))| after > before);
        let reached = reached.map(|((name, _), _)| name);
        self.tested.lock().extend(reached);
        Ok(passed.unwrap_or_default())
    }

    /// As [`Self::self_test`], in this mode. `None` if it is cancelled.
    pub(super) fn self_test_in<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        device: &Device,
        mode: &RunMode,
        cancel: &AtomicBool,
    ) -> Result<Option<Vec<SelfTestReport>>, SelfTestError> {
        let mut worker = self.fork().worker_of_tests();
        worker.warm_up().map_err(WarmUpError)?;
        let mut passed = Vec::with_capacity(self.release.tests.len());
        for test in &self.release.tests {
            if cancel.load(Ordering::Acquire) {
                return Ok(None);
            }
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
            let sample = self.test_sample(test, sample);
            passed.push(run(&mut worker, test, &sample, &expected, device, mode)?);
        }
        Ok(Some(passed))
    }

    /// The samples of the self-tests.
    pub(super) fn test_samples<E: Error + Send + Sync + 'static>(
        &self,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<Sample>, SelfTestError> {
        let samples = self.release.tests.iter().map(|test| {
            let payload = checked(&read, "self-test file", &test.name, &test.sample);
            let payload = payload.map_err(SelfTestError::Blob)?;
            Ok(self.test_sample(test, payload))
        });
        samples.collect()
    }

    fn test_sample(&self, test: &SelfTest, payload: Vec<u8>) -> Sample {
        let id = format!("self-test/{}", test.name);
        let issued = self.release.issued.as_microsecond();
        Sample {
            source: id.clone(),
            id,
            content_type: test.media_type.clone(),
            // Constant, so that the result is reproducible.
            timestamp_us: u64::try_from(issued).unwrap_or_default(),
            payload: Arc::from(payload),
        }
    }

    /// Models that no self-test has run.
    pub fn untested(&self) -> Vec<String> {
        let tested = self.tested.lock();
        let names = self.models.keys().filter(|name| !tested.contains(*name));
        names.cloned().collect()
    }

    /// Number of runs of each model, over all its variants.
    fn runs(&self) -> Vec<(String, u64)> {
        let runs = self.models.iter().map(|(name, named)| {
            let variants = named.variants();
            (name.clone(), variants.map(|(_, it)| it.usage().runs).sum())
        });
        runs.collect()
    }
}

/// Runs a sample, and returns its wall time in microseconds.
pub(super) fn timed(
    worker: &mut Worker,
    sample: &Sample,
    device: &Device,
    mode: &RunMode,
) -> (Outcome, u64) {
    let started = Instant::now();
    let outcome = worker.process(sample, device, mode);
    (outcome, micros(started.elapsed()))
}

fn run(
    worker: &mut Worker,
    test: &SelfTest,
    sample: &Sample,
    expected: &Expectation,
    device: &Device,
    mode: &RunMode,
) -> Result<SelfTestReport, SelfTestError> {
    let (outcome, micros) = timed(worker, sample, device, mode);
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
