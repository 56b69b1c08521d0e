//! The registry's part in rollouts: it keeps what is stated, counts the devices of its site by their reports, and publishes the counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use hotshoe_base::Clock;
use hotshoe_link::device_list::DeviceList;
use hotshoe_link::{CountAnnouncement, DeviceMessage, RawNotice};
use hotshoe_protocol::rollout::{DeviceReport, StatedRollout};
use hotshoe_rollout::{
    Fleet, Rollout, Rollouts, SiteDevices, Summary, first_number, report_interval_s,
};
use hotshoe_trust::{Device, Time, TrustRoot, time_of};
use parking_lot::Mutex;

use super::work::RegistryWorker;
use crate::rollout_file::RolloutFile;

/// Most reports that wait. A device repeats its report, so that a lost one comes again.
const WAITING_REPORTS: usize = 4_096;
/// Most rollouts that are kept after others took their place.
const MAX_PAST: usize = 64;
/// How often the thread looks whether a count is due.
const TICK: Duration = Duration::from_secs(1);
/// How long a rollout is counted after its plan has expired, in seconds.
const COUNTED_AFTER_S: i64 = 24 * 3_600;

/// A report as it arrived.
pub(super) type Reported = DeviceMessage<DeviceReport>;

/// The rollouts of the site. Its state is one lock, which is never held while the worker's is waited for.
pub(super) struct RolloutBook {
    site: String,
    name: String,
    clock: Clock,
    file: RolloutFile,
    state: Mutex<BookState>,
}

struct BookState {
    rollouts: Rollouts,
    devices: BTreeMap<String, SiteDevices>,
    /// Rollouts whose place others took, oldest first.
    past: Vec<StatedRollout>,
    /// The devices of the site, if they are known: reports of others do not count.
    list: Option<DeviceList>,
}

/// The channel of reports to the thread that counts.
pub(super) fn channel() -> (SyncSender<Reported>, Receiver<Reported>) {
    sync_channel(WAITING_REPORTS)
}

/// Hands a report to the thread that counts, without waiting.
pub(super) fn hand_on(sender: &SyncSender<Reported>, said: Reported) {
    if sender.try_send(said).is_err() {
        tracing::debug!("too many reports about rollouts at once; a device repeats its report");
    }
}

/// The list of devices. Without a readable one, no device is listed: what cannot be checked must not count.
pub(super) fn device_list(folder: Option<&Path>) -> Option<DeviceList> {
    let list = DeviceList::load(folder?);
    Some(list.unwrap_or_else(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the devices' keys cannot be read; no report about a rollout counts"
        );
        DeviceList::default()
    }))
}

impl RolloutBook {
    pub(super) fn open(
        data: &Path,
        (site, name): (&str, &str),
        trust: &TrustRoot,
        list: Option<DeviceList>,
        clock: Clock,
    ) -> Self {
        let (file, stored) = RolloutFile::open(data, trust, time_of(clock.wall()));
        let book = Self {
            site: site.to_owned(),
            name: name.to_owned(),
            file,
            state: Mutex::new(BookState {
                rollouts: Rollouts::default(),
                devices: BTreeMap::new(),
                past: stored.past,
                list,
            }),
            clock,
        };
        for rollout in stored.rollouts.iter() {
            let mut state = book.state.lock();
            book.begin(&mut state, rollout);
            let plan = rollout.plan();
            let interval_s = i64::try_from(report_interval_s(plan)).unwrap_or(i64::MAX);
            let settled_s = book.now().as_second().saturating_add(interval_s);
            let settled = Time::from_second(settled_s).unwrap_or(Time::MAX);
            let devices = state.devices.remove(&plan.name).unwrap_or_default();
            let devices = devices.counting_from(settled);
            state.devices.insert(plan.name.clone(), devices);
        }
        book.state.lock().rollouts = stored.rollouts;
        book
    }

    fn now(&self) -> Time {
        time_of(self.clock.wall())
    }

    /// Begins to count the devices of a rollout. Those on the list are expected; labels of a device are not known before it reports.
    fn begin(&self, state: &mut BookState, rollout: &Rollout) {
        let mut devices = SiteDevices::since(first_number(self.file.run()));
        let listed = state.list.iter().flat_map(DeviceList::names);
        let listed = listed.map(|name| Device {
            name: name.to_owned(),
            site: self.site.clone(),
            labels: BTreeMap::new(),
        });
        devices.expect(rollout.plan(), listed, self.now());
        let name = rollout.plan().name.clone();
        state.devices.insert(name, devices);
    }

    /// Takes what is stated about a rollout. The release of a new plan is fetched.
    pub(super) fn on_stated(&self, said: &RawNotice, worker: &RegistryWorker) {
        let stated = match StatedRollout::parse(&said.bytes) {
            Ok(stated) => stated,
            Err(error) => return worker.refuse(&said.name, error.name()),
        };
        let trust = worker.trust();
        let mut state = self.state.lock();
        let StatedRollout {
            plan, statements, ..
        } = &stated;
        let received = state.rollouts.receive(plan, statements, &trust, self.now());
        let received = match received {
            Ok(received) => received,
            Err(error) => return worker.refuse(&said.name, error.name()),
        };
        if let Some(error) = &received.refused {
            worker.refuse(&said.name, error.name());
        }
        let Some(rollout) = state.rollouts.get(&received.name).cloned() else {
            return;
        };
        if !received.is_changed {
            return;
        }
        if received.is_replaced {
            self.begin(&mut state, &rollout);
        }
        if let Some(older) = &received.older {
            state.past.push(StatedRollout::of(older));
            let over = state.past.len().saturating_sub(MAX_PAST);
            state.past.drain(..over);
        }
        if let Some(devices) = state.devices.get_mut(&received.name) {
            devices.touch();
        }
        self.save(&state);
        drop(state);
        worker.want_release(rollout.plan());
    }

    fn save(&self, state: &BookState) {
        if let Err(error) = self.file.save(&state.rollouts, &state.past) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot store the rollouts that are known; a restart asks for them again"
            );
        }
    }

    /// Other keys are trusted: what they do not sign is forgotten.
    pub(super) fn verify_again(&self, trust: &TrustRoot) {
        let mut state = self.state.lock();
        let valid = state.rollouts.verified_by(trust);
        state.devices.retain(|name, _| valid.get(name).is_some());
        state.rollouts = valid;
        self.save(&state);
    }

    /// The list of devices was read again.
    pub(super) fn set_list(&self, list: Option<DeviceList>) {
        let mut state = self.state.lock();
        if let Some(list) = &list {
            let names: BTreeSet<String> = list.names().map(str::to_owned).collect();
            for devices in state.devices.values_mut() {
                devices.keep_only(&names);
            }
        }
        state.list = list;
    }

    /// What is answered to queries, by the name of the release.
    pub(super) fn stated(&self) -> Vec<RawNotice> {
        let state = self.state.lock();
        let rollouts = state.rollouts.iter();
        rollouts
            .map(|rollout| RawNotice {
                name: rollout.plan().name.clone(),
                bytes: StatedRollout::of(rollout).to_bytes(),
            })
            .collect()
    }

    /// The rollouts with the devices of this site.
    pub(super) fn summaries(&self) -> Vec<Summary> {
        let (state, now) = (self.state.lock(), self.now());
        let names = (self.site.as_str(), self.name.as_str());
        let of_site = |rollout: &Rollout| {
            let devices = state.devices.get(&rollout.plan().name)?;
            let mut fleet = Fleet::default();
            let count = devices.current(rollout, names, now);
            fleet.hear(rollout.plan(), count, now).ok()?;
            Some(Summary::of(rollout, &fleet, now))
        };
        state.rollouts.iter().filter_map(of_site).collect()
    }

    /// Rollouts whose place others took, oldest first.
    pub(super) fn past(&self) -> Vec<StatedRollout> {
        self.state.lock().past.clone()
    }

    /// The releases of all rollouts are fetched, if they are not stored.
    pub(super) fn want_releases(&self, worker: &RegistryWorker) {
        let rollouts = self.state.lock().rollouts.clone();
        for rollout in rollouts.iter() {
            worker.want_release(rollout.plan());
        }
    }

    /// Takes reports and publishes counts, until the channel of reports is closed.
    pub(super) fn run(&self, reports: &Receiver<Reported>, counts: &CountAnnouncement) {
        let mut tick = self.clock.now();
        loop {
            match self.clock.recv_until(reports, tick) {
                Ok(said) => self.take(said),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if tick <= self.clock.now() {
                self.publish_due(counts);
                tick = self.clock.now() + TICK;
            }
        }
    }

    fn take(&self, said: Reported) {
        let mut state = self.state.lock();
        let BookState {
            rollouts,
            devices,
            list,
            ..
        } = &mut *state;
        // Without a list, what a device says is only claimed. The plan bounds how many there may be.
        if let Some(list) = list.as_ref()
            && let Err(why) = said.check(Some(list))
        {
            tracing::debug!(device = said.device, %why, "a report about a rollout does not count");
            return;
        }
        let DeviceReport {
            class,
            labels,
            report,
            ..
        } = said.value;
        let mut known = rollouts.iter();
        let Some(rollout) = known.find(|it| it.plan().digest() == report.plan) else {
            return;
        };
        let device = Device {
            name: said.device,
            site: self.site.clone(),
            labels,
        };
        if let Some(devices) = devices.get_mut(&rollout.plan().name) {
            devices.hear(rollout.plan(), &device, &class, report, self.now());
        }
    }

    fn publish_due(&self, counts: &CountAnnouncement) {
        let now = self.now();
        let mut state = self.state.lock();
        let BookState {
            rollouts, devices, ..
        } = &mut *state;
        for rollout in rollouts.iter() {
            let plan = rollout.plan();
            let over_s = now.as_second().saturating_sub(plan.expires.as_second());
            let Some(devices) = devices.get_mut(&plan.name) else {
                continue;
            };
            if over_s > COUNTED_AFTER_S {
                continue;
            }
            let names = (self.site.as_str(), self.name.as_str());
            let Some((count, _)) = devices.count(rollout, names, now) else {
                continue;
            };
            if let Err(error) = counts.publish(&plan.name, &count) {
                tracing::warn!(%error, "cannot publish the count of a rollout");
            }
        }
        counts.retain(|name| rollouts.get(name).is_some());
    }
}
