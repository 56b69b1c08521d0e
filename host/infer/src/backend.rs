//! What runs a model: the backends, and the seam between them and the rest of the crate.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::{RunError, Stats, Tensor};

/// Something that runs models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Always there.
    Tract,
    /// ONNX Runtime, if its library is found.
    Ort,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tract => "tract",
            Self::Ort => "ort",
        })
    }
}

/// Which backend a model is loaded for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum BackendChoice {
    /// For each that can run it; one of them is kept later. tract runs it until then.
    #[default]
    Auto,
    /// tract alone.
    Tract,
    /// ONNX Runtime alone.
    Ort,
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Tract => "tract",
            Self::Ort => "ort",
        })
    }
}

/// Shapes of all inputs, in the model's order.
pub(crate) type Shapes = Vec<Vec<usize>>;

/// Elements that an input may have so that its values count as part of a run's signature: sizes, axes, rates.
const SMALL: usize = 64;

/// What a plan depends on.
#[derive(Debug, Clone)]
pub(crate) struct InputSignature {
    /// Of all inputs.
    pub(crate) shapes: Shapes,
    /// The elements of the small inputs that are known, in the model's order.
    pub(crate) values: Vec<Option<Tensor>>,
}

impl InputSignature {
    /// That of a run.
    pub(crate) fn of(inputs: &[Tensor]) -> Self {
        let small = |tensor: &Tensor| (tensor.len() <= SMALL).then(|| tensor.clone());
        Self {
            shapes: inputs
                .iter()
                .map(|tensor| tensor.shape().to_vec())
                .collect(),
            values: inputs.iter().map(small).collect(),
        }
    }
}

/// A model as one backend holds it. Threads may use it at the same time.
pub(crate) trait Session: Send + Sync + fmt::Debug {
    /// Makes the first run with this signature as fast as the next. It fits the model's inputs.
    fn prepare(&self, signature: &InputSignature) -> Result<(), RunError>;

    /// Runs the model. Inputs and outputs are in the order of the file; the inputs' types and shapes fit.
    fn run(&self, inputs: &[Tensor], stop: &Stop) -> Result<Vec<Tensor>, RunError>;

    /// How many runs go on at once, where the backend has a limit of its own: further ones would wait in it.
    fn at_once(&self) -> Option<usize>;

    /// What is prepared, the least recently used first.
    fn signatures(&self) -> Vec<InputSignature>;

    /// How the compiled plans were used.
    fn stats(&self) -> Stats;

    /// What the model runs on.
    fn provider(&self) -> &str;

    /// Why it does not run on what was preferred.
    fn provider_notes(&self) -> &[String];
}

/// Tells a run to end at its next operator. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<Flag>);

#[derive(Default)]
struct Flag {
    stopped: AtomicBool,
    /// How a backend that does not look at the flag itself is told.
    callback: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Stop {
    /// Ends the run.
    pub(crate) fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        if let Some(callback) = &*self.0.callback.lock().unwrap_or_else(PoisonError::into_inner) {
            callback();
        }
    }

    /// Has `callback` called when the run is to end, also if that was before; until the result is dropped.
    #[cfg(feature = "ort")]
    pub(crate) fn on_stop(&self, callback: impl Fn() + Send + 'static) -> StopHook<'_> {
        *self.0.callback.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(callback));
        if self.is_stopped() {
            self.stop();
        }
        StopHook(self)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }
}

/// See [`Stop::on_stop`].
#[cfg(feature = "ort")]
pub(crate) struct StopHook<'a>(&'a Stop);

#[cfg(feature = "ort")]
impl Drop for StopHook<'_> {
    fn drop(&mut self) {
        let mut callback = self.0.0.callback.lock().unwrap_or_else(PoisonError::into_inner);
        *callback = None;
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stop({})", self.is_stopped())
    }
}
