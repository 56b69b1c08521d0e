//! The service behind both forms of the protocol, which runs inference on blocking threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use crate::admitted::Admitted;
use crate::call;
use crate::catalogue::{CallTarget, Catalogue};
use crate::error::RequestError;
use crate::request::{InferRequest, InferResponse, RequestedOutput};
use crate::stats::{Counters, Spent, Statistics};

/// The server's name in its metadata.
pub(crate) const SERVER: &str = "hotshoe";
/// The server's version in its metadata.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The supported extensions of the protocol.
pub(crate) const EXTENSIONS: [&str; 5] = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
];

/// The form that a request wants its answer in.
pub(crate) struct AnswerForm {
    pub(crate) outputs: Vec<RequestedOutput>,
    /// Whether outputs are bytes by default, in JSON.
    pub(crate) binary: bool,
}

/// The models and pipeline with their statistics, and whether the server is closing.
pub(crate) struct Service {
    catalogue: Catalogue,
    statistics: Statistics,
    closing: AtomicBool,
}

impl Service {
    pub(crate) fn new(catalogue: Catalogue) -> Self {
        Self {
            catalogue,
            statistics: Statistics::default(),
            closing: AtomicBool::new(false),
        }
    }

    pub(crate) const fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Whether a release serves and the server is not closing.
    pub(crate) fn ready(&self) -> bool {
        !self.closing.load(Ordering::Relaxed) && self.catalogue.ready()
    }

    /// Makes the server not ready.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Answers one inference request: reads it, runs it and writes its answer, and counts it for its model.
    pub(crate) fn infer<T>(
        &self,
        target: &CallTarget,
        deadline: Instant,
        read: impl FnOnce() -> Result<InferRequest, RequestError>,
        write: impl FnOnce(InferResponse, &AnswerForm) -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        let begun = Instant::now();
        let answer = read().and_then(|request| {
            let form = AnswerForm {
                outputs: request.outputs.clone(),
                binary: request.parameters.binary_output,
            };
            let mut spent = Spent {
                input: begun.elapsed(),
                ..Spent::default()
            };
            let response = call::infer(&self.catalogue, target, request, deadline, &mut spent)?;
            let run = Instant::now();
            let written = write(response, &form)?;
            spent.output = run.elapsed();
            Ok((written, spent))
        });
        let spent = answer.as_ref().ok().map(|(_, spent)| spent);
        self.count(target, begun.elapsed(), spent);
        answer.map(|(written, _)| written)
    }

    /// A request that outlives its release is not counted: its model cannot be asked for any more.
    fn count(&self, target: &CallTarget, total: Duration, spent: Option<&Spent>) {
        if self.catalogue.version().as_deref() == Some(target.version.as_str()) {
            let key = (target.name.as_str(), target.version.as_str());
            self.statistics.count(key, total, spent);
        }
    }

    /// The statistics of one model, or of all, each with its name and version.
    pub(crate) fn statistics(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Vec<(String, String, Counters)>, RequestError> {
        let models = if name.is_empty() {
            self.catalogue.index()
        } else {
            let target = self.catalogue.find(name, version)?;
            vec![(target.name, target.version)]
        };
        let counted = models.into_iter().map(|(name, version)| {
            let counters = self.statistics.of(&name, &version);
            (name, version, counters)
        });
        Ok(counted.collect())
    }

    /// Runs the work of a request on a blocking thread, and answers at the deadline at the latest. The request keeps its slot until the
    /// work has ended, even after the deadline.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        admitted: &Admitted,
        work: impl FnOnce(&Self, Instant) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let service = Arc::clone(self);
        let Admitted { deadline, slot } = admitted.clone();
        let task = spawn_blocking(move || {
            let _slot = slot;
            work(&service, deadline)
        });
        match timeout_at(deadline.into(), task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(RequestError::Panicked),
            Err(_) => Err(RequestError::Deadline),
        }
    }
}
