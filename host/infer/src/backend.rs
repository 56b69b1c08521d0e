//! Backends, and their interface to the rest of the crate.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{RunError, Stats, Tensor};

/// An inference runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// tract, which is built in.
    Tract,
    /// ONNX Runtime, which needs its library.
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
    /// All that can load it; one is chosen later. tract runs it until then.
    #[default]
    Auto,
    /// Only tract.
    Tract,
    /// Only ONNX Runtime.
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

/// Most elements of an input whose values are part of the signature: sizes, axes, rates.
const SMALL: usize = 64;

/// The inputs that a plan depends on: shapes, and values of small inputs.
#[derive(Debug, Clone)]
pub(crate) struct InputSignature {
    /// The shapes of all inputs.
    pub(crate) shapes: Shapes,
    /// The known values of small inputs, in the model's order.
    pub(crate) values: Vec<Option<Tensor>>,
}

impl InputSignature {
    /// The signature of a run.
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

/// A model that one backend has loaded. It may be used from several threads.
pub(crate) trait Session: Send + Sync + fmt::Debug {
    /// Prepares runs with this signature, which must fit the model's inputs.
    fn prepare(&self, signature: &InputSignature) -> Result<(), RunError>;

    /// Runs the model. Inputs and outputs are in the order of the file; the inputs' types and shapes fit.
    fn run(&self, inputs: &[Tensor], stop: &Stop) -> Result<Vec<Tensor>, RunError>;

    /// As [`Self::run`], but on the calling thread alone: other parts of the same run go beside it.
    fn run_part(&self, inputs: &[Tensor], stop: &Stop) -> Result<Vec<Tensor>, RunError>;

    /// Most concurrent runs, if the backend has a limit: further ones would block in it.
    fn at_once(&self) -> Option<usize>;

    /// The prepared signatures, least recently used first.
    fn signatures(&self) -> Vec<InputSignature>;

    /// Statistics of the compiled plans.
    fn stats(&self) -> Stats;

    /// The execution provider.
    fn provider(&self) -> &str;

    /// Why preferred execution providers are not used.
    fn provider_notes(&self) -> &[String];
}

/// Cancels a run at its next operator. Clones share one flag.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<Flag>);

#[derive(Default)]
struct Flag {
    stopped: AtomicBool,
    /// Notify a backend that does not check the flag: one for each part of the run that is in it. Numbers ascend.
    callbacks: Mutex<Vec<(u64, Callback)>>,
}

type Callback = Box<dyn Fn() + Send>;

impl Stop {
    /// Cancels the run.
    pub(crate) fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        for (_, callback) in self.0.callbacks.lock().iter() {
            callback();
        }
    }

    /// Calls `callback` when the run is cancelled, or at once if it already is. Unregistered when the result is dropped.
    #[cfg(feature = "ort")]
    pub(crate) fn on_stop(&self, callback: impl Fn() + Send + 'static) -> StopHook<'_> {
        let mut callbacks = self.0.callbacks.lock();
        let number = callbacks.last().map_or(0, |(last, _)| last + 1);
        // Under the lock, so that either this sees the flag, or `stop` sees the callback.
        if self.is_stopped() {
            callback();
        }
        callbacks.push((number, Box::new(callback)));
        drop(callbacks);
        StopHook { stop: self, number }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }
}

/// See [`Stop::on_stop`].
#[cfg(feature = "ort")]
pub(crate) struct StopHook<'a> {
    stop: &'a Stop,
    number: u64,
}

#[cfg(feature = "ort")]
impl Drop for StopHook<'_> {
    fn drop(&mut self) {
        let mut callbacks = self.stop.0.callbacks.lock();
        callbacks.retain(|(number, _)| *number != self.number);
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stop({})", self.is_stopped())
    }
}
