//! Alerts: what needs an operator, told once, kept until it has ended, and silenced for a time (0099).
//!
//! The thread `alerts` looks at what other parts say of themselves. What it finds is an event, a record of the outbox where the output
//! `alert` is durable, a gauge, and a part of the status.

pub mod book;
mod certificates;
pub mod conditions;
mod kept;
pub mod rates;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use hotshoe_audit::{Actor, AuditKind};
use hotshoe_base::Clock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{ALERT_OUTPUT, Config};
use hotshoe_egress::Classifier;
use hotshoe_protocol::alert::{AlertKind, AlertList, AlertSeverity, AlertStatus, Silence};
use hotshoe_protocol::event::{self, EventCause, KnownKind, Subject};
use hotshoe_sealing::AtRest;
use hotshoe_trust::{Time, time_of};
use parking_lot::Mutex;
use serde_json::{Value, json};

use self::book::{AlertBook, Notice, Now, TooManySilences};
use self::certificates::Certificates;
use self::conditions::{Drifting, Expiring, Facts, findings};
use self::kept::KeptFile;
use self::rates::{RateWindow, SampleCounts};
use crate::audit::AuditRecorder;
use crate::command::{
    AlertsAction, Command, CommandError, MAX_SILENCE_S, MAX_SUBJECT_BYTES, MIN_SILENCE_S,
};
use crate::outbox::DurableOutputs;
use crate::reload::RunningConfig;
use crate::serving::{PublishedStatus, Service};

/// The alerts and silences of this device, shared by the thread and the operator's commands.
pub(crate) struct Alerts {
    state: Mutex<State>,
    published_status: Arc<PublishedStatus>,
    /// `None` where nothing is durable.
    outbox: Option<Arc<DurableOutputs>>,
    audit: Option<AuditRecorder>,
    clock: Clock,
    started: Instant,
}

struct State {
    book: AlertBook,
    file: KeptFile,
    /// Whether the file could not be written the last time.
    has_failed: bool,
    /// The pairs that have a gauge.
    gauges: BTreeSet<(AlertKind, AlertSeverity)>,
}

impl Alerts {
    /// Reads what is kept in the locked data folder.
    pub(crate) fn open(
        config: &Config,
        at_rest: &AtRest,
        published_status: &Arc<PublishedStatus>,
        outbox: Option<Arc<DurableOutputs>>,
        audit: Option<AuditRecorder>,
        clock: &Clock,
    ) -> Arc<Self> {
        let file = KeptFile::open(&config.data, at_rest.clone());
        let state = State {
            book: AlertBook::of(file.kept().clone()),
            file,
            has_failed: false,
            gauges: BTreeSet::new(),
        };
        let alerts = Self {
            state: Mutex::new(state),
            published_status: Arc::clone(published_status),
            outbox,
            audit,
            clock: clock.clone(),
            started: clock.now(),
        };
        alerts.publish(&mut alerts.state.lock(), alerts.now().time);
        Arc::new(alerts)
    }

    fn now(&self) -> Now {
        Now {
            at: self.clock.elapsed(self.started),
            time: time_of(self.clock.wall()),
        }
    }

    /// Takes the facts of a moment, and tells what is new.
    fn take(&self, facts: &Facts, config: &Config) {
        let mut state = self.state.lock();
        let book = &mut state.book;
        let lasts = |kind, subject: &str| book.severity(kind, subject);
        let found = findings(facts, &config.alerts, lasts);
        let now = self.now();
        let notices = book.step(found, config.alerts.calm(), now);
        for notice in notices {
            self.tell(notice);
        }
        self.publish(&mut state, now.time);
        // A failure is an event, and is tried again in the next round.
        let _ = self.save(&mut state);
    }

    fn tell(&self, notice: Notice) {
        let (kind, alert) = match notice {
            Notice::Raised(alert) => (KnownKind::AlertRaised, alert),
            Notice::Resolved(alert) => (KnownKind::AlertResolved, alert),
        };
        let severity = match (kind, alert.severity) {
            (KnownKind::AlertResolved, _) => kind.severity(),
            (_, AlertSeverity::Info) => event::Severity::Info,
            (_, AlertSeverity::Warning) => event::Severity::Warning,
            (_, AlertSeverity::Critical) => event::Severity::Error,
        };
        let AlertStatus { subject, text, .. } = &alert;
        let cause = EventCause::new(alert.kind.name(), format!("{subject}: {text}"));
        let details = [
            ("alert", json!(alert.kind)),
            ("subject", json!(subject)),
            ("severity", json!(alert.severity)),
            ("since", json!(alert.since)),
            ("count", json!(alert.count)),
        ];
        let events = self.published_status.events();
        let event = events.recorded(severity, kind, Subject::Device, Some(cause), &details);
        if let Some(outbox) = &self.outbox {
            let body = Classifier::host(&event);
            // Nothing waits for it.
            drop(outbox.offer(ALERT_OUTPUT, body.class(), || body.clone()));
        }
    }

    /// Shows the alerts in the status and in the metrics.
    fn publish(&self, state: &mut State, time: Time) {
        let alerts = state.book.alerts(time);
        let told = alerts.iter().filter(|it| it.silenced_until.is_none());
        let told: Vec<_> = told.map(|it| (it.kind, it.severity)).collect();
        state.gauges.extend(&told);
        for pair in &state.gauges {
            let (kind, severity) = pair;
            let labels = [("kind", kind.name()), ("severity", severity.name())];
            let count = told.iter().filter(|it| *it == pair).count();
            #[expect(clippy::cast_precision_loss, reason = "at most 64")]
            metrics::gauge!("hotshoe_alerts", &labels).set(count as f64);
        }
        self.published_status.set_alerts(alerts);
    }

    /// Saves what is to be kept. The first failure in a row is an event.
    fn save(&self, state: &mut State) -> io::Result<()> {
        let kept = state.book.kept();
        let saved = state.file.save(kept);
        if let (Err(error), false) = (&saved, state.has_failed) {
            let path = state.file.path().display().to_string();
            let cause = EventCause::new("alerts_file", error.to_string());
            let events = self.published_status.events();
            let (kind, subject) = (KnownKind::DiskWriteFailed, Subject::File { path });
            events.record(kind, subject, Some(cause), &[]);
        }
        state.has_failed = saved.is_err();
        saved
    }

    /// Carries out an operator's command, and records it if it changes something.
    pub(crate) fn command(&self, action: AlertsAction) -> Result<Value, CommandError> {
        let entry = self
            .audit
            .as_ref()
            .filter(|_| action != AlertsAction::List {});
        let entry = entry.map(|audit| {
            let command = Command::Alerts {
                action: action.clone(),
            };
            let entry = audit.entry(AuditKind::Command).by(Actor::Operator);
            (audit, command.described(entry))
        });
        let done = self.act(action);
        if let Some((audit, entry)) = entry {
            let outcome = done.as_ref().map_or_else(CommandError::name, |_| "done");
            audit.record(entry.with("outcome", outcome));
        }
        done.map(|list| serde_json::to_value(list).unwrap_or_default())
    }

    fn act(&self, action: AlertsAction) -> Result<AlertList, CommandError> {
        let mut state = self.state.lock();
        let time = self.now().time;
        let is_changed = match action {
            AlertsAction::List {} => false,
            AlertsAction::Silence {
                kind,
                subject,
                seconds,
            } => {
                let silence = silence(kind, subject, seconds, time)?;
                let silenced = state.book.silence(silence);
                silenced.map_err(|TooManySilences| CommandError::TooManySilences)?;
                true
            }
            AlertsAction::Unsilence { kind, subject } => {
                if state.book.unsilence(kind, subject.as_deref()) == 0 {
                    return Err(CommandError::NoSilence);
                }
                true
            }
        };
        if is_changed {
            self.publish(&mut state, time);
            self.save(&mut state).map_err(CommandError::AlertsFile)?;
        }
        Ok(AlertList {
            alerts: state.book.alerts(time),
            silences: state.book.silences().to_vec(),
        })
    }
}

fn silence(
    kind: AlertKind,
    subject: Option<String>,
    seconds: u64,
    now: Time,
) -> Result<Silence, CommandError> {
    let length = CommandError::SilenceLength { seconds };
    if !(MIN_SILENCE_S..=MAX_SILENCE_S).contains(&seconds) {
        return Err(length);
    }
    if subject
        .as_ref()
        .is_some_and(|it| it.len() > MAX_SUBJECT_BYTES)
    {
        return Err(CommandError::SilenceSubject);
    }
    let until = now.checked_add(Duration::from_secs(seconds));
    Ok(Silence {
        kind,
        subject,
        until: until.map_err(|_| length)?,
    })
}

/// Looks at the device in rounds.
struct Watcher {
    alerts: Arc<Alerts>,
    service: Arc<Service>,
    running: Arc<RunningConfig>,
    window: RateWindow,
    certificates: Certificates,
}

impl Watcher {
    fn round(&mut self, clock: &Clock) {
        let config = self.running.config();
        let facts = self.facts(&config, clock);
        self.alerts.take(&facts, &config);
    }

    fn facts(&mut self, config: &Config, clock: &Clock) -> Facts {
        let now = self.alerts.now();
        let vitals = self.service.vitals();
        let counts = SampleCounts::of(&vitals.counters, vitals.deadline_misses);
        let published_status = &self.alerts.published_status;
        let drifts = published_status.drifts();
        let is_silent = |monitor: &String| !drifts.contains_key(monitor);
        let drift_unknown = vitals.watched.into_iter().filter(is_silent).collect();
        Facts {
            time: now.time,
            sensors: config.governor.enabled.then(|| {
                let governor = published_status.governor();
                governor.map(|it| it.sensors).unwrap_or_default()
            }),
            connect: config.zenoh.connect.clone(),
            peers: vitals.peers,
            outbox: vitals.outbox,
            samples: self.window.next(counts, config.alerts.window(), now.at),
            release: vitals.release.map(|(subject, expires)| Expiring {
                subject,
                expires: Some(expires),
            }),
            certificates: self.certificates.of(config, clock),
            drift_unknown,
            drift: drifts
                .into_iter()
                .map(|(monitor, found)| Drifting { monitor, found })
                .collect(),
        }
    }
}

/// The thread. It ends when this is dropped.
pub(crate) struct AlertsThread {
    /// Its end is the signal.
    running: Sender<Infallible>,
    /// Closed when the thread has ended.
    ended: Receiver<Infallible>,
    clock: Clock,
}

impl AlertsThread {
    /// Starts the thread `alerts`. The daemon also runs without it.
    pub(crate) fn start(
        alerts: &Arc<Alerts>,
        service: &Arc<Service>,
        running: &Arc<RunningConfig>,
        supervisor: &Supervisor,
    ) -> Option<Self> {
        let mut watcher = Watcher {
            alerts: Arc::clone(alerts),
            service: Arc::clone(service),
            running: Arc::clone(running),
            window: RateWindow::default(),
            certificates: Certificates::default(),
        };
        let (stop, stopped) = channel::<Infallible>();
        let (thread_runs, ended) = channel::<Infallible>();
        let clock = supervisor.clock().clone();
        let started = supervisor.restarted("alerts", move || {
            let _ = &thread_runs;
            loop {
                let next = clock.deadline(watcher.running.config().alerts.period());
                watcher.round(&clock);
                if clock.recv_until(&stopped, next) != Err(RecvTimeoutError::Timeout) {
                    return Ok(());
                }
            }
        });
        if let Err(error) = started {
            tracing::error!(%error, "cannot start a thread; no alert is raised");
            return None;
        }
        Some(Self {
            running: stop,
            ended,
            clock: supervisor.clock().clone(),
        })
    }

    /// Ends the thread, so that nothing is told of the end of the daemon itself.
    pub(crate) fn stop(self, limit: Duration) {
        drop(self.running);
        let until = self.clock.deadline(limit);
        if self.clock.recv_until(&self.ended, until) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the thread of alerts is still at work; it ends with the process");
        }
    }
}
