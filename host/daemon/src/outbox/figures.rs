//! What the status and the metrics show of the outbox.

use hotshoe_base::chain;
use hotshoe_outbox::{AppendError, OpenError, Stats};
use hotshoe_protocol::status::{OutboxError, OutboxStatus, OutletState, OutletStatus};
use parking_lot::Mutex;

/// The state at the last look. The outbox itself would let the status wait for a commit.
#[derive(Debug, Default)]
pub(super) struct Figures(Mutex<OutboxStatus>);

impl Figures {
    pub(super) fn status(&self) -> OutboxStatus {
        self.0.lock().clone()
    }

    /// The outbox cannot be opened.
    pub(super) fn unusable(&self, error: &OpenError) {
        self.0.lock().error = Some(OutboxError {
            name: error.name().to_owned(),
            message: chain(error),
        });
    }

    /// A record was refused, which the outbox counts.
    pub(super) fn refused(&self, error: &AppendError) {
        let (name, cause) = (error.name(), chain(error));
        tracing::warn!(name, cause, "an output is not kept");
    }

    pub(super) fn delivered(&self, records: u64) {
        self.0.lock().delivered += records;
        metrics::counter!("hotshoe_outbox_delivered_total").increment(records);
    }

    pub(super) fn set_outlet(&self, state: OutletState, peer: Option<&str>) {
        let mut status = self.0.lock();
        let outlet = &mut status.outlet;
        outlet.state = state;
        outlet.peer = peer.map(str::to_owned);
        if matches!(state, OutletState::Idle | OutletState::Off) {
            outlet.error = None;
        }
    }

    pub(super) fn set_name(&self, name: &str) {
        self.0.lock().outlet = OutletStatus {
            name: name.to_owned(),
            ..OutletStatus::default()
        };
    }

    /// The other end did not take a batch, or none could be read (no `peer`). True if the last one failed otherwise, or not at all.
    pub(super) fn set_failure(&self, peer: Option<&str>, name: &str, message: String) -> bool {
        let mut status = self.0.lock();
        let outlet = &mut status.outlet;
        let is_new = outlet.error.as_ref().is_none_or(|last| last.name != name);
        outlet.state = OutletState::Failing;
        outlet.peer = peer.map(str::to_owned);
        outlet.error = Some(OutboxError {
            name: name.to_owned(),
            message,
        });
        is_new
    }

    /// Takes over what the outbox counts.
    pub(super) fn refresh(&self, stats: &Stats) {
        let oldest = stats.oldest.map(|age| age.as_secs_f64());
        let lost = stats.lost.iter();
        {
            let mut status = self.0.lock();
            status.instance = format!("{:032x}", stats.instance);
            status.epoch = stats.epoch;
            status.records = stats.records as u64;
            status.bytes = stats.bytes;
            status.disk_bytes = stats.disk_bytes;
            status.oldest_seconds = oldest;
            status.losses = stats.losses as u64;
            status.lost = lost
                .map(|(cause, count)| (cause.name().to_owned(), *count))
                .collect();
            status.rejected = stats.rejected;
            status.commits = stats.commits;
            status.last_commit_seconds = stats.last_commit.as_secs_f64();
            status.written_bytes = stats.written_bytes;
        }
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
        {
            metrics::gauge!("hotshoe_outbox_records").set(stats.records as f64);
            metrics::gauge!("hotshoe_outbox_bytes").set(stats.disk_bytes as f64);
        }
        metrics::gauge!("hotshoe_outbox_oldest_seconds").set(oldest.unwrap_or_default());
        metrics::counter!("hotshoe_outbox_written_bytes_total").absolute(stats.written_bytes);
        for (cause, count) in &stats.lost {
            metrics::counter!("hotshoe_outbox_lost_total", "cause" => cause.name())
                .absolute(*count);
        }
    }
}
