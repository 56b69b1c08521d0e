//! The queue of statements whose releases are not verified yet. It is bounded, and fetches one package at a time, so that a flood of
//! statements does not delay a verified release.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_delivery::Cancel;
use hotshoe_trust::{Digest, Time};

use crate::deploy::reporter::Subject;

/// Most waiting statements. Beyond it, the one with the lowest rank is dropped.
const MAX_PENDING_STATEMENTS: usize = 64;
/// Longest time for one package while other statements wait, in seconds. After few failures it is shorter: as long as the pause.
const MAX_FETCH_S: u64 = 10;
/// Time before the status reports that a package has no source, in seconds.
const ANSWER_S: u64 = 5;
/// First pause after a failure, in milliseconds; it doubles each time.
const FIRST_PAUSE_MS: u64 = 500;
/// Longest pause after a failure, in seconds.
const LONGEST_PAUSE_S: u64 = 30;

/// A release that a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedRelease {
    /// The release, as the statement names it.
    pub subject: Subject,
    /// Its signature bundles.
    pub bundles: Vec<Digest>,
    /// Whether it is activated as soon as it is ready.
    pub activate: bool,
    /// When the statement was made.
    pub issued: Time,
    /// Whether a trusted key signed the statement.
    pub signed: bool,
}

impl WantedRelease {
    /// The digest of all that the statement claims about the release. Statements with the same claims share one entry, so a false
    /// statement does not affect a true one about the same release.
    pub(super) fn claims(&self) -> Digest {
        let Subject {
            release,
            name,
            generation,
            ..
        } = &self.subject;
        let mut text = format!("{release} {generation} {name}");
        for bundle in &self.bundles {
            text.push(' ');
            text.push_str(&bundle.to_string());
        }
        Digest::of(text.as_bytes())
    }
}

/// Waiting statements by their claims, and the running fetch.
#[derive(Debug)]
pub(super) struct PackageQueue {
    clock: Clock,
    statements: BTreeMap<Digest, PendingStatement>,
    fetch: Option<PackageFetch>,
}

#[derive(Debug)]
struct PendingStatement {
    wanted: WantedRelease,
    failures: u32,
    due: Instant,
}

impl PendingStatement {
    /// Priority; the greatest is first. Unsigned statements can be made by the thousand, so they come after signed ones, and those
    /// that failed come after those that did not.
    fn rank(&self) -> impl Ord + use<> {
        (
            self.wanted.signed,
            Reverse(self.failures),
            self.wanted.issued,
        )
    }
}

#[derive(Debug)]
struct PackageFetch {
    claims: Digest,
    release: Digest,
    fetch_id: u64,
    cancel: Cancel,
    since: Instant,
    /// Whether the lack of a source was reported.
    is_reported: bool,
}

/// The pause after this number of consecutive failures.
pub(super) fn pause(failures: u32) -> Duration {
    Duration::from_millis(FIRST_PAUSE_MS)
        .saturating_mul(2_u32.saturating_pow(failures.min(16)))
        .min(Duration::from_secs(LONGEST_PAUSE_S))
}

impl PackageQueue {
    /// An empty queue.
    pub(super) const fn new(clock: Clock) -> Self {
        Self {
            clock,
            statements: BTreeMap::new(),
            fetch: None,
        }
    }

    /// Adds a statement. If one with the same claims is waiting, that one is updated.
    pub(super) fn add(&mut self, wanted: WantedRelease) {
        let claims = wanted.claims();
        if let Some(pending) = self.statements.get_mut(&claims) {
            let known = &mut pending.wanted;
            known.signed |= wanted.signed;
            if wanted.issued > known.issued {
                known.issued = wanted.issued;
                known.activate |= wanted.activate;
                known.subject.statement = wanted.subject.statement;
            }
            return;
        }
        let pending = PendingStatement {
            wanted,
            failures: 0,
            due: self.clock.now(),
        };
        self.statements.insert(claims, pending);
        if self.statements.len() > MAX_PENDING_STATEMENTS {
            let ranked = self.statements.iter();
            let least = ranked.min_by_key(|(_, pending)| pending.rank());
            if let Some(least) = least.map(|(claims, _)| *claims) {
                self.statements.remove(&least);
            }
        }
    }

    /// The statement with the highest rank that is due.
    pub(super) fn next(&self) -> Option<WantedRelease> {
        let first = self.due().max_by_key(|pending| pending.rank())?;
        Some(first.wanted.clone())
    }

    /// Cancels the running fetch if it takes long and other statements wait.
    pub(super) fn preempt(&self) {
        let Some(fetch) = &self.fetch else {
            return;
        };
        let failures = self.statements.get(&fetch.claims).map_or(0, |e| e.failures);
        let limit = pause(failures).min(Duration::from_secs(MAX_FETCH_S));
        let others = self
            .due()
            .any(|pending| pending.wanted.claims() != fetch.claims);
        if others && self.clock.elapsed(fetch.since) > limit {
            fetch.cancel.cancel();
        }
    }

    fn due(&self) -> impl Iterator<Item = &PendingStatement> {
        let now = self.clock.now();
        self.statements
            .values()
            .filter(move |pending| pending.due <= now)
    }

    /// Whether a statement about this release waits, or its package is being fetched.
    pub(super) fn has(&self, release: Digest) -> bool {
        let mut waiting = self.statements.values();
        waiting.any(|pending| pending.wanted.subject.release == release)
    }

    /// The release of the newest statement.
    pub(super) fn newest(&self) -> Option<Digest> {
        let newest = self
            .statements
            .values()
            .max_by_key(|pending| pending.wanted.issued)?;
        Some(newest.wanted.subject.release)
    }

    /// Records that the package of `wanted` is being fetched.
    pub(super) fn start(&mut self, wanted: &WantedRelease, fetch_id: u64, cancel: Cancel) {
        self.fetch = Some(PackageFetch {
            claims: wanted.claims(),
            release: wanted.subject.release,
            fetch_id,
            cancel,
            since: self.clock.now(),
            is_reported: false,
        });
    }

    /// Returns the running fetch, once, if no source has answered in time.
    pub(super) fn take_unanswered(&mut self) -> Option<WantedRelease> {
        let waits = Duration::from_secs(ANSWER_S);
        let fetch = self.fetch.as_mut()?;
        if fetch.is_reported || self.clock.elapsed(fetch.since) < waits {
            return None;
        }
        fetch.is_reported = true;
        let pending = self.statements.get(&fetch.claims)?;
        Some(pending.wanted.clone())
    }

    /// Ends the fetch with this id. `None` if its statement is no longer wanted.
    pub(super) fn finish(&mut self, fetch_id: u64) -> Option<WantedRelease> {
        let fetch = self.fetch.take_if(|fetch| fetch.fetch_id == fetch_id)?;
        let pending = self.statements.get(&fetch.claims)?;
        Some(pending.wanted.clone())
    }

    /// Schedules a retry.
    pub(super) fn retry_later(&mut self, wanted: &WantedRelease) {
        let now = self.clock.now();
        if let Some(pending) = self.statements.get_mut(&wanted.claims()) {
            pending.due = now + pause(pending.failures);
            pending.failures = pending.failures.saturating_add(1);
        }
    }

    /// Removes the statement. Others about the same release stay, since their claims differ.
    pub(super) fn refused(&mut self, wanted: &WantedRelease) {
        self.statements.remove(&wanted.claims());
    }

    /// Removes all statements about a release that is now verified.
    pub(super) fn done(&mut self, wanted: &WantedRelease) {
        self.statements
            .retain(|_, pending| pending.wanted.subject.release != wanted.subject.release);
    }

    /// Removes all statements about a release, and returns the newest.
    pub(super) fn forget(&mut self, release: Digest) -> Option<WantedRelease> {
        if let Some(fetch) = &self.fetch
            && fetch.release == release
        {
            fetch.cancel.cancel();
        }
        let wants = self.statements.values().map(|pending| &pending.wanted);
        let newest = wants
            .filter(|wanted| wanted.subject.release == release)
            .max_by_key(|wanted| wanted.issued)?
            .clone();
        self.done(&newest);
        Some(newest)
    }

    /// Removes the statements that are older than the followed one, and returns their releases.
    pub(super) fn forget_before(&mut self, issued: Time) -> Vec<Subject> {
        let older = self
            .statements
            .extract_if(.., |_, pending| pending.wanted.issued < issued);
        let older = older.map(|(_, pending)| pending.wanted.subject).collect();
        if let Some(fetch) = &self.fetch
            && !self.statements.contains_key(&fetch.claims)
        {
            fetch.cancel.cancel();
        }
        older
    }

    /// Cancels the running fetch.
    pub(super) fn stop(&self) {
        if let Some(fetch) = &self.fetch {
            fetch.cancel.cancel();
        }
    }
}
