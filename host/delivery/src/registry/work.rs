//! The registry's worker: it checks statements, and one thread fetches releases.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use hotshoe_base::{Clock, chain};
use hotshoe_link::{Notice, OtherRegistries, RawNotice, Site};
use hotshoe_protocol::registry::{KeptState, RegistryStatus};
use hotshoe_rollout::Plan;
use hotshoe_store::{BlobError, BlobStore, Catalogue, CatalogueError, Cause, ReadError};
use hotshoe_trust::{
    Blob, Digest, Envelope, Order, Release, Signatures, StatementTimes, Time, TrustRoot,
    TrustUpdate, Verified, VerifyError, read_statement, rotate, time_of, verify_for_registry,
};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::kept::KeptReleases;
use super::record::{Record, StoredRelease, StoredStatement};
use crate::{Cancel, FetchError, Fetcher, Progress};

/// Timeout of the package of a release from a signed statement.
const SIGNED_TIMEOUT: Duration = Duration::from_secs(60);
/// The same from an unsigned statement.
const UNSIGNED_TIMEOUT: Duration = Duration::from_secs(10);
/// A fetch of blobs without an arrival for this time is postponed.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// First delay of a postponed release; it doubles each time.
const FIRST_DELAY: Duration = Duration::from_secs(2);
const LONGEST_DELAY: Duration = Duration::from_secs(300);
/// Most releases that wait to be fetched.
const MAX_JOBS: usize = 256;

/// A release to fetch.
#[derive(Debug, Clone)]
struct Job {
    release: Digest,
    bundles: Vec<Digest>,
    signed: bool,
    issued: Time,
    tries: u32,
    not_before: Instant,
}

impl Job {
    /// Priority. The job with the lowest is dropped when there are too many.
    const fn rank(&self) -> (bool, Reverse<u32>, Time) {
        (self.signed, Reverse(self.tries), self.issued)
    }
}

/// Why a fetched release is not stored.
struct Refusal {
    cause: Cause,
    /// Whether a later try may succeed.
    is_temporary: bool,
}

impl Refusal {
    const fn permanent(cause: Cause) -> Self {
        Self {
            cause,
            is_temporary: false,
        }
    }
}

/// State that the registry's threads share.
pub(super) struct RegistryWorker {
    pub site: String,
    pub name: String,
    /// A random id of this run.
    pub instance: String,
    /// Other registries with the same name.
    pub others: OtherRegistries,
    pub record_file: PathBuf,
    /// Disk quota of releases, in bytes.
    pub quota: AtomicU64,
    /// Number of releases per name to keep.
    pub keep: AtomicUsize,
    pub blobs: BlobStore,
    pub catalogue: Catalogue,
    pub state: Mutex<State>,
    pub changed: Condvar,
    pub refused: AtomicU64,
    /// Blobs that were set aside.
    pub damaged: AtomicU64,
    /// Takes blobs that were read and are damaged. `None` wakes the thread that checks them.
    pub reports: SyncSender<Option<Blob>>,
    pub clock: Clock,
}

pub(super) struct State {
    pub record: Record,
    pub trust: TrustRoot,
    pub closed: bool,
    /// Releases of the record of which a blob is missing or damaged.
    pub incomplete: BTreeSet<Digest>,
    kept: KeptReleases,
    times: StatementTimes,
    jobs: Vec<Job>,
    in_progress: Option<(Digest, Cancel)>,
}

impl State {
    pub(super) fn new(record: Record, trust: TrustRoot, now: Time) -> Self {
        // An unsigned statement can claim any time.
        let signed = record.statements.iter().filter(|kept| kept.signed);
        let times = StatementTimes::new(signed.map(|kept| kept.issued), now);
        Self {
            record,
            trust,
            closed: false,
            incomplete: BTreeSet::new(),
            kept: KeptReleases::default(),
            times,
            jobs: Vec::new(),
            in_progress: None,
        }
    }

    /// The releases that are stored completely.
    pub(super) fn held(&self) -> impl Iterator<Item = &StoredRelease> {
        let all = self.record.releases.iter();
        all.filter(|held| !self.incomplete.contains(&held.release))
    }

    pub(super) fn holds(&self, release: Digest) -> bool {
        self.held().any(|held| held.release == release)
    }
}

impl RegistryWorker {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn quota(&self) -> u64 {
        self.quota.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        if let Some((_, cancel)) = &state.in_progress {
            cancel.cancel();
        }
        drop(state);
        self.changed.notify_all();
        // A full channel wakes it too.
        let _ = self.reports.try_send(None);
    }

    /// Checks a statement. A valid one is stored, and its release is queued.
    pub(super) fn on_statement(&self, said: &RawNotice) {
        let now = time_of(self.clock.wall());
        let mut state = self.lock();
        let read = Envelope::parse(&said.bytes).and_then(|envelope| {
            let signatures = Signatures::Optional(&state.trust);
            read_statement(&envelope, &self.site, signatures, None, now)
        });
        let statement = match read {
            Ok(statement) if statement.order.name() == said.name => statement,
            Ok(_) => return self.refuse(&said.name, "wrong_name"),
            Err(error) => return self.refuse(&said.name, error.name()),
        };
        let envelope = String::from_utf8_lossy(&said.bytes).into_owned();
        let State { record, times, .. } = &mut *state;
        if record.add_statement(&statement, envelope, now, times) {
            self.save(&state).unwrap_or_else(|error| not_saved(&error));
        }
        if let Order::Deploy {
            release,
            bundles,
            name,
            generation,
            ..
        } = &statement.order
        {
            let is_stored = state.holds(*release);
            state.kept.hear(name, *generation, *release, is_stored);
            let signed = !statement.signers().is_empty();
            let newer = state
                .held()
                .filter(|held| held.name == *name && held.generation > *generation);
            let is_surplus = newer.count() >= self.keep.load(Ordering::Relaxed).max(1);
            // An unsigned statement can claim any generation.
            if signed && is_surplus && !is_stored {
                let refused = Some(surplus());
                state.kept.set(*release, KeptState::Refused, refused);
            } else {
                let job = Job {
                    release: *release,
                    bundles: bundles.clone(),
                    signed,
                    issued: statement.issued,
                    tries: 0,
                    not_before: self.clock.now(),
                };
                self.enqueue(&mut state, job);
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    fn enqueue(&self, state: &mut State, job: Job) {
        let in_progress = state.in_progress.as_ref().map(|(release, _)| *release);
        if state.holds(job.release) || in_progress == Some(job.release) {
            return;
        }
        let known = state.jobs.iter_mut().find(|j| j.release == job.release);
        if let Some(known) = known {
            // A newer statement may have more bundles, or a signature; an unsigned one must not change a signed one.
            if job.signed || !known.signed {
                known.signed |= job.signed;
                known.bundles = job.bundles;
            }
            return;
        }
        if state.jobs.len() >= MAX_JOBS {
            // Unsigned statements can name releases that do not exist: signed jobs, or those that failed less often, replace them.
            let ranked = state.jobs.iter().map(Job::rank).enumerate();
            let least = ranked.min_by_key(|(_, rank)| *rank);
            match least.filter(|(_, rank)| *rank < job.rank()) {
                Some((place, _)) => drop(state.jobs.remove(place)),
                None => return self.refuse(&job.release.to_string(), "too_many"),
            }
        }
        state.jobs.push(job);
    }

    /// The trusted keys.
    pub(super) fn trust(&self) -> TrustRoot {
        self.lock().trust.clone()
    }

    /// Queues the release of a plan, which the threshold signed.
    pub(super) fn want_release(&self, plan: &Plan) {
        let mut state = self.lock();
        let is_stored = state.holds(plan.release);
        let (name, generation) = (&plan.name, plan.generation);
        state.kept.hear(name, generation, plan.release, is_stored);
        let job = Job {
            release: plan.release,
            bundles: plan.bundles.clone(),
            signed: true,
            issued: plan.issued,
            tries: 0,
            not_before: self.clock.now(),
        };
        self.enqueue(&mut state, job);
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn refuse(&self, what: &str, why: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(what, why, "refused a statement or release");
    }

    /// Applies a new version of `trust.toml` if it follows the current one; whether it does.
    pub(super) fn on_trust_update(&self, bytes: &[u8]) -> bool {
        let Ok(update) = TrustUpdate::parse(bytes) else {
            self.refuse("trust.toml", "malformed");
            return false;
        };
        let mut state = self.lock();
        match rotate(&state.trust, &update) {
            Ok(new) => {
                tracing::info!(version = new.root.version(), "trust.toml has changed");
                state.trust = new.root;
                let text = String::from_utf8_lossy(bytes).into_owned();
                state.record.update_trust(text);
                self.save(&state).unwrap_or_else(|error| not_saved(&error));
                true
            }
            Err(error) => {
                // Known versions arrive again and again.
                tracing::debug!(%error, "ignored a version of trust.toml");
                false
            }
        }
    }

    fn save(&self, state: &State) -> Result<(), BlobError> {
        state.record.save(&self.record_file)
    }

    /// What this registry says about itself.
    pub(super) fn status(&self) -> RegistryStatus {
        let same_name = self.others.ids();
        let state = self.lock();
        RegistryStatus {
            site: self.site.clone(),
            name: self.name.clone(),
            instance: self.instance.clone(),
            same_name,
            stored: state.held().count() as u64,
            damaged: self.damaged.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            releases: state.kept.list(),
        }
    }

    /// Fetches one release after the other, until the registry is closed.
    pub(super) fn run(&self, fetcher: &Fetcher, site: &Site) {
        // A job on which this thread panicked is dropped; the next statement queues it again.
        self.lock().in_progress = None;
        while let Some((job, cancel)) = self.next() {
            let done = self.fetch(fetcher, &job, &cancel);
            fetcher.withdraw_partials();
            let mut state = self.lock();
            state.in_progress = None;
            let mut statements = Vec::new();
            match done {
                Ok(Ok(held)) => {
                    tracing::info!(name = held.name, generation = held.generation, release = %held.release, "stored a release");
                    let (name, release) = (held.name.clone(), held.release);
                    if state.incomplete.remove(&held.release) {
                        self.repaired(&held);
                    }
                    state.record.add_release(held);
                    self.enforce_quota(&mut state);
                    match self.save(&state) {
                        Ok(()) if state.holds(release) => {
                            state.kept.set(release, KeptState::Stored, None);
                        }
                        Ok(()) => state.kept.set(release, KeptState::Refused, Some(surplus())),
                        // It is lost at the next restart.
                        Err(error) => {
                            not_saved(&error);
                            let cause = Cause::new(error.name(), chain(&error));
                            state.kept.set(release, KeptState::Retrying, Some(cause));
                        }
                    }
                    let said = state.record.statements.iter();
                    statements.extend(said.filter(|kept| kept.name == name).cloned());
                }
                // A release that was stored before is valid, whatever this try says.
                Ok(Err(refusal))
                    if refusal.is_temporary || state.incomplete.contains(&job.release) =>
                {
                    self.retry(&mut state, job, Some(refusal.cause));
                }
                Ok(Err(Refusal { cause, .. })) => {
                    let release = job.release;
                    self.refuse(&release.to_string(), &cause.name);
                    state.kept.set(release, KeptState::Refused, Some(cause));
                }
                Err(error) => self.postpone(&mut state, job, &error),
            }
            drop(state);
            self.changed.notify_all();
            // Without the lock: Zenoh's threads may wait for it, and a put may wait for them.
            republish(site, &statements);
        }
    }

    /// The next release to fetch: signed ones first, then the newest.
    fn next(&self) -> Option<(Job, Cancel)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let now = self.clock.now();
            let ready = state
                .jobs
                .iter()
                .enumerate()
                .filter(|(_, j)| j.not_before <= now);
            let best = ready.max_by_key(|(_, job)| (job.signed, job.issued));
            if let Some((place, _)) = best {
                let job = state.jobs.remove(place);
                let cancel = Cancel::timed_by(self.clock.clone());
                state.in_progress = Some((job.release, cancel.clone()));
                return Some((job, cancel));
            }
            let soonest = state.jobs.iter().map(|job| job.not_before).min();
            let until = soonest.unwrap_or(now + LONGEST_DELAY);
            self.clock.wait_until(&self.changed, &mut state, until);
        }
    }

    fn postpone(&self, state: &mut State, job: Job, error: &FetchError) {
        // Without a source, or with a slow one, it is only late.
        let cause = (!error.is_cancelled()).then(|| Cause::new(error.name(), chain(error)));
        if error.is_permanent() && !state.closed && !state.incomplete.contains(&job.release) {
            state.kept.set(job.release, KeptState::Refused, cause);
            return;
        }
        self.retry(state, job, cause);
    }

    /// Queues a release again, after a delay. Without a cause, it is only late.
    fn retry(&self, state: &mut State, mut job: Job, cause: Option<Cause>) {
        // What failed because the registry stops says nothing about the release.
        if state.closed {
            return;
        }
        let kept = match &cause {
            Some(_) => KeptState::Retrying,
            None => KeptState::Pending,
        };
        let why = cause
            .as_ref()
            .map_or("cancelled", |cause| cause.name.as_str());
        let message = cause.as_ref().map(|cause| cause.message.as_str());
        let delay = FIRST_DELAY
            .saturating_mul(1 << job.tries.min(10))
            .min(LONGEST_DELAY);
        tracing::warn!(release = %job.release, why, error = message, ?delay, "the fetch of a release was postponed");
        state.kept.set(job.release, kept, cause);
        job.tries = job.tries.saturating_add(1);
        job.not_before = self.clock.now() + delay;
        self.enqueue(state, job);
    }

    /// Fetches a release, and checks its signatures before its blobs.
    fn fetch(
        &self,
        fetcher: &Fetcher,
        job: &Job,
        cancel: &Cancel,
    ) -> Result<Result<StoredRelease, Refusal>, FetchError> {
        let timeout = if job.signed {
            SIGNED_TIMEOUT
        } else {
            UNSIGNED_TIMEOUT
        };
        let package = fetcher.package(job.release, &job.bundles, &cancel.within(timeout))?;
        let verified = {
            let state = self.lock();
            verify_for_registry(&package, &state.trust, time_of(self.clock.wall()))
        };
        let release = match verified {
            Ok(release) => release,
            Err(error) => {
                return Ok(Err(Refusal {
                    cause: Cause::new(error.name(), chain(&error)),
                    // This machine's clock may not be set yet.
                    is_temporary: matches!(error, VerifyError::NotYetValid { .. }),
                }));
            }
        };
        let total: u64 = release.blobs().map(|blob| blob.size).sum();
        let quota = self.quota();
        if total > quota {
            let text = format!(
                "the release has {total} bytes, and the registry may store {quota}; raise its quota-mib"
            );
            let cause = Cause::new("above_quota", text);
            return Ok(Err(Refusal::permanent(cause)));
        }
        let package = release.package();
        self.blobs.put(&package.config)?;
        // Before its blobs: if it is postponed, the manifest says which blobs to keep.
        self.blobs.put(&package.manifest)?;
        self.blobs(fetcher, &release, cancel)?;
        let mut bundles = Vec::new();
        for bundle in &package.bundles {
            bundles.push(self.blobs.put(bundle)?.digest);
        }
        let listed = self
            .catalogue
            .add_release(&self.blobs, release.digest(), &bundles);
        match listed {
            Ok(_) => {}
            // A blob was damaged or removed meanwhile.
            Err(CatalogueError::Blob(error) | CatalogueError::Read(ReadError::Blob(error))) => {
                return Err(error.into());
            }
            Err(error) => {
                let cause = Cause::new(error.name(), chain(&error));
                return Ok(Err(Refusal::permanent(cause)));
            }
        }
        Ok(Ok(StoredRelease {
            name: release.name.clone(),
            generation: release.generation,
            release: release.digest(),
            bundles,
            issued: release.issued,
        }))
    }

    fn blobs(
        &self,
        fetcher: &Fetcher,
        release: &Verified<Release>,
        cancel: &Cancel,
    ) -> Result<(), FetchError> {
        let stop = cancel.child();
        let moved = Mutex::new((0, self.clock.now()));
        let watch = |progress: Progress| {
            let mut moved = moved.lock();
            if progress.fetched != moved.0 {
                *moved = (progress.fetched, self.clock.now());
            } else if self.clock.elapsed(moved.1) > STALL_TIMEOUT {
                stop.cancel();
            }
        };
        fetcher
            .release(release, &self.blobs, watch, &stop)
            .map(drop)
    }

    /// Removes releases and partial fetches beyond the limits. The newest release of each name stays.
    fn enforce_quota(&self, state: &mut State) {
        let keep = self.keep.load(Ordering::Relaxed);
        let mut gone = state.record.surplus(keep, &state.incomplete);
        let mut with_jobs = true;
        loop {
            for held in gone.drain(..) {
                tracing::info!(
                    name = held.name,
                    generation = held.generation,
                    "removed a release"
                );
                self.catalogue.remove_release(held.release);
                state.incomplete.remove(&held.release);
            }
            let keep = match self.contents(state, with_jobs) {
                Ok(keep) => keep,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "cannot list the blobs of a stored release; no blobs are removed"
                    );
                    return;
                }
            };
            if let Err(error) = self.blobs.retain(&keep) {
                tracing::error!(%error, "cannot remove blobs");
                return;
            }
            match self.blobs.usage() {
                // Partial fetches are removed before complete releases.
                Ok(used) if used > self.quota() && with_jobs => with_jobs = false,
                Ok(used) if used > self.quota() && !state.record.unverified.is_empty() => {
                    tracing::warn!(
                        "removed packages that cannot be verified, because of the quota"
                    );
                    state.record.unverified.clear();
                }
                Ok(used) if used > self.quota() => match state.record.oldest(&state.incomplete) {
                    Some(held) => gone.push(held),
                    None => return,
                },
                _ => return,
            }
        }
    }

    /// The blobs to keep.
    ///
    /// # Errors
    /// The blobs of a stored release are unknown.
    fn contents(&self, state: &State, with_jobs: bool) -> Result<BTreeSet<Digest>, ReadError> {
        let mut keep = BTreeSet::new();
        for held in &state.record.releases {
            keep.extend(&held.bundles);
            keep.extend(self.blobs.contents(held.release)?);
        }
        keep.extend(&state.record.unverified);
        // Blobs of a postponed release are kept, so that they are not fetched twice.
        for job in state.jobs.iter().filter(|_| with_jobs) {
            keep.extend(self.blobs.contents(job.release).unwrap_or_default());
        }
        Ok(keep)
    }

    /// Lists the stored releases in the catalogue; damaged ones are fetched again.
    pub(super) fn list(&self) {
        let mut state = self.lock();
        let mut damaged = Vec::new();
        for held in &state.record.releases {
            let listed = self
                .catalogue
                .add_release(&self.blobs, held.release, &held.bundles);
            if let Err(error) = listed {
                tracing::warn!(name = held.name, %error, "a release is damaged and will be fetched again");
                damaged.push(held.clone());
            }
        }
        self.fetch_again(&mut state, damaged);
    }

    /// Fetches what is missing of these releases. They stay in the record, so that a restart tries again.
    pub(super) fn fetch_again(&self, state: &mut State, damaged: Vec<StoredRelease>) {
        for held in damaged {
            state.incomplete.insert(held.release);
            let (name, generation, release) = (&held.name, held.generation, held.release);
            state.kept.hear(name, generation, release, false);
            let text = "a stored blob is missing or damaged, and is fetched again";
            let cause = Cause::new("damaged_blob", text);
            state.kept.set(release, KeptState::Retrying, Some(cause));
            let job = Job {
                release: held.release,
                bundles: held.bundles,
                signed: true,
                issued: held.issued,
                tries: 0,
                not_before: self.clock.now(),
            };
            self.enqueue(state, job);
        }
    }
}

/// Why a release is removed at once.
fn surplus() -> Cause {
    let text = "newer releases take its place in the registry; raise its keep or quota-mib";
    Cause::new("above_quota", text)
}

fn not_saved(error: &BlobError) {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "cannot write the registry's record"
    );
}

/// Publishes the statements of a stored release again, for devices that are connected to this registry only.
fn republish(site: &Site, statements: &[StoredStatement]) {
    for kept in statements {
        if let Err(error) = site.publish(Notice::Desired, &kept.name, kept.envelope.as_bytes()) {
            tracing::warn!(%error, "cannot republish a statement; devices ask for it again");
        }
    }
}

#[cfg(test)]
mod tests;
