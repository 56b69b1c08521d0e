//! Statements whose releases are not verified yet. They wait here in bounded number, and one at a time gets its package fetched, so that
//! a flood of them costs a verified release nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hotshoe_delivery::Cancel;
use hotshoe_trust::{Digest, Time};

use crate::deploy::reporter::Subject;

/// Most statements that wait. Beyond it, the least of them makes room.
const MAX_PENDING_STATEMENTS: usize = 64;
/// The longest that one package may take while other statements wait, in seconds. It is less at first: as long as the pause after
/// as many failures.
const MAX_FETCH_S: u64 = 10;
/// How long a package may take before the status says that nobody answers for it, in seconds.
const ANSWER_S: u64 = 5;
/// The first pause after a failure, in milliseconds; each further one is twice as long.
const FIRST_PAUSE_MS: u64 = 500;
/// The longest pause after a failure, in seconds.
const LONGEST_PAUSE_S: u64 = 30;

/// What a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRelease {
    /// The release, as the statement names it.
    pub subject: Subject,
    /// Its signature bundles.
    pub bundles: Vec<Digest>,
    /// Whether it is to serve as soon as it is ready.
    pub activate: bool,
    /// When the statement was made.
    pub issued: Time,
    /// Whether a trusted key signed the statement.
    pub signed: bool,
}

impl WantedRelease {
    /// The digest of all that the statement claims of the release. Statements with the same claims are one errand; one that lies about
    /// a release is another than one that tells the truth.
    pub fn claims(&self) -> Digest {
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

/// Statements that wait, by their claims, and the one that is seen to.
#[derive(Debug, Default)]
pub struct PackageQueue {
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
    /// The greatest comes first. Anybody can make unsigned statements by the thousand, and each comes to nothing: they go after signed
    /// ones, and after those that have not failed yet.
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
    /// Whether it was said that nobody answers.
    is_reported: bool,
}

/// The pause after so many failures in a row.
pub fn pause(failures: u32) -> Duration {
    Duration::from_millis(FIRST_PAUSE_MS)
        .saturating_mul(2_u32.saturating_pow(failures.min(16)))
        .min(Duration::from_secs(LONGEST_PAUSE_S))
}

impl PackageQueue {
    /// Takes a statement in. With the claims of one that waits already, it is that one, said once more.
    pub fn add(&mut self, wanted: WantedRelease) {
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
            due: Instant::now(),
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

    /// The first of the statements that may be seen to now.
    pub fn next(&self) -> Option<WantedRelease> {
        let first = self.due().max_by_key(|pending| pending.rank())?;
        Some(first.wanted.clone())
    }

    /// Calls the one that is out back if it takes long and others wait.
    pub fn preempt(&self) {
        let Some(fetch) = &self.fetch else {
            return;
        };
        let failures = self.statements.get(&fetch.claims).map_or(0, |e| e.failures);
        let limit = pause(failures).min(Duration::from_secs(MAX_FETCH_S));
        let others = self
            .due()
            .any(|pending| pending.wanted.claims() != fetch.claims);
        if others && fetch.since.elapsed() > limit {
            fetch.cancel.cancel();
        }
    }

    fn due(&self) -> impl Iterator<Item = &PendingStatement> {
        let now = Instant::now();
        self.statements
            .values()
            .filter(move |pending| pending.due <= now)
    }

    /// The release of the newest statement.
    pub fn newest(&self) -> Option<Digest> {
        let newest = self
            .statements
            .values()
            .max_by_key(|pending| pending.wanted.issued)?;
        Some(newest.wanted.subject.release)
    }

    /// Its package is being fetched.
    pub fn start(&mut self, wanted: &WantedRelease, fetch_id: u64, cancel: Cancel) {
        self.fetch = Some(PackageFetch {
            claims: wanted.claims(),
            release: wanted.subject.release,
            fetch_id,
            cancel,
            since: Instant::now(),
            is_reported: false,
        });
    }

    /// The one that is out, once, when nobody has answered it for a while.
    pub fn take_unanswered(&mut self) -> Option<WantedRelease> {
        let waits = Duration::from_secs(ANSWER_S);
        let fetch = self.fetch.as_mut()?;
        if fetch.is_reported || fetch.since.elapsed() < waits {
            return None;
        }
        fetch.is_reported = true;
        let pending = self.statements.get(&fetch.claims)?;
        Some(pending.wanted.clone())
    }

    /// The fetch with this ticket has ended. None where its statement is not wanted any more.
    pub fn finish(&mut self, fetch_id: u64) -> Option<WantedRelease> {
        let fetch = self.fetch.take_if(|fetch| fetch.fetch_id == fetch_id)?;
        let pending = self.statements.get(&fetch.claims)?;
        Some(pending.wanted.clone())
    }

    /// It did not end well, and is tried again later.
    pub fn retry_later(&mut self, wanted: &WantedRelease) {
        if let Some(pending) = self.statements.get_mut(&wanted.claims()) {
            pending.due = Instant::now() + pause(pending.failures);
            pending.failures = pending.failures.saturating_add(1);
        }
    }

    /// These claims are wrong. Another statement may say the truth of the same release.
    pub fn refused(&mut self, wanted: &WantedRelease) {
        self.statements.remove(&wanted.claims());
    }

    /// The release is verified.
    pub fn done(&mut self, wanted: &WantedRelease) {
        self.statements
            .retain(|_, pending| pending.wanted.subject.release != wanted.subject.release);
    }

    /// Nobody wants this release any more; the newest statement that did.
    pub fn forget(&mut self, release: Digest) -> Option<WantedRelease> {
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

    /// Statements that are older than the one that is followed now.
    pub fn forget_before(&mut self, issued: Time) {
        self.statements
            .retain(|_, pending| pending.wanted.issued >= issued);
        if let Some(fetch) = &self.fetch
            && !self.statements.contains_key(&fetch.claims)
        {
            fetch.cancel.cancel();
        }
    }

    /// The daemon is about to end.
    pub fn stop(&self) {
        if let Some(fetch) = &self.fetch {
            fetch.cancel.cancel();
        }
    }
}
