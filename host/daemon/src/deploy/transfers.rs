//! The fetches that run: at most one of a package and one of blobs, each on a thread of its own. The end of each is a [`Message`].

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_delivery::{Cancel, FetchError, Fetcher, Progress};
use hotshoe_store::{BlobStore, Cause};
use hotshoe_trust::{Release, ReleaseKind, Verified};

use crate::deploy::message::Message;
use crate::deploy::package_queue::WantedRelease;
use crate::deploy::reporter::{Reporter, Subject};

/// Owns the fetcher and the flags of what runs.
pub(super) struct Transfers {
    kind: ReleaseKind,
    fetcher: Arc<Fetcher>,
    reporter: Arc<Reporter>,
    parts: Supervisor,
    sender: SyncSender<Message>,
    is_fetching_package: bool,
    is_fetching_blobs: bool,
    last_fetch_id: u64,
}

impl Transfers {
    /// Without a fetch of releases of this kind. `sender` takes the ends of the fetches.
    pub(super) const fn new(
        kind: ReleaseKind,
        fetcher: Arc<Fetcher>,
        reporter: Arc<Reporter>,
        parts: Supervisor,
        sender: SyncSender<Message>,
    ) -> Self {
        Self {
            kind,
            fetcher,
            reporter,
            parts,
            sender,
            is_fetching_package: false,
            is_fetching_blobs: false,
            last_fetch_id: 0,
        }
    }

    /// Whether a fetch of a package runs.
    pub(super) const fn is_fetching_package(&self) -> bool {
        self.is_fetching_package
    }

    /// Whether a fetch of blobs runs.
    pub(super) const fn is_fetching_blobs(&self) -> bool {
        self.is_fetching_blobs
    }

    /// Starts the fetch of a package. Returns its id, and the way to cancel it.
    pub(super) fn fetch_package(&mut self, wanted: &WantedRelease) -> io::Result<(u64, Cancel)> {
        let (fetch_id, cancel) = self.next_fetch();
        let (fetcher, sender) = (Arc::clone(&self.fetcher), self.sender.clone());
        let (release, bundles) = (wanted.subject.release, wanted.bundles.clone());
        let (flag, kind) = (cancel.clone(), self.kind);
        let run = move || {
            let package = caught(|| fetcher.package(release, &bundles, &flag));
            // The receiver is gone when the daemon stops.
            let _ = sender.send(Message::Package(kind, fetch_id, package));
        };
        self.parts.task("package", run)?;
        self.is_fetching_package = true;
        Ok((fetch_id, cancel))
    }

    /// Starts the fetch of a release's blobs. Returns its id, and the way to cancel it.
    pub(super) fn fetch_blobs(
        &mut self,
        release: Verified<Release>,
        subject: Subject,
        blobs: BlobStore,
    ) -> io::Result<(u64, Cancel)> {
        let (fetch_id, cancel) = self.next_fetch();
        let (fetcher, sender) = (Arc::clone(&self.fetcher), self.sender.clone());
        let (reporter, flag) = (Arc::clone(&self.reporter), cancel.clone());
        let kind = self.kind;
        let run = move || {
            let progress = |p: Progress| {
                let waits = p.waits.map(|it| Cause::new(it.name(), it.to_string()));
                reporter.progress(&subject, p.fetched, p.total, waits);
            };
            let moved = caught(|| fetcher.release(&release, &blobs, progress, &flag));
            // The receiver is gone when the daemon stops.
            let _ = sender.send(Message::Blobs(kind, fetch_id, moved));
        };
        self.parts.task("fetch", run)?;
        self.is_fetching_blobs = true;
        Ok((fetch_id, cancel))
    }

    /// The fetch of a package has ended.
    pub(super) const fn package_ended(&mut self) {
        self.is_fetching_package = false;
    }

    /// The fetch of blobs has ended.
    pub(super) const fn blobs_ended(&mut self) {
        self.is_fetching_blobs = false;
    }

    /// Limits the rate, in bytes per second.
    pub(super) fn limit(&self, max_bytes_per_second: Option<u64>) {
        self.fetcher.limit(max_bytes_per_second);
    }

    /// Closes partial files, which would keep their disk space after removal.
    pub(super) fn withdraw_partials(&self) {
        self.fetcher.withdraw_partials();
    }

    /// A new id tells the end of a fetch from that of an earlier one.
    fn next_fetch(&mut self) -> (u64, Cancel) {
        self.last_fetch_id += 1;
        (self.last_fetch_id, Cancel::new())
    }
}

/// Turns a panic into an error: the deploy thread waits for the result of the fetch.
fn caught<T>(fetch: impl FnOnce() -> Result<T, FetchError>) -> Result<T, FetchError> {
    catch_unwind(AssertUnwindSafe(fetch)).unwrap_or_else(|_| {
        let message = "the fetch thread panicked; please report it";
        Err(FetchError::Thread(io::Error::other(message)))
    })
}
