//! What a request has once it is admitted.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

/// The deadline and slot of an admitted request.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    /// The deadline of the answer.
    pub(crate) deadline: Instant,
    /// The slot of an inference request, until its answer is written; none for other requests.
    pub(crate) slot: Option<Arc<OwnedSemaphorePermit>>,
}
