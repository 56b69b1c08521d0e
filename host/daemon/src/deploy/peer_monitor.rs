//! Logs the loss of connections: a device without peers would otherwise look healthy in its log.

use std::time::{Duration, Instant};

use crate::deploy::reconciler::Reconciler;

/// Interval of checks, in milliseconds.
const CHECK_INTERVAL_MS: u64 = 1_000;
/// Time after the start to reach the configured peers, in seconds.
const CONNECT_GRACE_S: u64 = 10;

/// State of the check.
pub struct PeerMonitor {
    checked_at: Instant,
    peers: usize,
    /// Whether the first connection, or its absence, was reported.
    is_reported: bool,
}

impl PeerMonitor {
    /// Without peers yet.
    pub fn new() -> Self {
        Self {
            checked_at: Instant::now(),
            peers: 0,
            is_reported: false,
        }
    }
}

impl Reconciler {
    /// Logs the first connection, the loss of the last one, and once if no configured peer can be reached.
    pub(super) fn check_peers(&mut self) {
        let peer_monitor = &mut self.peer_monitor;
        if peer_monitor.checked_at.elapsed() < Duration::from_millis(CHECK_INTERVAL_MS) {
            return;
        }
        peer_monitor.checked_at = Instant::now();
        let peers = self.reporter.peers();
        let before = std::mem::replace(&mut peer_monitor.peers, peers);
        let connect = self.config.zenoh.connect.join(", ");
        match (before, peers) {
            (0, 1..) => {
                peer_monitor.is_reported = true;
                tracing::info!(peers, "connected");
            }
            (1.., 0) => self.reporter.no_peers(
                "disconnected",
                &format!("the last peer has disconnected; connect = [{connect}]"),
            ),
            _ => {}
        }
        let late = self.started.elapsed() >= Duration::from_secs(CONNECT_GRACE_S);
        if late && !peer_monitor.is_reported {
            peer_monitor.is_reported = true;
            if !connect.is_empty() {
                self.reporter.no_peers(
                    "unreachable",
                    &format!("cannot reach any of connect = [{connect}]; check that the server runs, and whether it requires a certificate ([zenoh.tls])"),
                );
            }
        }
    }
}
