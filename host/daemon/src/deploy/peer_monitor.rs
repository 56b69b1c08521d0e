//! Notices the loss of connections: a device without peers would otherwise look healthy in its log.

use std::time::{Duration, Instant};

use hotshoe_base::Clock;

/// Interval of checks, in milliseconds.
const CHECK_INTERVAL_MS: u64 = 1_000;
/// Time after the start to reach the configured peers, in seconds.
const CONNECT_GRACE_S: u64 = 10;

/// State of the check.
pub(super) struct PeerMonitor {
    clock: Clock,
    started: Instant,
    checked_at: Instant,
    peers: usize,
    /// Whether the first connection, or its absence, was reported.
    is_reported: bool,
}

impl PeerMonitor {
    /// Without peers yet.
    pub(super) fn new(clock: Clock) -> Self {
        let now = clock.now();
        Self {
            clock,
            started: now,
            checked_at: now,
            peers: 0,
            is_reported: false,
        }
    }

    /// Logs the first connection. Returns the cause and what to do about it when the last one is lost, and once if no configured peer can
    /// be reached.
    pub(super) fn check(
        &mut self,
        peers: impl FnOnce() -> usize,
        connect: &[String],
    ) -> Option<(&'static str, String)> {
        if self.clock.elapsed(self.checked_at) < Duration::from_millis(CHECK_INTERVAL_MS) {
            return None;
        }
        self.checked_at = self.clock.now();
        let peers = peers();
        let before = std::mem::replace(&mut self.peers, peers);
        let connect = connect.join(", ");
        match (before, peers) {
            (0, 1..) => {
                self.is_reported = true;
                tracing::info!(peers, "connected");
            }
            (1.., 0) => {
                let message = format!("the last peer has disconnected; connect = [{connect}]");
                return Some(("disconnected", message));
            }
            _ => {}
        }
        let late = self.clock.elapsed(self.started) >= Duration::from_secs(CONNECT_GRACE_S);
        if !late || self.is_reported {
            return None;
        }
        self.is_reported = true;
        let message = format!(
            "cannot reach any of connect = [{connect}]; check that the server runs, and whether it requires a certificate ([zenoh.tls])"
        );
        (!connect.is_empty()).then_some(("unreachable", message))
    }
}
