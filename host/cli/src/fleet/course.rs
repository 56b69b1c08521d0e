//! What becomes of one release on the devices that are meant, as their events and statuses tell it. Pure.

use std::collections::BTreeMap;

use hotshoe_link::device_list::Unproven;
use hotshoe_protocol::status::{DeployEvent, Status, WaitReason};
use hotshoe_store::{Cause, Phase};
use hotshoe_trust::{Device, DeviceSelector, Digest, Time};
use serde::Serialize;

/// Why a statement that nobody signed is left aside for good.
const UNSIGNED: &[&str] = &["unsigned_statement"];
/// Why one that is signed is left aside for good.
const SIGNED_BY: &[&str] = &["unknown_signer", "signer_not_allowed"];

/// When a device has done what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The release is live.
    Confirmed,
    /// It is staged and waits to be activated.
    Staged,
}

/// How it ended on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is live.
    Confirmed,
    /// It is staged.
    Staged,
    /// It may not run there.
    Refused,
    /// It could not be made to run.
    Failed,
    /// It served, and the one before it serves again.
    RolledBack,
    /// Somebody cancelled it, or published another.
    Withdrawn,
    /// It is said to have come to an end, and the device has not signed that, though it was asked to.
    Unverified,
}

impl Outcome {
    /// Whether that is what was asked.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Confirmed | Self::Staged)
    }

    /// As people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Staged => "staged",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::Withdrawn => "withdrawn",
            Self::Unverified => "not verified",
        }
    }
}

/// How far one device is.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// The latest that is known; none where the device was only seen.
    pub last: Option<DeployEvent>,
    /// What it waits for.
    pub waiting: Option<WaitReason>,
    /// Samples of the trial, and how many it needs.
    pub samples: Option<(u64, u64)>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why the device has left statements aside, where it has said nothing of this release.
    pub ignored: Vec<String>,
    /// Whether the device has signed what is known of it; else it is what somebody claims.
    pub signed: bool,
    /// What is claimed and counts for nothing, where signatures are asked for.
    pub claim: Option<Claim>,
    /// The device's counts when it was first asked: what was left aside before says nothing of this statement.
    before: Option<BTreeMap<String, u64>>,
}

impl Course {
    const SEEN: Self = Self {
        last: None,
        waiting: None,
        samples: None,
        outcome: None,
        ignored: Vec::new(),
        signed: false,
        claim: None,
        before: None,
    };

    /// Its phase.
    pub fn phase(&self) -> Phase {
        self.last.as_ref().map_or(Phase::Absent, |last| last.phase)
    }

    /// Why it was refused, failed or rolled back, or why the last try did not end well.
    pub fn cause(&self) -> Option<&Cause> {
        self.last.as_ref().and_then(|last| last.cause.as_ref())
    }

    /// Bytes on the device's disk, and bytes of the release.
    pub fn bytes(&self) -> (u64, u64) {
        self.last
            .as_ref()
            .map_or((0, 0), |last| (last.fetched, last.total))
    }
}

/// What somebody says of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The phase.
    pub phase: Phase,
    /// Why it counts for nothing.
    pub why: Unproven,
}

/// How much a message changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing, or it was about something else.
    None,
    /// A figure.
    Figure,
    /// The phase, its cause, or what it waits for.
    Phase,
}

/// One release on all devices that are meant.
#[derive(Debug)]
pub struct Courses {
    release: Digest,
    goal: Goal,
    selector: DeviceSelector,
    /// Whether the statement is signed.
    signed: bool,
    devices: BTreeMap<String, Course>,
}

impl Courses {
    /// Of the release whose manifest has this digest. No device is known yet.
    pub fn new(release: Digest, goal: Goal, selector: DeviceSelector) -> Self {
        Self {
            release,
            goal,
            selector,
            signed: false,
            devices: BTreeMap::new(),
        }
    }

    /// Brought by a statement that is signed, or is not.
    pub const fn signed(mut self, signed: bool) -> Self {
        self.signed = signed;
        self
    }

    /// The devices that are known to be meant, by name.
    pub fn devices(&self) -> impl Iterator<Item = (&str, &Course)> {
        self.devices
            .iter()
            .map(|(name, course)| (name.as_str(), course))
    }

    /// The course of one device.
    pub fn get(&self, device: &str) -> Option<&Course> {
        self.devices.get(device)
    }

    /// Whether all of at least `least` devices have come to an end.
    pub fn are_over(&self, least: usize) -> bool {
        self.devices.len() >= least && self.devices.values().all(|it| it.outcome.is_some())
    }

    /// Whether all ended well.
    pub fn are_good(&self) -> bool {
        self.devices
            .values()
            .all(|it| it.outcome.is_some_and(Outcome::is_good))
    }

    /// How many ended well.
    pub fn good(&self) -> usize {
        self.devices
            .values()
            .filter(|it| it.outcome.is_some_and(Outcome::is_good))
            .count()
    }

    /// A device is there that has said nothing yet. Its labels are not known, so it is only meant where none are asked for.
    pub fn seen(&mut self, device: &str) -> Change {
        self.seen_with(device, &BTreeMap::new())
    }

    /// A device said something.
    pub fn event(&mut self, event: &DeployEvent) -> Change {
        if event.release != self.release {
            return Change::None;
        }
        let seen = self.seen(&event.device);
        let goal = self.goal;
        let Some(course) = self.devices.get_mut(&event.device) else {
            return Change::None;
        };
        if course.outcome.is_some() {
            return seen;
        }
        course.outcome = outcome(event, None, goal);
        course.waiting = None;
        seen.max(course.take(event.clone()))
    }

    /// A device was asked. What it says of an earlier try of the same release is left aside until `settled`: it may not have read
    /// the new statement yet.
    pub fn status(&mut self, status: &Status, settled: bool, now: Time) -> Change {
        if !self.devices.contains_key(&status.device) {
            if !self.is_meant(&status.device, status.labels.clone()) {
                return Change::None;
            }
            self.devices.insert(status.device.clone(), Course::SEEN);
        }
        let (release, goal, signed) = (self.release, self.goal, self.signed);
        let Some(course) = self.devices.get_mut(&status.device) else {
            return Change::None;
        };
        let Some(event) = told(status, release, now) else {
            return course.leave_aside(status, signed);
        };
        let mine = status.deploy.release == Some(release);
        let waiting = status.deploy.waiting.filter(|_| mine);
        let outcome = outcome(&event, waiting, goal);
        let is_early = !settled && outcome.is_some_and(|outcome| !outcome.is_good());
        if course.outcome.is_some() || is_early {
            return Change::None;
        }
        let trial = status.slots.trial.as_ref();
        let samples = trial
            .filter(|trial| trial.slot.release == release)
            .map(|trial| (trial.samples, trial.wanted_samples));
        course.outcome = outcome;
        let waits = waiting != course.waiting;
        let counts = samples != course.samples;
        // Nothing else may happen until somebody sends samples, so that is said once.
        let waits = waits
            || (counts && samples.is_some_and(|(samples, wanted)| samples == 0 && wanted > 0));
        course.waiting = waiting;
        course.samples = samples;
        let change = course.take(event);
        match (waits, counts) {
            (true, _) => Change::Phase,
            (false, true) => change.max(Change::Figure),
            (false, false) => change,
        }
    }

    /// The device itself said what comes next: it has signed it. What was claimed in its name before is forgotten.
    pub fn proved(&mut self, device: &str) {
        let Some(course) = self.devices.get_mut(device) else {
            return;
        };
        course.signed = true;
        course.claim = None;
        if course.outcome == Some(Outcome::Unverified) {
            course.outcome = None;
        }
    }

    /// Somebody said this of a device where signatures are asked for. It counts for nothing. Where it claims an end and the device
    /// itself has signed nothing, there is nothing to wait for once it is `settled`.
    pub fn claimed(&mut self, event: &DeployEvent, why: Unproven, settled: bool) -> Change {
        if event.release != self.release {
            return Change::None;
        }
        let seen = self.seen(&event.device);
        seen.max(self.claim(event, None, why, settled))
    }

    /// The same, of a status.
    pub fn claimed_status(
        &mut self,
        status: &Status,
        why: Unproven,
        settled: bool,
        now: Time,
    ) -> Change {
        let seen = self.seen_with(&status.device, &status.labels);
        let waiting = status.deploy.waiting;
        let claimed = told(status, self.release, now).map_or(Change::None, |event| {
            self.claim(&event, waiting, why, settled)
        });
        seen.max(claimed)
    }

    fn claim(
        &mut self,
        event: &DeployEvent,
        waiting: Option<WaitReason>,
        why: Unproven,
        settled: bool,
    ) -> Change {
        let goal = self.goal;
        let Some(course) = self.devices.get_mut(&event.device) else {
            return Change::None;
        };
        if course.signed || course.outcome.is_some() {
            return Change::None;
        }
        let claim = Some(Claim {
            phase: event.phase,
            why,
        });
        let is_end = settled && outcome(event, waiting, goal).is_some();
        if course.claim == claim && !is_end {
            return Change::None;
        }
        course.claim = claim;
        course.outcome = is_end.then_some(Outcome::Unverified);
        Change::Phase
    }

    fn seen_with(&mut self, device: &str, labels: &BTreeMap<String, String>) -> Change {
        if self.devices.contains_key(device) || !self.is_meant(device, labels.clone()) {
            return Change::None;
        }
        self.devices.insert(device.to_owned(), Course::SEEN);
        Change::Phase
    }

    fn is_meant(&self, device: &str, labels: BTreeMap<String, String>) -> bool {
        let device = Device {
            name: device.to_owned(),
            site: String::new(),
            labels,
        };
        self.selector.matches(&device).is_ok()
    }
}

impl Course {
    /// The device says nothing of the release: why it may have left the statement aside.
    fn leave_aside(&mut self, status: &Status, signed: bool) -> Change {
        let before = self.before.get_or_insert_with(|| status.ignored.clone());
        // Statements for others, and those it knows already, are left aside all the time.
        let names = status
            .ignored
            .iter()
            .filter(|(name, count)| before.get(*name).is_none_or(|before| before < *count))
            .map(|(name, _)| name)
            .filter(|name| !["other_device", "same"].contains(&name.as_str()));
        let ignored: Vec<String> = names.cloned().collect();
        if self.last.is_some() || ignored.is_empty() || self.ignored == ignored {
            return Change::None;
        }
        // WaitReason changes nothing about who signed. Another's statement is left aside too, but not for what this one is not.
        let final_names = if signed { SIGNED_BY } else { UNSIGNED };
        if ignored
            .iter()
            .any(|name| final_names.contains(&name.as_str()))
        {
            self.outcome = Some(Outcome::Failed);
        }
        self.ignored = ignored;
        Change::Phase
    }

    fn take(&mut self, event: DeployEvent) -> Change {
        let change = match &self.last {
            Some(last) if last.phase == event.phase && last.cause == event.cause => {
                if (last.fetched, last.total) == (event.fetched, event.total) {
                    Change::None
                } else {
                    Change::Figure
                }
            }
            _ => Change::Phase,
        };
        self.last = Some(event);
        change
    }
}

/// What an event means for the goal.
fn outcome(event: &DeployEvent, waiting: Option<WaitReason>, goal: Goal) -> Option<Outcome> {
    match event.phase {
        Phase::Absent if event.cause.is_some() => Some(Outcome::Withdrawn),
        Phase::Live => Some(Outcome::Confirmed),
        Phase::Refused => Some(Outcome::Refused),
        Phase::Failed => Some(Outcome::Failed),
        Phase::RolledBack => Some(Outcome::RolledBack),
        _ if goal == Goal::Staged && waiting == Some(WaitReason::Activation) => {
            Some(Outcome::Staged)
        }
        _ => None,
    }
}

/// What a status says of a release, as the device would say it in an event.
fn told(status: &Status, release: Digest, now: Time) -> Option<DeployEvent> {
    let slots = &status.slots;
    let trial = slots.trial.as_ref().map(|trial| &trial.slot);
    let serving = [(Phase::Trial, trial), (Phase::Live, slots.live.as_ref())]
        .into_iter()
        .find_map(|(phase, slot)| {
            slot.filter(|slot| slot.release == release)
                .map(|slot| (phase, slot))
        });
    let deploy = &status.deploy;
    let mine = deploy.release == Some(release);
    let (phase, name, generation) = match serving {
        // A confirmed release stands in both for a moment.
        Some((phase, slot)) => (phase, slot.name.clone(), slot.generation),
        None if mine => (
            deploy.phase,
            deploy.name.clone().unwrap_or_default(),
            deploy.generation.unwrap_or_default(),
        ),
        None => return None,
    };
    Some(DeployEvent {
        site: status.site.clone(),
        device: status.device.clone(),
        release,
        name,
        generation,
        phase,
        fetched: if mine { deploy.fetched } else { 0 },
        total: if mine { deploy.total } else { 0 },
        cause: deploy.cause.clone().filter(|_| mine),
        statement: None,
        at: now,
    })
}

#[cfg(test)]
mod tests;
