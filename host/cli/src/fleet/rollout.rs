//! The progress of one release on the selected devices, from their events and statuses. Pure: no I/O.

use std::collections::BTreeMap;

use hotshoe_link::device_list::Unproven;
use hotshoe_protocol::status::{DeployEvent, Status, WaitReason};
use hotshoe_store::{Cause, Phase};
use hotshoe_trust::{Device, DeviceSelector, Digest, Time};
use serde::Serialize;

/// Causes for which a device permanently ignores an unsigned statement.
const UNSIGNED: &[&str] = &["unsigned_statement"];
/// Causes for which a device permanently ignores a signed statement.
const SIGNED_BY: &[&str] = &["unknown_signer", "signer_not_allowed"];

/// The state in which a device is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The release is live.
    Confirmed,
    /// The release is staged and waits to be activated.
    Staged,
}

/// The final state of the release on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The release is live.
    Confirmed,
    /// The release is staged.
    Staged,
    /// The device may not run it.
    Refused,
    /// The device could not run it.
    Failed,
    /// It served, and the previous release serves again.
    RolledBack,
    /// It was cancelled, or another release was published.
    Withdrawn,
    /// It was confirmed, and another release took its place.
    Displaced,
    /// A final state was claimed, but the device has not signed it although signatures are required.
    Unverified,
}

impl Outcome {
    /// Whether the goal is reached.
    pub(crate) const fn is_good(self) -> bool {
        matches!(self, Self::Confirmed | Self::Staged)
    }

    /// The text for people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Staged => "staged",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::Withdrawn => "withdrawn",
            Self::Displaced => "displaced",
            Self::Unverified => "not verified",
        }
    }
}

/// The progress of one device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeviceProgress {
    /// The latest event; none if the device was only seen.
    pub last: Option<DeployEvent>,
    /// What the device waits for.
    pub waiting: Option<WaitReason>,
    /// Samples of the trial so far, and how many it needs.
    pub samples: Option<(u64, u64)>,
    /// The final state, once there is one.
    pub outcome: Option<Outcome>,
    /// Why the device ignored statements, if it has reported nothing about this release.
    pub ignored: Vec<String>,
    /// Whether the device has signed this progress; otherwise it is only claimed.
    pub signed: bool,
    /// An unproven claim, which is ignored where signatures are required.
    pub claim: Option<Claim>,
    /// How far the device's clock is ahead of this machine's, in seconds.
    pub clock_ahead_s: Option<i64>,
    /// The number of daemons with the device's name.
    pub daemons: usize,
    /// The device's `ignored` counts at the first answer: earlier ones are not about this statement.
    before: Option<BTreeMap<String, u64>>,
}

impl DeviceProgress {
    const SEEN: Self = Self {
        last: None,
        waiting: None,
        samples: None,
        outcome: None,
        ignored: Vec::new(),
        signed: false,
        claim: None,
        clock_ahead_s: None,
        daemons: 1,
        before: None,
    };

    /// The latest phase.
    pub(crate) fn phase(&self) -> Phase {
        self.last.as_ref().map_or(Phase::Absent, |last| last.phase)
    }

    /// Why it was refused, failed or rolled back, or why the last attempt failed.
    pub(crate) fn cause(&self) -> Option<&Cause> {
        self.last.as_ref().and_then(|last| last.cause.as_ref())
    }

    /// Bytes on the device's disk, and total bytes of the release.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.last
            .as_ref()
            .map_or((0, 0), |last| (last.fetched, last.total))
    }
}

/// An unproven claim about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The claimed phase.
    pub phase: Phase,
    /// Why it is unproven.
    pub why: Unproven,
}

/// What a message changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// Nothing, or the message was about another release or device.
    None,
    /// A number.
    Figure,
    /// The phase, its cause, or what the device waits for.
    Phase,
}

/// One release on all selected devices.
#[derive(Debug)]
pub(crate) struct Rollout {
    release: Digest,
    goal: Goal,
    selector: DeviceSelector,
    /// Whether the statement is signed.
    signed: bool,
    devices: BTreeMap<String, DeviceProgress>,
}

impl Rollout {
    /// Tracks the release whose manifest has this digest. No device is known yet.
    pub(crate) fn new(release: Digest, goal: Goal, selector: DeviceSelector) -> Self {
        Self {
            release,
            goal,
            selector,
            signed: false,
            devices: BTreeMap::new(),
        }
    }

    /// Sets whether the statement is signed.
    pub(crate) const fn signed(mut self, signed: bool) -> Self {
        self.signed = signed;
        self
    }

    /// The selected devices that are known, by name.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (&str, &DeviceProgress)> {
        self.devices
            .iter()
            .map(|(name, progress)| (name.as_str(), progress))
    }

    /// The progress of one device.
    pub(crate) fn get(&self, device: &str) -> Option<&DeviceProgress> {
        self.devices.get(device)
    }

    /// Whether there are at least `least` devices and all have a final state.
    pub(crate) fn are_over(&self, least: usize) -> bool {
        self.devices.len() >= least && self.devices.values().all(|it| it.outcome.is_some())
    }

    /// Whether all devices reached the goal.
    pub(crate) fn are_good(&self) -> bool {
        self.devices
            .values()
            .all(|it| it.outcome.is_some_and(Outcome::is_good))
    }

    /// How many devices reached the goal.
    pub(crate) fn succeeded(&self) -> usize {
        self.devices
            .values()
            .filter(|it| it.outcome.is_some_and(Outcome::is_good))
            .count()
    }

    /// Records a device that is present but silent. Its labels are unknown, so it is selected only if the selector has no labels.
    pub(crate) fn add_device(&mut self, device: &str) -> Change {
        self.add_labelled(device, &BTreeMap::new())
    }

    /// Records a device's event.
    pub(crate) fn event(&mut self, event: &DeployEvent) -> Change {
        if event.release != self.release {
            return Change::None;
        }
        let seen = self.add_device(&event.device);
        let goal = self.goal;
        let Some(progress) = self.devices.get_mut(&event.device) else {
            return Change::None;
        };
        if progress.outcome.is_some() {
            return seen;
        }
        progress.outcome = outcome(event, None, goal);
        progress.waiting = None;
        seen.max(progress.take(event.clone()))
    }

    /// Records a device's status. A failure of an earlier attempt at the same release is ignored until `settled`: the device may not have read
    /// the new statement yet.
    pub(crate) fn status(&mut self, status: &Status, settled: bool, now: Time) -> Change {
        if !self.devices.contains_key(&status.device) {
            if !self.is_selected(&status.device, status.labels.clone()) {
                return Change::None;
            }
            self.devices
                .insert(status.device.clone(), DeviceProgress::SEEN);
        }
        let (release, goal, signed) = (self.release, self.goal, self.signed);
        let Some(progress) = self.devices.get_mut(&status.device) else {
            return Change::None;
        };
        progress.clock_ahead_s = status.time.map(|time| now.duration_until(time).as_secs());
        if let Some(change) = progress.take_displaced(status, release) {
            return change;
        }
        let Some(event) = event_in(status, release, now) else {
            return progress.record_ignored(status, signed);
        };
        let mine = status.deploy.release == Some(release);
        let waiting = status.deploy.waiting.filter(|_| mine);
        let outcome = outcome(&event, waiting, goal);
        let outcome =
            outcome.filter(|it| *it != Outcome::Confirmed || !is_replaced_next(status, release));
        let is_early = !settled && outcome.is_some_and(|outcome| !outcome.is_good());
        if progress.outcome.is_some() || is_early {
            return Change::None;
        }
        let trial = status.slots.trial.as_ref();
        let samples = trial
            .filter(|trial| trial.slot.release == release)
            .map(|trial| (trial.samples, trial.wanted_samples));
        progress.outcome = outcome;
        let waits = waiting != progress.waiting;
        let counts = samples != progress.samples;
        // The trial does not advance without samples, so say once that it waits for them.
        let waits = waits
            || (counts && samples.is_some_and(|(samples, wanted)| samples == 0 && wanted > 0));
        progress.waiting = waiting;
        progress.samples = samples;
        let change = progress.take(event);
        match (waits, counts) {
            (true, _) => Change::Phase,
            (false, true) => change.max(Change::Figure),
            (false, false) => change,
        }
    }

    /// Notes that several daemons have a device's name. Whether that is new.
    pub(crate) fn same_name(&mut self, device: &str, daemons: usize) -> bool {
        self.devices.get_mut(device).is_some_and(|progress| {
            let are_more = daemons > progress.daemons;
            progress.daemons = daemons.max(progress.daemons);
            are_more
        })
    }

    /// The device has signed the next message. Earlier claims in its name are dropped.
    pub(crate) fn mark_proven(&mut self, device: &str) {
        let Some(progress) = self.devices.get_mut(device) else {
            return;
        };
        progress.signed = true;
        progress.claim = None;
        if progress.outcome == Some(Outcome::Unverified) {
            progress.outcome = None;
        }
    }

    /// Records an unproven event where signatures are required. It does not count. If it claims a final state and the device has signed
    /// nothing, the device is `Unverified` once `settled`.
    pub(crate) fn claimed(&mut self, event: &DeployEvent, why: Unproven, settled: bool) -> Change {
        if event.release != self.release {
            return Change::None;
        }
        let seen = self.add_device(&event.device);
        seen.max(self.claim(event, None, why, settled))
    }

    /// Records an unproven status, as [`Self::claimed`] does.
    pub(crate) fn claimed_status(
        &mut self,
        status: &Status,
        why: Unproven,
        settled: bool,
        now: Time,
    ) -> Change {
        let seen = self.add_labelled(&status.device, &status.labels);
        let waiting = status.deploy.waiting;
        let claimed = event_in(status, self.release, now).map_or(Change::None, |event| {
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
        let Some(progress) = self.devices.get_mut(&event.device) else {
            return Change::None;
        };
        if progress.signed || progress.outcome.is_some() {
            return Change::None;
        }
        let claim = Some(Claim {
            phase: event.phase,
            why,
        });
        let is_end = settled && outcome(event, waiting, goal).is_some();
        if progress.claim == claim && !is_end {
            return Change::None;
        }
        progress.claim = claim;
        progress.outcome = is_end.then_some(Outcome::Unverified);
        Change::Phase
    }

    fn add_labelled(&mut self, device: &str, labels: &BTreeMap<String, String>) -> Change {
        if self.devices.contains_key(device) || !self.is_selected(device, labels.clone()) {
            return Change::None;
        }
        self.devices.insert(device.to_owned(), DeviceProgress::SEEN);
        Change::Phase
    }

    fn is_selected(&self, device: &str, labels: BTreeMap<String, String>) -> bool {
        let device = Device {
            name: device.to_owned(),
            site: String::new(),
            labels,
        };
        self.selector.matches(&device).is_ok()
    }
}

impl DeviceProgress {
    /// Records why the device may have ignored the statement, if it reports nothing about the release.
    fn record_ignored(&mut self, status: &Status, signed: bool) -> Change {
        let before = self.before.get_or_insert_with(|| status.ignored.clone());
        // Statements for other devices and repeated ones are always ignored.
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
        // Waiting does not change who signed. The cause must fit this statement, because others are counted too.
        let permanent = if signed { SIGNED_BY } else { UNSIGNED };
        if ignored
            .iter()
            .any(|name| permanent.contains(&name.as_str()))
        {
            self.outcome = Some(Outcome::Failed);
        }
        self.ignored = ignored;
        Change::Phase
    }

    /// Ends a confirmed release in whose place another one is live.
    fn take_displaced(&mut self, status: &Status, release: Digest) -> Option<Change> {
        let previous = status.slots.previous.as_ref();
        let was_live = previous.is_some_and(|slot| slot.release == release);
        let last = self.last.as_mut().filter(|last| {
            // The event of its confirmation may be lost.
            last.phase == Phase::Live || (last.phase == Phase::Trial && was_live)
        })?;
        let is_over = self.outcome.is_some_and(|it| it != Outcome::Confirmed);
        let trial = status.slots.trial.as_ref().map(|trial| &trial.slot);
        let is_on_trial = trial.is_some_and(|slot| slot.release == release);
        let live = status.slots.live.as_ref()?;
        if is_over
            || is_on_trial
            || live.release == release
            || status.deploy.release == Some(release)
        {
            return None;
        }
        let message = format!(
            "`{}` generation {} is live instead: another statement requested it",
            live.name, live.generation
        );
        last.cause = Some(Cause::new("displaced", message));
        self.outcome = Some(Outcome::Displaced);
        Some(Change::Phase)
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

/// The final state that an event means for this goal.
fn outcome(event: &DeployEvent, waiting: Option<WaitReason>, goal: Goal) -> Option<Outcome> {
    match event.phase {
        Phase::Absent if event.cause.is_some() => Some(Outcome::Withdrawn),
        // It is not the last word; the status shows how the other release ends.
        Phase::Live if is_replaced(event) => None,
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

/// Whether another release is tried right after this one was confirmed.
fn is_replaced(event: &DeployEvent) -> bool {
    let cause = event.cause.as_ref();
    cause.is_some_and(|cause| cause.name == DeployEvent::REPLACED_NEXT)
}

/// Whether the device processes another verified release, which replaces this one if it passes.
fn is_replaced_next(status: &Status, release: Digest) -> bool {
    let deploy = &status.deploy;
    let waits_for_operator = matches!(
        deploy.waiting,
        Some(WaitReason::Activation | WaitReason::Window)
    );
    let is_at_work = matches!(
        deploy.phase,
        Phase::Verified | Phase::Staged | Phase::SelfTested | Phase::Shadow | Phase::Trial
    );
    is_at_work && !waits_for_operator && deploy.release.is_some_and(|other| other != release)
}

/// The event that corresponds to what a status says about a release.
fn event_in(status: &Status, release: Digest, now: Time) -> Option<DeployEvent> {
    let slots = &status.slots;
    let trial = slots.trial.as_ref().map(|trial| &trial.slot);
    // A live release that cannot serve is not confirmed; `deploy` says why.
    let live = slots
        .live
        .as_ref()
        .filter(|_| status.cannot_serve.is_none());
    let serving = [(Phase::Trial, trial), (Phase::Live, live)]
        .into_iter()
        .find_map(|(phase, slot)| {
            slot.filter(|slot| slot.release == release)
                .map(|slot| (phase, slot))
        });
    let deploy = &status.deploy;
    let mine = deploy.release == Some(release);
    let (phase, name, generation) = match serving {
        // A confirmed release is in both slots for a moment.
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
