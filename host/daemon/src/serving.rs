//! Serving: samples from the intake to their answers, by the release that serves. It does not know who decides which release that is.

pub mod answer;
mod compared_metric;
mod drift_thread;
mod drift_watch;
pub mod figures;
pub mod intake;
pub mod latency;
mod measured;
pub mod motion_gate;
mod observed;
mod output_tap;
mod published_status;
pub mod queue;
pub mod rate_gate;
mod sample_trace;
mod service;
mod serving_release;
mod shadow;
pub mod tally;

pub(crate) use compared_metric::{ComparedMetric, WantedMetric};
pub(crate) use drift_watch::DriftWatch;
pub use measured::measured;
pub use observed::{MAX_VARIATIONS, Observed, Observer, SampleOutcome, Seen, Variation};
pub(crate) use output_tap::OutputTap;
pub use output_tap::{Output, OutputKind, Viewer};
pub use published_status::{DeployView, PublishedStatus};
pub(crate) use sample_trace::TraceTap;
pub use sample_trace::{Arrival, RecordsTrace, TracedEnd, TracedSample, Tracer, new_span_id};
pub use service::{CallError, CallOutput, CallRelease, DrainReport, LocalClient};
pub(crate) use service::{Service, WorkerPool, WorkerWatch};
pub use serving_release::ServingRelease;
pub use shadow::{Comparison, ShadowMirror, ShadowScore, ShadowVerdict};
