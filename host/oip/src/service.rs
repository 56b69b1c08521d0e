//! The service behind both forms of the protocol, which runs inference on blocking threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use crate::admission::Admitted;
use crate::call;
use crate::catalogue::{CallTarget, Catalogue};
use crate::error::RequestError;
use crate::request::{InferRequest, InferResponse};

/// The server's name in its metadata.
pub(crate) const SERVER: &str = "hotshoe";
/// The server's version in its metadata.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The supported extensions of the protocol.
pub(crate) const EXTENSIONS: [&str; 2] = ["binary_tensor_data", "model_repository"];

/// The models and pipeline, and whether the server is closing.
pub(crate) struct Service {
    catalogue: Catalogue,
    closing: AtomicBool,
}

impl Service {
    pub(crate) const fn new(catalogue: Catalogue) -> Self {
        Self {
            catalogue,
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

    pub(crate) fn infer(
        &self,
        target: &CallTarget,
        request: InferRequest,
        deadline: Instant,
    ) -> Result<InferResponse, RequestError> {
        call::infer(&self.catalogue, target, request, deadline)
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
