//! Counts of metrics and traces: sent, dropped, and failed requests.

use std::collections::BTreeMap;

use hotshoe_base::chain;
use hotshoe_protocol::status::{TelemetryFailure, TelemetryStatus};
use parking_lot::Mutex;

use crate::error::SendError;

/// Why traces were dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DropCause {
    /// Too many waited: the collector is away, or too slow.
    QueueFull,
    /// The collector did not take them, and will not.
    Refused,
    /// The daemon ended.
    Stopped,
}

impl DropCause {
    const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }
}

/// The counts, in the status and as metrics.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<TelemetryStatus>);

impl Figures {
    pub(crate) fn status(&self) -> TelemetryStatus {
        self.0.lock().clone()
    }

    pub(crate) fn dropped(&self, cause: DropCause, traces: usize) {
        if traces == 0 {
            return;
        }
        let traces = traces as u64;
        let mut status = self.0.lock();
        count(&mut status.traces_dropped, cause.name(), traces);
        drop(status);
        metrics::counter!("hotshoe_telemetry_traces_dropped_total", "cause" => cause.name())
            .increment(traces);
    }

    pub(crate) fn sent(&self, traces: usize) {
        let traces = traces as u64;
        let mut status = self.0.lock();
        status.traces_sent += traces;
        status.error = None;
        drop(status);
        metrics::counter!("hotshoe_telemetry_traces_sent_total").increment(traces);
    }

    pub(crate) fn sent_metrics(&self) {
        let mut status = self.0.lock();
        status.metrics_sent += 1;
        status.error = None;
    }

    /// Counts what the collector left out of a request. A negative number, which it must not send, counts nothing.
    pub(crate) fn rejected(&self, count: i64) {
        self.0.lock().rejected += u64::try_from(count).unwrap_or(0);
    }

    /// Counts a failed request. True for the first one after a success.
    pub(crate) fn failed(&self, error: &SendError) -> bool {
        let mut status = self.0.lock();
        status.failed += 1;
        let is_first = status.error.is_none();
        status.error = Some(TelemetryFailure {
            name: error.name().to_owned(),
            message: chain(error),
        });
        drop(status);
        metrics::counter!("hotshoe_telemetry_failed_total").increment(1);
        is_first
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str, more: u64) {
    *counts.entry(name.to_owned()).or_default() += more;
}
