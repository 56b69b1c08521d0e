//! What the screen shows, and what keys and answers change of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hotshoe_base::chain;
use hotshoe_trust::Time;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::rates::Rates;
use super::source::Snapshot;
use crate::fleet::overview::Overview;

/// Site and name of a device.
pub(super) type DeviceId = (String, String);

/// The time between two rounds, and the first one between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest time between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A site is left alone for so many times as long as its last answer took, at most [`LONGEST_PAUSE`].
const SHARE: u32 = 10;
/// Most devices that are remembered after they are gone.
const MAX_KNOWN: usize = 4_096;

/// The views, in the order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// All devices.
    Site,
    /// The pipeline as it runs.
    Live,
    /// Sensors, modes, memory, parts.
    Device,
    /// The releases in the slots.
    Releases,
    /// The last events.
    Events,
}

impl View {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Site => "Site",
            Self::Live => "Live",
            Self::Device => "Device",
            Self::Releases => "Releases",
            Self::Events => "Events",
        }
    }
}

/// Whether the devices answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Connection {
    /// No answer has arrived yet.
    Connecting,
    /// The last round was answered.
    Connected,
    /// The last round was not answered.
    Lost {
        /// When that began.
        since: Time,
        /// Why.
        cause: String,
    },
}

/// What the loop does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Show what changed.
    Show,
    /// End.
    Quit,
}

/// The state of the screen.
#[derive(Debug)]
pub(super) struct App {
    /// Whether there are several devices.
    is_site: bool,
    /// The view.
    pub view: View,
    /// The answers, and devices that do not answer any more.
    pub snapshot: Snapshot,
    /// The rates of the stages.
    pub rates: Rates,
    /// Whether the devices answer.
    pub connection: Connection,
    /// Whether the list of keys is shown.
    pub has_help: bool,
    /// Whether nothing is asked.
    pub is_paused: bool,
    /// The first line that is shown.
    pub top: usize,
    /// The first column that is shown.
    pub left: u16,
    /// Lines that PageUp and PageDown go by: those of the last screen but one.
    pub screenful: usize,
    /// Whether the marked line must be visible.
    pub follows_mark: bool,
    chosen: Option<DeviceId>,
    known: BTreeSet<DeviceId>,
    /// When the next round begins; `None` while one is under way.
    due: Option<Instant>,
    asked: Instant,
    pause: Duration,
}

impl App {
    pub(super) fn new(is_site: bool, now: Instant) -> Self {
        Self {
            is_site,
            view: if is_site { View::Site } else { View::Live },
            snapshot: Snapshot::default(),
            rates: Rates::default(),
            connection: Connection::Connecting,
            has_help: false,
            is_paused: false,
            top: 0,
            left: 0,
            screenful: 1,
            follows_mark: false,
            chosen: None,
            known: BTreeSet::new(),
            due: Some(now),
            asked: now,
            pause: PAUSE,
        }
    }

    /// The views that there are.
    pub(super) const fn views(&self) -> &'static [View] {
        const ALL: [View; 5] = [
            View::Site,
            View::Live,
            View::Device,
            View::Releases,
            View::Events,
        ];
        match ALL.split_first() {
            Some((_, of_device)) if !self.is_site => of_device,
            _ => &ALL,
        }
    }

    /// The device that is chosen, or the only one.
    pub(super) fn device(&self) -> Option<&Overview> {
        self.snapshot.devices.get(self.place()?)
    }

    /// The place of the chosen device: the first one, where none is chosen.
    pub(super) fn place(&self) -> Option<usize> {
        let devices = &self.snapshot.devices;
        let chosen = self.chosen.as_ref();
        let place = chosen.and_then(|chosen| devices.iter().position(|it| id(it) == *chosen));
        place.or((!devices.is_empty()).then_some(0))
    }

    /// Whether a round has to begin; it counts as begun then.
    pub(super) fn must_ask(&mut self, now: Instant) -> bool {
        if self.is_paused || self.due.is_none_or(|due| due > now) {
            return false;
        }
        self.due = None;
        self.asked = now;
        true
    }

    /// How long until the next round begins. `None` while one is under way, or if none will.
    pub(super) fn left_to_ask(&self, now: Instant) -> Option<Duration> {
        let due = self.due.filter(|_| !self.is_paused)?;
        Some(due.saturating_duration_since(now))
    }

    /// Takes the outcome of a round.
    pub(super) fn answered(&mut self, round: anyhow::Result<Snapshot>, now: Instant, time: Time) {
        match round {
            Ok(snapshot) => {
                self.take(snapshot, now);
                self.connection = Connection::Connected;
                self.pause = PAUSE;
                let took = now.saturating_duration_since(self.asked);
                let least = if self.is_site { took * SHARE } else { PAUSE };
                self.due = Some(now + PAUSE.max(least.min(LONGEST_PAUSE)));
            }
            Err(error) => {
                let since = match &self.connection {
                    Connection::Lost { since, .. } => *since,
                    Connection::Connecting | Connection::Connected => time,
                };
                let cause = chain(error.as_ref());
                self.connection = Connection::Lost { since, cause };
                self.due = Some(now + self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    fn take(&mut self, mut snapshot: Snapshot, now: Instant) {
        for overview in &snapshot.devices {
            if let Some(answer) = &overview.answer {
                self.rates.take(&id(overview), &answer.status, now);
            }
        }
        let answered: BTreeSet<DeviceId> = snapshot.devices.iter().map(id).collect();
        // A device that is off is not present either, and must not leave the table.
        let gone = self.known.iter().filter(|known| !answered.contains(*known));
        snapshot.devices.extend(gone.map(|(site, device)| Overview {
            site: site.clone(),
            device: device.clone(),
            answer: None,
        }));
        snapshot.devices.sort_by_key(id);
        for device in answered {
            if self.known.len() < MAX_KNOWN {
                self.known.insert(device);
            }
        }
        let known = &self.known;
        self.rates.keep(|device| known.contains(device));
        self.snapshot = snapshot;
    }

    /// Carries out a key.
    pub(super) fn key(&mut self, key: KeyEvent, now: Instant) -> Next {
        if key.kind == KeyEventKind::Release {
            return Next::Show;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return Next::Quit,
            _ if is_control => {}
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Char('?') => self.has_help = !self.has_help,
            KeyCode::Esc if self.has_help => self.has_help = false,
            KeyCode::Esc | KeyCode::Backspace if self.is_site => self.show(View::Site),
            KeyCode::Enter if self.view == View::Site => self.show(View::Live),
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(self.views().len().saturating_sub(1)),
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('r') => self.hurry(now),
            KeyCode::Char(digit @ '1'..='9') => {
                let place = digit.to_digit(10).unwrap_or_default().saturating_sub(1);
                let view = self.views().get(place as usize).copied();
                self.show(view.unwrap_or(self.view));
            }
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-self.screenful()),
            KeyCode::PageDown => self.step(self.screenful()),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            KeyCode::Left | KeyCode::Char('h') => self.left = self.left.saturating_sub(8),
            KeyCode::Right | KeyCode::Char('l') => self.left = self.left.saturating_add(8),
            _ => {}
        }
        Next::Show
    }

    /// Asks at once, unless a round is under way.
    fn hurry(&mut self, now: Instant) {
        self.is_paused = false;
        if self.due.is_some() {
            self.due = Some(now);
        }
    }

    fn screenful(&self) -> isize {
        isize::try_from(self.screenful).unwrap_or(isize::MAX).max(1)
    }

    fn turn(&mut self, by: usize) {
        let views = self.views();
        let place = views.iter().position(|view| *view == self.view);
        let next = (place.unwrap_or_default() + by) % views.len().max(1);
        self.show(views.get(next).copied().unwrap_or(self.view));
    }

    fn show(&mut self, view: View) {
        self.has_help = false;
        if self.view != view {
            (self.view, self.top, self.left) = (view, 0, 0);
            self.follows_mark = true;
        }
    }

    /// Goes up or down: from device to device on a site, otherwise by lines.
    fn step(&mut self, by: isize) {
        if self.view != View::Site {
            self.top = self.top.saturating_add_signed(by);
            return;
        }
        let last = self.snapshot.devices.len().saturating_sub(1);
        let place = self.place().unwrap_or_default().saturating_add_signed(by);
        let place = place.min(last);
        self.chosen = self.snapshot.devices.get(place).map(id);
        if place == 0 {
            self.top = 0;
        }
        self.follows_mark = true;
    }
}

/// Site and name of a device.
pub(super) fn id(overview: &Overview) -> DeviceId {
    (overview.site.clone(), overview.device.clone())
}
