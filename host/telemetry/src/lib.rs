//! OpenTelemetry: the metrics and traces of a device, by OTLP over HTTP in protobuf (0100).
//!
//! The metrics are those of the status, so that both always agree. A sample of a recorded trace is a span whose children are its time in the
//! queue and its stages. A thread of its own sends them; a worker only puts a sample into a bounded queue, and drops it where that is full.
//!
//! Nothing of a component leaves here: spans and metrics have ids, sources, names of releases, stages, models, reasons and faults, times and
//! counts.
#![forbid(unsafe_code)]

mod collector;
mod error;
mod exporter;
mod figures;
mod metric_points;
mod points;
mod spans;

pub use error::TelemetryError;
pub use exporter::{Exporter, Prepared};
