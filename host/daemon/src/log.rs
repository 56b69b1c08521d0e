//! The log of a daemon: a queue before standard error, and a limit per kind of line.
//!
//! Logging never blocks and never fails. A thread writes the lines from a bounded queue ([`Queue`]); lines that it cannot write, or not
//! fast enough, are lost and counted. Before the queue, each kind of line has a rate limit ([`Limit`]); lines beyond it are left out,
//! counted and reported.

mod limit;
mod queue;

use std::sync::atomic::{AtomicU64, Ordering};

use hotshoe_protocol::status::LogStatus;

pub use limit::{LeftOut, Limit, Limited, Limiter, Verdict};
pub use queue::{Line, Queue};

/// The target of the log's own lines, which are not limited.
pub const TARGET: &str = "hotshoe::log";

/// Lines of this process that [`Limit`] left out.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);
/// Lines of this process that [`Queue`] lost.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Counts of missing lines of this process's log.
pub fn status() -> LogStatus {
    LogStatus {
        left_out: LEFT_OUT.load(Ordering::Relaxed),
        lost: LOST.load(Ordering::Relaxed),
    }
}

fn count_lost(lines: u64) {
    LOST.fetch_add(lines, Ordering::Relaxed);
    metrics::counter!("hotshoe_log_lines_lost_total").increment(lines);
}

fn count_left_out() {
    LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    metrics::counter!("hotshoe_log_lines_left_out_total").increment(1);
}
