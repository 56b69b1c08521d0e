//! The last events of this daemon. Every event is logged here, so that the log and the status have the same words.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use hotshoe_base::Clock;
use hotshoe_base::supervisor::{PartEnd, Supervisor};
use hotshoe_pipeline::{BackOffChange, BackOffs};
use hotshoe_protocol::event::{
    ClockQuality, EVENT_FORMAT, Event, EventCause, Kind, KnownKind, MAX_EVENTS, Severity, Subject,
};
use hotshoe_trust::time_of;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;

use crate::audit::{self, AuditRecorder, Audited};

/// The folder of systemd's time client, which has the file `synchronized` once the clock was set.
const TIMESYNC: &str = "/run/systemd/timesync";

/// The detail that counts repetitions of an event.
const REPEATED: &str = "repeated";

/// The last [`MAX_EVENTS`] events.
#[derive(Debug, Default)]
pub struct EventLog {
    clock: Clock,
    state: Mutex<State>,
    audit: OnceLock<AuditRecorder>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last event.
    sequence: u64,
    /// Oldest first.
    kept: VecDeque<Event>,
}

impl EventLog {
    /// An empty log of events, with the times of `clock`.
    pub fn timed_by(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            audit: OnceLock::new(),
        }
    }

    /// Records the audited events in the audit log too, from now on.
    pub(crate) fn audit_to(&self, recorder: AuditRecorder) {
        // A log of events has one recorder.
        let _ = self.audit.set(recorder);
    }

    /// Records in the audit log what is not an event. `None` before [`Self::audit_to`].
    pub(crate) fn audit(&self) -> Option<&AuditRecorder> {
        self.audit.get()
    }

    /// Numbers, logs and keeps an event.
    pub fn record(
        &self,
        kind: KnownKind,
        subject: Subject,
        cause: Option<EventCause>,
        details: &[(&str, Value)],
    ) {
        self.record_as(kind.severity(), kind, subject, cause, details);
    }

    /// As [`Self::record`], with another severity than that of the kind.
    pub fn record_as(
        &self,
        severity: Severity,
        kind: KnownKind,
        subject: Subject,
        cause: Option<EventCause>,
        details: &[(&str, Value)],
    ) {
        drop(self.recorded(severity, kind, subject, cause, details));
    }

    /// As [`Self::record_as`]. Returns the event.
    pub(crate) fn recorded(
        &self,
        severity: Severity,
        kind: KnownKind,
        subject: Subject,
        cause: Option<EventCause>,
        details: &[(&str, Value)],
    ) -> Event {
        let details = details.iter();
        let mut event = Event {
            format: EVENT_FORMAT,
            severity,
            kind: Kind::Known(kind),
            subject,
            cause,
            time: time_of(self.clock.wall()),
            clock: clock_quality(Path::new(TIMESYNC)),
            sequence: 0,
            details: details
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            unknown: BTreeMap::new(),
        };
        log(&event);
        if let Some(recorder) = self.audit() {
            for Audited {
                entry,
                reason,
                most,
            } in audit::entries(&event)
            {
                match most {
                    Some(most) => recorder.record_limited(entry, &reason, most),
                    None => recorder.record(entry),
                }
            }
        }
        event.sequence = self.lock().keep(event.clone());
        event
    }

    /// The kept events, oldest first.
    pub fn recent(&self) -> Vec<Event> {
        self.lock().kept.iter().cloned().collect()
    }

    /// Records unexpected ends of the daemon's parts.
    pub fn follow_parts(self: &Arc<Self>, parts: &Supervisor) {
        let events = Arc::clone(self);
        parts.on_end(move |end| events.part_ended(end));
    }

    /// Records the pauses of the components of a release.
    pub fn follow_components(self: &Arc<Self>, back_offs: &BackOffs) {
        let events = Arc::clone(self);
        back_offs.observe(move |change| events.component_changed(change));
    }

    fn part_ended(&self, end: &PartEnd) {
        let pause = end.pause.map(|pause| {
            let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            ("pause_ms", milliseconds.into())
        });
        let kind = match end.pause {
            Some(_) => KnownKind::PartRestarted,
            None => KnownKind::PartDied,
        };
        let name = end.name.clone();
        let cause = EventCause::new("ended", &end.cause);
        self.record(
            kind,
            Subject::Thread { name },
            Some(cause),
            pause.as_slice(),
        );
    }

    fn component_changed(&self, change: &BackOffChange<'_>) {
        let name = change.component.to_owned();
        let subject = Subject::Component { name };
        match change.paused {
            Some(last) => self.record(
                KnownKind::ComponentPaused,
                subject,
                Some(EventCause::new(last.fault.name(), &last.message)),
                &[],
            ),
            None => self.record(KnownKind::ComponentRecovered, subject, None, &[]),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Keeps an event. One that repeats the last one, as each try of a write to a full disk does, only counts there, so that it does not
    /// displace what happened before. Returns the event's number.
    fn keep(&mut self, mut event: Event) -> u64 {
        if let Some(last) = self.kept.back_mut()
            && (&last.kind, &last.subject, &last.cause)
                == (&event.kind, &event.subject, &event.cause)
        {
            let before = last.details.get(REPEATED).and_then(Value::as_u64);
            let repeated = before.unwrap_or(0).saturating_add(1);
            event.details.insert(REPEATED.to_owned(), repeated.into());
            event.sequence = last.sequence;
            *last = event;
            return self.sequence;
        }
        self.sequence += 1;
        event.sequence = self.sequence;
        if self.kept.len() >= MAX_EVENTS {
            self.kept.pop_front();
        }
        self.kept.push_back(event);
        self.sequence
    }
}

/// Writes an event's line to the log.
fn log(event: &Event) {
    let details = (!event.details.is_empty())
        .then(|| serde_json::to_string(&event.details).unwrap_or_default());
    let kind = event.kind.name();
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(kind, details, "{event}")
        };
    }
    match event.severity {
        Severity::Info | Severity::Notice => line!(info),
        Severity::Warning => line!(warn),
        Severity::Error => line!(error),
    }
}

/// What the system says of its clock. The call that asks the kernel is `unsafe`, so that only systemd's time client is asked.
fn clock_quality(timesync: &Path) -> ClockQuality {
    if timesync.join("synchronized").exists() {
        ClockQuality::Synchronised
    } else if timesync.exists() {
        ClockQuality::Unsynchronised
    } else {
        ClockQuality::Unknown
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_events_are_kept_and_numbered_without_gaps() {
        let events = EventLog::default();
        let more = MAX_EVENTS as u64 + 20;
        for number in 1..=more {
            let path = number.to_string();
            events.record(
                KnownKind::DiskWriteFailed,
                Subject::File { path },
                None,
                &[],
            );
        }
        let kept = events.recent();
        assert_eq!(kept.len(), MAX_EVENTS);
        for (event, number) in kept.iter().zip(21..) {
            assert_eq!(event.sequence, number);
            let path = number.to_string();
            assert_eq!(event.subject, Subject::File { path });
        }
    }

    #[test]
    fn an_event_that_repeats_the_last_one_counts_there() {
        let events = EventLog::default();
        let record = |kind| events.record(kind, Subject::Device, None, &[]);
        (0..300).for_each(|_| record(KnownKind::PeersLost));
        record(KnownKind::StatementsStale);
        record(KnownKind::PeersLost);
        let kept = events.recent();
        let numbers: Vec<u64> = kept.iter().map(|event| event.sequence).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(kept[0].details[REPEATED], 299);
        assert!(kept[2].details.is_empty());
    }

    #[test]
    fn a_part_that_panics_is_an_event() {
        let events = Arc::new(EventLog::default());
        let parts = Supervisor::default();
        events.follow_parts(&parts);
        let (sender, restarted) = channel();
        let mut runs = 0;
        let thread = parts
            .restarted("test", move || {
                runs += 1;
                if runs == 1 {
                    return Err("the first run".to_owned());
                }
                sender.send(()).map_err(|error| error.to_string())
            })
            .unwrap();
        restarted.recv_timeout(Duration::from_secs(20)).unwrap();
        thread.join().unwrap();
        let kept = events.recent();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].kind, Kind::Known(KnownKind::PartRestarted));
        assert_eq!(
            kept[0].to_string(),
            "thread test: a part of this program ended and restarts (ended: the first run)"
        );
    }

    #[test]
    fn the_clock_is_as_good_as_the_time_client_says() {
        let folder = tempfile::tempdir().unwrap();
        let timesync = folder.path().join("timesync");
        assert_eq!(clock_quality(&timesync), ClockQuality::Unknown);
        std::fs::create_dir(&timesync).unwrap();
        assert_eq!(clock_quality(&timesync), ClockQuality::Unsynchronised);
        std::fs::write(timesync.join("synchronized"), "").unwrap();
        assert_eq!(clock_quality(&timesync), ClockQuality::Synchronised);
    }
}
