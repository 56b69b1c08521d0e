//! Asks the devices of the site while a page is open, and tells the pages what has changed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hotshoe_base::Clock;
use hotshoe_link::device_list::DeviceList;
use hotshoe_link::{Client, DeviceChange, DeviceReport, DeviceReports, LinkError};
use hotshoe_trust::{Time, time_of};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::row;
use super::table::Table;
use crate::error::PageRequestError;
use crate::sse::{EventBody, event};
use crate::streams::Streams;

/// The pause between two questions to all devices.
const ROUND_PAUSE: Duration = Duration::from_secs(3);
/// More of that pause for each device: 1,000 devices are asked every 13 s.
const PAUSE_PER_DEVICE: Duration = Duration::from_millis(10);
/// How long the devices have to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Most devices that are asked by name in one turn, because something happened to them.
const MAX_ASKED: usize = 32;
/// The pause after such a turn, in which further events gather.
const TURN_PAUSE: Duration = Duration::from_millis(100);
/// Events that wait for a slow page. If there are more, it gets everything again.
const WAITING_EVENTS: usize = 8;
/// How long the thread waits while no page is open. It is woken by the first one.
const IDLE: Duration = Duration::from_secs(3_600);

/// The last question to all devices.
#[derive(Debug, Clone, Serialize)]
struct Round {
    /// When it ended, by the registry's clock.
    at: Time,
    /// How long it took, in milliseconds.
    took_ms: u64,
    /// Known devices.
    devices: usize,
    /// Names that were left out since the question before, for lack of room or because they were too long.
    left_out: u64,
    /// Why the network could not be asked.
    error: Option<String>,
}

/// The devices of a site, and the pages that show them.
pub(super) struct Survey {
    site: String,
    registry: String,
    client: Client,
    clock: Clock,
    list: Mutex<Option<Arc<DeviceList>>>,
    table: Mutex<Table>,
    round: Mutex<Option<Round>>,
    wake: SyncSender<()>,
    events: broadcast::Sender<Bytes>,
    streams: Streams,
}

impl Survey {
    /// `wake` is the sender of the channel that [`Self::run`] gets.
    pub(super) fn new(
        site: &str,
        registry: &str,
        client: Client,
        clock: Clock,
        wake: SyncSender<()>,
    ) -> Self {
        Self {
            site: site.to_owned(),
            registry: registry.to_owned(),
            client,
            clock,
            list: Mutex::default(),
            table: Mutex::new(Table::new(site)),
            round: Mutex::default(),
            wake,
            events: broadcast::Sender::new(WAITING_EVENTS),
            streams: Streams::new(),
        }
    }

    /// Sets the keys that devices have to sign with. Without them every answer is claimed.
    pub(super) fn set_list(&self, list: Option<DeviceList>) {
        let names = list.iter().flat_map(DeviceList::names);
        self.table.lock().list(names);
        *self.list.lock() = list.map(Arc::new);
        // It fails without receivers.
        let _ = self.events.send(self.everything());
        self.wake();
    }

    /// Takes a change of a device.
    pub(super) fn note(&self, device: &str, change: DeviceChange) {
        self.table.lock().note(device, change);
        self.wake();
    }

    /// Ends the streams and the thread.
    pub(super) fn close(&self) {
        self.streams.close();
        self.wake();
    }

    fn wake(&self) {
        // One that waits is enough.
        if let Err(TrySendError::Disconnected(())) = self.wake.try_send(()) {
            tracing::debug!("the survey of the site has ended");
        }
    }

    /// Asks while a page is open, until it is closed.
    pub(super) fn run(&self, woken: &Receiver<()>) {
        let mut due = self.clock.now();
        while !self.streams.is_closed() {
            let until = if self.is_followed() {
                due
            } else {
                self.clock.deadline(IDLE)
            };
            let _ = self.clock.recv_until(woken, until);
            if self.streams.is_closed() || !self.is_followed() {
                continue;
            }
            if self.clock.now() >= due {
                self.ask_all();
                due = self.clock.deadline(self.pause());
            } else {
                self.ask_pending();
                self.clock.sleep(TURN_PAUSE);
            }
            self.tell_changes();
        }
    }

    fn is_followed(&self) -> bool {
        self.events.receiver_count() > 0
    }

    fn pause(&self) -> Duration {
        let devices = u32::try_from(self.table.lock().len()).unwrap_or(u32::MAX);
        ROUND_PAUSE + PAUSE_PER_DEVICE.saturating_mul(devices)
    }

    fn ask_all(&self) {
        self.table.lock().begin_round();
        let began = self.clock.now();
        let error = self
            .ask(None)
            .err()
            .map(|error| hotshoe_base::chain(&error));
        let round = self.round_since(began, error);
        let told = serde_json::to_vec(&round).unwrap_or_default();
        *self.round.lock() = Some(round);
        self.tell("round", &told);
    }

    fn round_since(&self, began: Instant, error: Option<String>) -> Round {
        let took = self.clock.elapsed(began).as_millis();
        let table = self.table.lock();
        Round {
            at: time_of(self.clock.wall()),
            took_ms: u64::try_from(took).unwrap_or(u64::MAX),
            devices: table.len(),
            left_out: table.left_out(),
            error,
        }
    }

    fn ask_pending(&self) {
        let until = self.clock.deadline(ANSWER_TIMEOUT);
        let pending = self.table.lock().take_pending(MAX_ASKED);
        for device in pending {
            // Those that are left are asked with all others.
            if self.streams.is_closed() || self.clock.now() >= until {
                return;
            }
            if let Err(error) = self.ask(Some(&device)) {
                tracing::debug!(%error, device, "cannot ask a device");
            }
        }
    }

    fn ask(&self, device: Option<&str>) -> Result<(), LinkError> {
        let list = self.list();
        let mut reports = DeviceReports::default();
        self.client
            .each_status(Some(&self.site), device, ANSWER_TIMEOUT, |said| {
                reports.add(said, list.as_deref(), |status| row::fields(&status));
            })?;
        let now = time_of(self.clock.wall());
        self.table.lock().answers(device, reports, now);
        Ok(())
    }

    fn list(&self) -> Option<Arc<DeviceList>> {
        self.list.lock().clone()
    }

    fn tell_changes(&self) {
        let changes = self.table.lock().take_changes();
        if let Some(changes) = changes {
            self.tell("devices", &serde_json::to_vec(&changes).unwrap_or_default());
        }
    }

    fn tell(&self, name: &'static str, data: &[u8]) {
        // It fails without receivers.
        let _ = self.events.send(event(name, data));
    }

    /// A stream for one more page.
    pub(super) fn follow(self: &Arc<Self>) -> Result<EventBody, PageRequestError> {
        let survey = Arc::clone(self);
        self.streams
            .open(|sender| async move { survey.send_all(&sender).await })
    }

    async fn send_all(&self, sender: &mpsc::Sender<Bytes>) {
        let mut events = self.events.subscribe();
        self.wake();
        let mut next = self.everything();
        while sender.send(next).await.is_ok() {
            next = match events.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(_)) => self.everything(),
                Err(RecvError::Closed) => return,
            };
        }
    }

    fn everything(&self) -> Bytes {
        let round = self.round.lock().clone();
        let is_checked = self.list.lock().is_some();
        let shown = json!({
            "site": self.site,
            "registry": self.registry,
            "checked": is_checked,
            "round": round,
            "devices": self.table.lock().rows(),
        });
        event("site", &serde_json::to_vec(&shown).unwrap_or_default())
    }

    /// The whole status of one device, as `hotshoe status --json` has it. Blocks until it answers.
    pub(super) fn details(&self, device: &str) -> Result<Value, PageRequestError> {
        // A name with `*` would ask all devices.
        if !self.table.lock().has(device) {
            return Err(PageRequestError::NoDevice(device.to_owned()));
        }
        let list = self.list();
        let said = self
            .client
            .ask_statuses(Some(&self.site), Some(device), ANSWER_TIMEOUT)?;
        let report = DeviceReport::of(said, list.as_deref()).pop();
        let report = report.ok_or_else(|| PageRequestError::NoReply(device.to_owned()))?;
        Ok(serde_json::to_value(&report).unwrap_or_default())
    }
}
