//! The log of a daemon: lines that may wait for standard error, and how many of a kind there may be.
//!
//! Whoever logs never waits, and never fails. Lines go through a bounded queue to a thread that writes them ([`Queue`]); when that cannot
//! keep up, or nothing can be written, lines are lost and counted. Before the queue, lines of one kind are limited ([`Limit`]): what is
//! left out is counted, and said.

mod limit;
mod queue;

use std::sync::atomic::{AtomicU64, Ordering};

use hotshoe_protocol::status::LogStatus;

pub use limit::{LeftOut, Limit, Limited, Limiter, Verdict};
pub use queue::{Line, Queue};

/// The target of what the log says of itself, which no limit holds back.
pub const TARGET: &str = "hotshoe::log";

/// Lines that were left out in this process, by [`Limit`].
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);
/// Lines that were lost in this process, by [`Queue`].
static LOST: AtomicU64 = AtomicU64::new(0);

/// What of this process's log is missing.
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
