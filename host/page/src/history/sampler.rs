//! Turns statuses into records: each series of a slot is a sketch until the slot ends.

use std::array;

use hotshoe_protocol::event::{Event, Kind, KnownKind, Subject};
use hotshoe_protocol::status::Status;
use hotshoe_senses::Sketch;

use super::file::Span;
use super::record::{Mark, Record, SERIES, Value};

/// The stage whose latency is that of the whole.
const TOTAL: &str = "total";
/// The kinds of event that are marked.
const MARKED: [KnownKind; 6] = [
    KnownKind::ReleaseSwapped,
    KnownKind::ReleaseLive,
    KnownKind::ReleaseRolledBack,
    KnownKind::ReleaseRefused,
    KnownKind::ReleaseFailed,
    KnownKind::ModeChanged,
];

/// A slot that has not ended.
#[derive(Debug, Default)]
struct Slot {
    start: u64,
    count: u32,
    mode: String,
    sketches: [Sketch; SERIES],
}

/// The counters of the last status.
#[derive(Debug, Clone, Copy)]
struct Before {
    uptime_ms: u64,
    results: u64,
    failed: u64,
}

/// The slots of all rings that have not ended.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    slots: [Option<Slot>; 3],
    before: Option<Before>,
    /// Number of the last event that was marked.
    marked: u64,
}

impl Sampler {
    /// Adds a status. Returns the records of the slots that it ends.
    pub(super) fn add(&mut self, status: &Status, now: u64, uptime_ms: u64) -> Vec<(Span, Record)> {
        let values = self.values(status, uptime_ms);
        let governor = status.governor.as_ref();
        let mode = governor.and_then(|it| it.mode.clone()).unwrap_or_default();
        let mut ended = Vec::new();
        for (span, slot) in Span::ALL.into_iter().zip(&mut self.slots) {
            let start = now - now % span.slot_s();
            if let Some(old) = slot.take_if(|slot| slot.start != start) {
                ended.push((span, old.into_record()));
            }
            let slot = slot.get_or_insert_with(|| Slot {
                start,
                ..Slot::default()
            });
            slot.count = slot.count.saturating_add(1);
            slot.mode.clone_from(&mode);
            for (sketch, value) in slot.sketches.iter_mut().zip(values) {
                if let Some(value) = value {
                    sketch.add(value);
                }
            }
        }
        ended
    }

    /// Ends all slots.
    pub(super) fn finish(&mut self) -> Vec<(Span, Record)> {
        let slots = Span::ALL.into_iter().zip(&mut self.slots);
        slots
            .filter_map(|(span, slot)| Some((span, slot.take()?.into_record())))
            .collect()
    }

    /// The events of a status that are marked and were not seen before.
    pub(super) fn marks(&mut self, status: &Status) -> Vec<Mark> {
        let events = status.events.iter();
        let new = events.filter(|event| event.sequence > self.marked);
        let marks = new.filter_map(mark).collect();
        let newest = status.events.iter().map(|event| event.sequence).max();
        self.marked = newest.unwrap_or_default().max(self.marked);
        marks
    }

    /// The series of a status, in the order of the file.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts and bytes of less than 2^53"
    )]
    fn values(&mut self, status: &Status, uptime_ms: u64) -> [Option<f64>; SERIES] {
        const MIB: f64 = 1_048_576.0;
        let now = Before {
            uptime_ms,
            results: status.counters.results,
            failed: status.counters.failed,
        };
        let before = self.before.replace(now);
        let rate = |of: fn(&Before) -> u64| {
            let before = before?;
            let ms = now.uptime_ms.checked_sub(before.uptime_ms)?;
            let more = of(&now).checked_sub(of(&before))?;
            (ms > 0).then(|| more as f64 * 1_000.0 / ms as f64)
        };
        let total = status.stages.iter().find(|stage| stage.name == TOTAL);
        let sensors = status.governor.as_ref().map(|it| &it.sensors);
        let resident = status.memory.as_ref().and_then(|it| it.resident_mib);
        [
            rate(|it| it.results),
            total.map(|it| it.p50_us as f64 / 1_000.0),
            total.map(|it| it.p95_us as f64 / 1_000.0),
            rate(|it| it.failed),
            Some(status.queue.len as f64),
            sensors.and_then(|it| it.hottest_celsius),
            sensors.and_then(|it| it.charge_ratio),
            sensors.and_then(|it| it.watts),
            resident.map(|it| it as f64),
            sensors
                .and_then(|it| it.memory_available_bytes)
                .map(|it| it as f64 / MIB),
            sensors.and_then(|it| it.load),
            sensors.and_then(|it| it.processor_pressure_ratio),
            status.drift.as_ref().and_then(|it| it.ratio),
        ]
    }
}

impl Slot {
    fn into_record(self) -> Record {
        let values = array::from_fn(|series| {
            let summary = self.sketches.get(series)?.summary()?;
            #[expect(clippy::cast_possible_truncation, reason = "for a chart")]
            let value = Value {
                median: summary.p50 as f32,
                most: summary.max as f32,
            };
            Some(value)
        });
        Record {
            start: self.start,
            count: self.count,
            mode: self.mode,
            values,
        }
    }
}

fn mark(event: &Event) -> Option<Mark> {
    let Kind::Known(kind) = &event.kind else {
        return None;
    };
    if !MARKED.contains(kind) {
        return None;
    }
    let label = match &event.subject {
        Subject::Release {
            name, generation, ..
        } => format!("{name} {generation}"),
        _ => event
            .cause
            .as_ref()
            .map(|cause| cause.message.clone())
            .unwrap_or_default(),
    };
    Some(Mark {
        at: u64::try_from(event.time.as_second()).unwrap_or_default(),
        kind: kind.name().to_owned(),
        label,
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests"
    )]

    use serde_json::{Value as Json, json};

    use super::*;

    fn status(results: u64, failed: u64, events: &Json) -> Status {
        serde_json::from_value(json!({
            "format": 1, "site": "lab", "device": "a", "version": "0.1.0", "labels": {},
            "release": null, "slots": {"live": null, "previous": null, "staged": null, "trial": null},
            "deploy": {"phase": "absent", "release": null, "name": null, "generation": null,
                       "fetched": 0, "total": 0, "cause": null, "waiting": null},
            "last_rollback": null, "health": null, "trust_version": 1, "swaps": 0, "rollbacks": 0,
            "refused": {}, "ignored": {}, "last_swap_ns": null, "stale": false, "uptime_s": 10, "workers": 1,
            "queue": {"len": 4, "capacity": 16, "policy": "block"},
            "counters": {"accepted": results + failed, "results": results, "dropped": {}, "failed": failed,
                         "faults": {}, "failed_at": {}, "in_flight": 0, "unpublished": 0},
            "stages": [{"name": "total", "count": 5, "p50_us": 2000, "p95_us": 4000}],
            "session": {"id": "x", "locators": [], "peers": 0},
            "events": events,
        }))
        .unwrap()
    }

    #[test]
    fn a_slot_is_recorded_when_the_next_one_begins() {
        let mut sampler = Sampler::default();
        let start = 7_200_000;
        assert!(sampler.add(&status(0, 0, &json!([])), start, 0).is_empty());
        assert!(
            sampler
                .add(&status(50, 5, &json!([])), start + 5, 5_000)
                .is_empty()
        );
        let ended = sampler.add(&status(150, 5, &json!([])), start + 15, 15_000);
        let [(Span::Hour, record)] = &ended[..] else {
            panic!("{ended:?}");
        };
        assert_eq!((record.start, record.count), (start, 2));
        // 50 results in 5 s, within 2% of a sketch. The first status has no rate.
        let near = |series: usize, expected: f32| {
            let found = record.values[series].unwrap().median;
            assert!(
                (found - expected).abs() <= expected * 0.021,
                "{series}: {found}"
            );
        };
        near(0, 10.0);
        near(1, 2.0);
        near(2, 4.0);
        near(3, 1.0);
        near(4, 4.0);
        assert_eq!(record.values[5], None);
        let ended = sampler.finish();
        let spans: Vec<_> = ended.iter().map(|(span, it)| (*span, it.count)).collect();
        assert_eq!(spans, [(Span::Hour, 1), (Span::Day, 3), (Span::Month, 3)]);
    }

    #[test]
    fn a_counter_that_went_back_has_no_rate() {
        let mut sampler = Sampler::default();
        sampler.add(&status(100, 0, &json!([])), 0, 0);
        sampler.add(&status(3, 0, &json!([])), 5, 5_000);
        let ended = sampler.finish();
        assert_eq!(ended[0].1.values[0], None);
    }

    #[test]
    fn each_swap_is_marked_once() {
        let mut sampler = Sampler::default();
        let digest = format!("sha256:{}", "0".repeat(64));
        let event = |sequence: u64, kind: &str| {
            json!({"format": 1, "severity": "info", "kind": kind, "sequence": sequence, "time": "2026-11-30T00:00:00Z",
                   "subject": {"what": "release", "name": "labels", "generation": 4, "digest": digest}})
        };
        let first = json!([event(1, "release_fetching"), event(2, "release_swapped")]);
        let marks = sampler.marks(&status(0, 0, &first));
        let expected = Mark {
            at: 1_795_996_800,
            kind: "release_swapped".to_owned(),
            label: "labels 4".to_owned(),
        };
        assert_eq!(marks, [expected]);
        assert!(sampler.marks(&status(0, 0, &first)).is_empty());
        let second = json!([event(2, "release_swapped"), event(3, "release_rolled_back")]);
        assert_eq!(sampler.marks(&status(0, 0, &second)).len(), 1);
    }
}
