//! Stored blobs are checked when they are read, and all of them in the background. A damaged one is set aside and fetched again.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hotshoe_store::BlobError;
use hotshoe_trust::{Blob, Digest};

use super::record::StoredRelease;
use super::work::RegistryWorker;

/// Bytes per second that the background check reads, at most: 4 MiB.
const CHECK_BYTES_PER_SECOND: u64 = 4 << 20;
/// Least time between the starts of two background checks of all blobs.
const CHECK_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// Most damaged blobs in the queue. The next background check finds the rest.
pub(super) const WAITING_REPORTS: usize = 64;
/// Increase of the nice value of the thread that checks.
const NICE_STEPS: i32 = 10;

impl RegistryWorker {
    /// Checks all blobs again and again, and those that `reports` names at once, until the registry is closed.
    pub(super) fn check_blobs(&self, reports: &Receiver<Option<Blob>>) {
        lower_priority();
        loop {
            let began = self.clock.now();
            for blob in self.stored_blobs() {
                let pause = |bytes: usize| self.handle_until(reports, self.rest(bytes as u64));
                let checked = self.blobs.check_slowly(&blob, pause);
                if self.lock().closed {
                    return;
                }
                if checked.is_err() {
                    self.on_damaged(blob.digest);
                }
            }
            if self.handle_until(reports, began + CHECK_INTERVAL).is_err() {
                return;
            }
        }
    }

    /// When the next piece may be read.
    fn rest(&self, bytes: u64) -> Instant {
        let micros = bytes.saturating_mul(1_000_000) / CHECK_BYTES_PER_SECOND;
        self.clock.now() + Duration::from_micros(micros)
    }

    /// Handles reports until `until`.
    ///
    /// # Errors
    /// The registry is closed.
    fn handle_until(&self, reports: &Receiver<Option<Blob>>, until: Instant) -> io::Result<()> {
        loop {
            if self.lock().closed {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match self.clock.recv_until(reports, until) {
                // A read fails also where a release was just removed.
                Ok(Some(blob)) => self.on_damaged(blob.digest),
                Ok(None) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
        }
    }

    /// All blobs of complete releases.
    fn stored_blobs(&self) -> Vec<Blob> {
        let held: Vec<StoredRelease> = self.lock().held().cloned().collect();
        let mut blobs = Vec::new();
        for held in held {
            let contents = self.blobs.contents(held.release);
            if let Err(error) = &contents {
                tracing::debug!(%error, name = held.name, "cannot list the blobs of a release");
            }
            // Where the manifest cannot be read, its own check finds that.
            let contents = contents.unwrap_or_else(|_| [held.release].into());
            for digest in contents.into_iter().chain(held.bundles) {
                let size = self.blobs.size(digest).unwrap_or(0);
                blobs.push(Blob { digest, size });
            }
        }
        blobs.sort_unstable_by_key(|blob| blob.digest);
        blobs.dedup();
        blobs
    }

    /// What is wrong with the file that a blob has now, which may be newer than the one that was read. `None` if nothing is, or if the
    /// error says nothing about the bytes.
    fn damage(&self, digest: Digest) -> Option<BlobError> {
        // A wrong size changes the digest too.
        let size = self.blobs.size(digest).unwrap_or(0);
        match self.blobs.check(&Blob { digest, size }) {
            // A size that differs now is that of a file that has just arrived.
            Ok(()) | Err(BlobError::Size { .. }) => None,
            Err(error) if error.is_loss() => Some(error),
            Err(error) => {
                let error = hotshoe_base::chain(&error);
                tracing::warn!(%digest, error, "cannot check a stored blob");
                None
            }
        }
    }

    /// Sets a blob aside if it is damaged, and fetches the releases again that need it.
    pub(super) fn on_damaged(&self, digest: Digest) {
        let Some(error) = self.damage(digest) else {
            return;
        };
        let held: Vec<StoredRelease> = self.lock().held().cloned().collect();
        let needs = |held: &StoredRelease| {
            held.release == digest
                || held.bundles.contains(&digest)
                || self
                    .blobs
                    .contents(held.release)
                    .map_or(true, |contents| contents.contains(&digest))
        };
        let damaged: Vec<StoredRelease> = held.into_iter().filter(needs).collect();
        if damaged.is_empty() {
            return;
        }
        let names: Vec<String> = damaged
            .iter()
            .map(|held| format!("{} generation {}", held.name, held.generation))
            .collect();
        let releases = names.join(", ");
        let why = error.name();
        match self.blobs.set_aside(digest) {
            Ok(aside) => {
                let aside = aside.map(|path| path.display().to_string());
                tracing::error!(%digest, why, releases, aside, "a stored blob is damaged and is fetched again: {error}");
            }
            Err(failed) => {
                let failed = hotshoe_base::chain(&failed);
                tracing::error!(%digest, why, releases, failed, "a stored blob is damaged and cannot be set aside: {error}");
            }
        }
        let mut state = self.lock();
        self.fetch_again(&mut state, damaged);
        self.damaged.fetch_add(1, Ordering::Relaxed);
        drop(state);
        self.changed.notify_all();
    }

    /// Removes what was set aside of a release that is complete again.
    pub(super) fn repaired(&self, held: &StoredRelease) {
        let contents = self.blobs.contents(held.release).unwrap_or_default();
        for digest in contents.iter().chain(&held.bundles) {
            if let Err(error) = self.blobs.remove_aside(*digest) {
                tracing::warn!(%error, "cannot remove a damaged blob that was set aside");
            }
        }
        tracing::info!(name = held.name, generation = held.generation, release = %held.release, "a damaged release is complete again");
    }
}

/// Lowers the priority of the calling thread. Does nothing on systems where priorities apply to processes.
fn lower_priority() {
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::nice(NICE_STEPS)
    {
        tracing::debug!(%error, "cannot lower the priority of the check of blobs");
    }
}
