//! Whether anybody is connected: a device that nobody reaches, and that says nothing, looks like one that is well.

use std::time::{Duration, Instant};

use crate::deploy::reconciler::Reconciler;

/// Least time between two looks, in milliseconds.
const LOOK_MS: u64 = 1_000;
/// How long the configured peers have to be reached after the start, in seconds.
const REACH_S: u64 = 10;

/// How many were connected at the last look.
pub struct PeerMonitor {
    looked: Instant,
    peers: usize,
    /// Whether anybody has been missed, or needs to be missed no more.
    is_reported: bool,
}

impl PeerMonitor {
    /// Nobody yet.
    pub fn new() -> Self {
        Self {
            looked: Instant::now(),
            peers: 0,
            is_reported: false,
        }
    }
}

impl Reconciler {
    /// Says when the first peer comes and when the last one goes, and once when none that is configured can be reached.
    pub(super) fn check_peers(&mut self) {
        let peer_monitor = &mut self.peer_monitor;
        if peer_monitor.looked.elapsed() < Duration::from_millis(LOOK_MS) {
            return;
        }
        peer_monitor.looked = Instant::now();
        let peers = self.reporter.peers();
        let before = std::mem::replace(&mut peer_monitor.peers, peers);
        let connect = self.config.zenoh.connect.join(", ");
        match (before, peers) {
            (0, 1..) => {
                peer_monitor.is_reported = true;
                tracing::info!(peers, "connected");
            }
            (1.., 0) => tracing::warn!("the last peer has disconnected; connect = [{connect}]"),
            _ => {}
        }
        let late = self.started.elapsed() >= Duration::from_secs(REACH_S);
        if late && !peer_monitor.is_reported {
            peer_monitor.is_reported = true;
            if !connect.is_empty() {
                tracing::warn!(
                    "cannot reach any of connect = [{connect}]; check that the server runs, and whether it requires a certificate ([zenoh.tls])"
                );
            }
        }
    }
}
