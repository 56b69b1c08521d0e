//! Statements whose releases are not verified yet. They wait here in bounded number, and one at a time gets its package fetched, so that
//! a flood of them costs a verified release nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hotshoe_delivery::Cancel;
use hotshoe_trust::{Digest, Time};

use crate::deploy::reporter::Subject;

/// Most statements that wait. Beyond it, the least of them makes room.
const MAX_ERRANDS: usize = 64;
/// The longest that one package may take while other statements wait, in seconds. It is less at first: as long as the pause after
/// as many failures.
const PATIENCE_S: u64 = 10;
/// How long a package may take before the status says that nobody answers for it, in seconds.
const ANSWER_S: u64 = 5;
/// The first pause after a failure, in milliseconds; each further one is twice as long.
const FIRST_PAUSE_MS: u64 = 500;
/// The longest pause after a failure, in seconds.
const LONGEST_PAUSE_S: u64 = 30;

/// What a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
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

impl Wanted {
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
pub struct Scout {
    errands: BTreeMap<Digest, Errand>,
    out: Option<Out>,
}

#[derive(Debug)]
struct Errand {
    wanted: Wanted,
    failures: u32,
    due: Instant,
}

impl Errand {
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
struct Out {
    claims: Digest,
    release: Digest,
    ticket: u64,
    cancel: Cancel,
    since: Instant,
    /// Whether it was said that nobody answers.
    missed: bool,
}

/// The pause after so many failures in a row.
pub fn pause(failures: u32) -> Duration {
    Duration::from_millis(FIRST_PAUSE_MS)
        .saturating_mul(2_u32.saturating_pow(failures.min(16)))
        .min(Duration::from_secs(LONGEST_PAUSE_S))
}

impl Scout {
    /// Takes a statement in. With the claims of one that waits already, it is that one, said once more.
    pub fn add(&mut self, wanted: Wanted) {
        let claims = wanted.claims();
        if let Some(errand) = self.errands.get_mut(&claims) {
            let known = &mut errand.wanted;
            known.signed |= wanted.signed;
            if wanted.issued > known.issued {
                known.issued = wanted.issued;
                known.activate |= wanted.activate;
                known.subject.statement = wanted.subject.statement;
            }
            return;
        }
        let errand = Errand {
            wanted,
            failures: 0,
            due: Instant::now(),
        };
        self.errands.insert(claims, errand);
        if self.errands.len() > MAX_ERRANDS {
            let ranked = self.errands.iter();
            let least = ranked.min_by_key(|(_, errand)| errand.rank());
            if let Some(least) = least.map(|(claims, _)| *claims) {
                self.errands.remove(&least);
            }
        }
    }

    /// The first of the statements that may be seen to now.
    pub fn next(&self) -> Option<Wanted> {
        let first = self.due().max_by_key(|errand| errand.rank())?;
        Some(first.wanted.clone())
    }

    /// Calls the one that is out back if it takes long and others wait.
    pub fn hurry(&self) {
        let Some(out) = &self.out else {
            return;
        };
        let failures = self.errands.get(&out.claims).map_or(0, |e| e.failures);
        let patience = pause(failures).min(Duration::from_secs(PATIENCE_S));
        let others = self
            .due()
            .any(|errand| errand.wanted.claims() != out.claims);
        if others && out.since.elapsed() > patience {
            out.cancel.cancel();
        }
    }

    fn due(&self) -> impl Iterator<Item = &Errand> {
        let now = Instant::now();
        self.errands
            .values()
            .filter(move |errand| errand.due <= now)
    }

    /// The release of the newest statement.
    pub fn newest(&self) -> Option<Digest> {
        let newest = self
            .errands
            .values()
            .max_by_key(|errand| errand.wanted.issued)?;
        Some(newest.wanted.subject.release)
    }

    /// Its package is being fetched.
    pub fn went(&mut self, wanted: &Wanted, ticket: u64, cancel: Cancel) {
        self.out = Some(Out {
            claims: wanted.claims(),
            release: wanted.subject.release,
            ticket,
            cancel,
            since: Instant::now(),
            missed: false,
        });
    }

    /// The one that is out, once, when nobody has answered it for a while.
    pub fn missed(&mut self) -> Option<Wanted> {
        let waits = Duration::from_secs(ANSWER_S);
        let out = self.out.as_mut()?;
        if out.missed || out.since.elapsed() < waits {
            return None;
        }
        out.missed = true;
        let errand = self.errands.get(&out.claims)?;
        Some(errand.wanted.clone())
    }

    /// The fetch with this ticket has ended. None where its statement is not wanted any more.
    pub fn came_back(&mut self, ticket: u64) -> Option<Wanted> {
        let out = self.out.take_if(|out| out.ticket == ticket)?;
        let errand = self.errands.get(&out.claims)?;
        Some(errand.wanted.clone())
    }

    /// It did not end well, and is tried again later.
    pub fn again(&mut self, wanted: &Wanted) {
        if let Some(errand) = self.errands.get_mut(&wanted.claims()) {
            errand.due = Instant::now() + pause(errand.failures);
            errand.failures = errand.failures.saturating_add(1);
        }
    }

    /// These claims are wrong. Another statement may say the truth of the same release.
    pub fn refused(&mut self, wanted: &Wanted) {
        self.errands.remove(&wanted.claims());
    }

    /// The release is verified.
    pub fn done(&mut self, wanted: &Wanted) {
        self.errands
            .retain(|_, errand| errand.wanted.subject.release != wanted.subject.release);
    }

    /// Nobody wants this release any more; the newest statement that did.
    pub fn forget(&mut self, release: Digest) -> Option<Wanted> {
        if let Some(out) = &self.out
            && out.release == release
        {
            out.cancel.cancel();
        }
        let wants = self.errands.values().map(|errand| &errand.wanted);
        let newest = wants
            .filter(|wanted| wanted.subject.release == release)
            .max_by_key(|wanted| wanted.issued)?
            .clone();
        self.done(&newest);
        Some(newest)
    }

    /// Statements that are older than the one that is followed now.
    pub fn forget_before(&mut self, issued: Time) {
        self.errands
            .retain(|_, errand| errand.wanted.issued >= issued);
        if let Some(out) = &self.out
            && !self.errands.contains_key(&out.claims)
        {
            out.cancel.cancel();
        }
    }

    /// The daemon is about to end.
    pub fn stop(&self) {
        if let Some(out) = &self.out {
            out.cancel.cancel();
        }
    }
}
