//! Statements whose releases are not verified yet. They wait here in bounded number, and one at a time gets its package fetched, so that
//! a flood of them costs a verified release nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hotshoe_trust::{Digest, Time};

use crate::delivery::Cancel;
use crate::deploy::reporter::Subject;

/// Most release names of which a statement waits. A further one takes the place of the oldest.
const MAX_ERRANDS: usize = 64;
/// How long one package may take while other statements wait, in seconds.
const PATIENCE_S: u64 = 10;
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
}

/// Statements that wait, and the one that is seen to.
#[derive(Debug, Default)]
pub struct Scout {
    errands: BTreeMap<String, Errand>,
    out: Option<Out>,
}

#[derive(Debug)]
struct Errand {
    wanted: Wanted,
    failures: u32,
    due: Instant,
}

#[derive(Debug)]
struct Out {
    wanted: Wanted,
    ticket: u64,
    cancel: Cancel,
    since: Instant,
}

/// The pause after so many failures in a row.
pub fn pause(failures: u32) -> Duration {
    Duration::from_millis(FIRST_PAUSE_MS)
        .saturating_mul(2_u32.saturating_pow(failures.min(16)))
        .min(Duration::from_secs(LONGEST_PAUSE_S))
}

impl Scout {
    /// Takes a statement in. A newer one takes the place of an older one of the same name. False where it is known already.
    pub fn add(&mut self, wanted: Wanted) -> bool {
        let name = wanted.subject.name.clone();
        let known = self.errands.get(&name).map(|errand| &errand.wanted);
        let out = self.out.as_ref().map(|out| &out.wanted);
        let newer_is_known = known
            .into_iter()
            .chain(out.filter(|out| out.subject.name == name))
            .any(|other| *other == wanted || other.issued > wanted.issued);
        if newer_is_known {
            return false;
        }
        if let Some(out) = self
            .out
            .as_ref()
            .filter(|out| out.wanted.subject.name == name)
        {
            out.cancel.cancel();
        }
        if self.errands.len() >= MAX_ERRANDS && !self.errands.contains_key(&name) {
            let oldest = self
                .errands
                .iter()
                .min_by_key(|(_, errand)| errand.wanted.issued);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.errands.remove(&oldest);
            }
        }
        let errand = Errand {
            wanted,
            failures: 0,
            due: Instant::now(),
        };
        self.errands.insert(name, errand);
        true
    }

    /// The newest statement that may be seen to now.
    pub fn next(&self) -> Option<Wanted> {
        let newest = self.due().max_by_key(|errand| errand.wanted.issued)?;
        Some(newest.wanted.clone())
    }

    /// Calls the one that is out back if it takes long and others wait.
    pub fn hurry(&self) {
        if let Some(out) = &self.out
            && out.since.elapsed() > Duration::from_secs(PATIENCE_S)
            && self.due().any(|errand| errand.wanted != out.wanted)
        {
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
    pub fn went(&mut self, wanted: Wanted, ticket: u64, cancel: Cancel) {
        self.out = Some(Out {
            wanted,
            ticket,
            cancel,
            since: Instant::now(),
        });
    }

    /// The fetch with this ticket has ended. None where its statement is not wanted any more.
    pub fn came_back(&mut self, ticket: u64) -> Option<Wanted> {
        let out = self.out.take_if(|out| out.ticket == ticket)?;
        let errand = self.errands.get(&out.wanted.subject.name)?;
        (errand.wanted == out.wanted).then_some(out.wanted)
    }

    /// It did not end well, and is tried again later.
    pub fn again(&mut self, wanted: &Wanted) {
        if let Some(errand) = self.errands.get_mut(&wanted.subject.name) {
            errand.due = Instant::now() + pause(errand.failures);
            errand.failures = errand.failures.saturating_add(1);
        }
    }

    /// The statement of this name is done with.
    pub fn done(&mut self, wanted: &Wanted) {
        self.errands
            .retain(|_, errand| errand.wanted.subject.release != wanted.subject.release);
    }

    /// Nobody wants this release any more; the statement that did.
    pub fn forget(&mut self, release: Digest) -> Option<Wanted> {
        if let Some(out) = &self.out
            && out.wanted.subject.release == release
        {
            out.cancel.cancel();
        }
        let mut wants = self.errands.values().map(|errand| &errand.wanted);
        let wanted = wants.find(|w| w.subject.release == release)?.clone();
        self.errands.remove(&wanted.subject.name);
        Some(wanted)
    }

    /// Statements that are older than the one that is followed now.
    pub fn forget_before(&mut self, issued: Time) {
        self.errands
            .retain(|_, errand| errand.wanted.issued >= issued);
        if let Some(out) = self.out.as_ref().filter(|out| out.wanted.issued < issued) {
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
