//! The counts add up, whatever happens to a sample; and an incoming message becomes a sample, or is refused with a stable name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use hotshoe_base::VirtualClock;
use hotshoe_daemon::serving::SampleOutcome;
use hotshoe_daemon::serving::answer::ReplyTo;
use hotshoe_daemon::serving::intake::{IntakeError, admit};
use hotshoe_daemon::serving::latency::{Latency, MAX_STAGES};
use hotshoe_daemon::serving::tally::{DropReason, Settlement, Tally, Ticket};
use hotshoe_link::Incoming;
use proptest::prelude::*;

fn settlement() -> impl Strategy<Value = Option<Settlement<'static>>> {
    prop_oneof![
        Just(Some(Settlement::Result)),
        Just(Some(Settlement::Skipped)),
        Just(Some(Settlement::Dropped(DropReason::BlockTimeout))),
        Just(Some(Settlement::Dropped(DropReason::DrainDeadline))),
        Just(Some(Settlement::Failed {
            stage: "page",
            fault: "trap"
        })),
        Just(None), // still in flight
    ]
}

proptest! {
    #[test]
    fn counts_add_up_at_every_moment(ends in prop::collection::vec(settlement(), 0..80)) {
        let tally = Tally::default();
        let mut tickets: Vec<Ticket> = Vec::new();
        for end in &ends {
            let ticket = tally.accept(ReplyTo::None);
            if let Some(end) = end {
                prop_assert!(ticket.settle(*end).is_some());
                prop_assert!(ticket.settle(Settlement::Result).is_none());
            }
            tickets.push(ticket);
            prop_assert!(tally.snapshot().add_up());
        }
        let open = ends.iter().filter(|e| e.is_none()).count() as u64;
        prop_assert_eq!(tally.snapshot().in_flight, open);
        drop(tickets);
        let counters = tally.snapshot();
        prop_assert!(counters.add_up());
        prop_assert_eq!(counters.in_flight, 0);
        let skipped = ends.iter().filter(|end| **end == Some(Settlement::Skipped));
        prop_assert_eq!(counters.skipped, skipped.count() as u64);
        prop_assert_eq!(counters.faults.get("abandoned").copied().unwrap_or(0), open);
        prop_assert_eq!(counters.faults.values().sum::<u64>(), counters.failed);
        prop_assert_eq!(counters.failed_at.values().sum::<u64>(), counters.failed);
    }
}

fn incoming<'a>(id: Option<&'a [u8]>, payload: &'a [u8]) -> Incoming<'a> {
    Incoming {
        source: "hotshoe/lab/camera/input/page".to_owned(),
        id: id.map(Cow::Borrowed),
        content_type: None,
        timestamp_us: None,
        payload: Cow::Borrowed(payload),
    }
}

#[test]
fn a_sample_gets_what_its_sender_left_out() {
    let now = UNIX_EPOCH + Duration::from_micros(1_234_567);
    let admitted = admit(incoming(None, b"abc"), 3, now);
    assert_eq!(admitted.refusal, None);
    assert_eq!(&*admitted.sample.payload, b"abc");
    assert_eq!(admitted.sample.content_type, "application/octet-stream");
    assert_eq!(admitted.sample.timestamp_us, 1_234_567);
    assert_eq!(admitted.sample.id.len(), 36);
    let other = admit(incoming(None, b""), 3, now);
    assert_ne!(other.sample.id, admitted.sample.id);
    assert_eq!(other.refusal, None);
}

#[test]
fn a_sample_keeps_what_its_sender_says() {
    let mut given = incoming(Some(b"page-7"), b"abc");
    given.content_type = Some("image/png".to_owned());
    given.timestamp_us = Some(9);
    let sample = admit(given, 3, UNIX_EPOCH).sample;
    assert_eq!(
        (
            sample.id.as_str(),
            sample.content_type.as_str(),
            sample.timestamp_us
        ),
        ("page-7", "image/png", 9)
    );
}

#[test]
fn refusals_have_names() {
    let large = admit(incoming(Some(b"big"), b"abcd"), 3, UNIX_EPOCH);
    assert_eq!(large.refusal, Some(IntakeError::TooLarge { limit: 3 }));
    assert_eq!(large.sample.id, "big");
    assert!(large.sample.payload.is_empty());
    assert!(
        large
            .refusal
            .unwrap()
            .to_string()
            .contains("intake.max-sample-bytes")
    );
    let long = [b'x'; 129];
    for id in [&b""[..], b"\xff\xfe", b"a\nb", &long] {
        let admitted = admit(incoming(Some(id), b"abc"), 3, UNIX_EPOCH);
        assert_eq!(admitted.refusal, Some(IntakeError::BadId), "{id:?}");
        assert_eq!(admitted.sample.id.len(), 36);
    }
}

#[test]
fn latency_is_of_the_most_recent_samples() {
    let time = VirtualClock::at(UNIX_EPOCH);
    let latency = Latency::timed_by(time.clock());
    for value in 1..=100 {
        latency.record("page", value);
    }
    let page = latency.snapshot().remove(0);
    // A sketch has 50 as 49.4, 95 as 93.7, and 99 as 97.6.
    assert_eq!(
        (page.count, page.p50_us, page.p95_us, page.p99_us),
        (100, 49, 94, Some(98))
    );
    time.advance(Duration::from_mins(5));
    for _ in 0..10 {
        latency.record("page", 7);
    }
    let page = latency.snapshot().remove(0);
    assert_eq!((page.count, page.p50_us, page.p95_us), (110, 7, 7));
    assert_eq!(page.window_samples, Some(10));
    time.advance(Duration::from_hours(1));
    assert_eq!(latency.snapshot(), [page], "the last samples stay known");
}

#[test]
fn latencies_of_a_window_end_with_its_slots() {
    let time = VirtualClock::at(UNIX_EPOCH);
    let latency = Latency::timed_by(time.clock()).with_slots_of(Duration::from_secs(1));
    latency.record_all([("queue", 1_000), ("total", 5_000)]);
    time.advance(Duration::from_secs(1));
    latency.record("total", 9_000);
    let read = latency.read();
    assert_eq!((read.at, read.slot), (Duration::from_secs(1), 1));
    let counts: Vec<(&str, usize)> = read
        .stages
        .iter()
        .map(|(name, summary)| (name.as_str(), summary.count))
        .collect();
    assert_eq!(counts, [("queue", 1), ("total", 2)]);
    assert_eq!(read.total_of_slot.map(|it| it.p95), Some(9_000.0));
    assert_eq!(read.total_of_last_slot.map(|it| it.p95), Some(5_000.0));
    // Four slots before the present one are in the window.
    time.advance(Duration::from_secs(3));
    assert_eq!(latency.read().stages.len(), 2);
    time.advance(Duration::from_secs(1));
    let counts: Vec<usize> = latency.read().stages.iter().map(|it| it.1.count).collect();
    assert_eq!(counts, [1], "the queue has no sample in the window");
    time.advance(Duration::from_secs(1));
    let read = latency.read();
    assert_eq!((read.stages.len(), read.total_of_slot), (0, None));
}

#[test]
fn missed_deadlines_and_traps_are_counted_for_all_releases() {
    let tally = Tally::default();
    for outcome in [
        SampleOutcome::Success,
        SampleOutcome::Error,
        SampleOutcome::Deadline,
        SampleOutcome::Trap,
        SampleOutcome::Trap,
    ] {
        tally.observed(outcome);
    }
    assert_eq!(tally.clone().misses(), (1, 2));
}

#[test]
fn latency_keeps_a_bounded_number_of_stages() {
    let latency = Latency::default();
    for stage in 0..2 * MAX_STAGES {
        latency.record(&format!("{stage}"), 1);
    }
    assert_eq!(latency.snapshot().len(), MAX_STAGES);
}
