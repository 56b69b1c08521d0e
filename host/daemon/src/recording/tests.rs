#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]
use std::sync::Arc;

use hotshoe_base::VirtualClock;
use hotshoe_egress::HashKeys;
use hotshoe_engine::Sample;
use hotshoe_trust::{DataBounds, DataSelector, EffectiveContract, Sensitivity};

use super::*;

/// A recorder with one session, without a signed release.
fn recorder(buffer_mib: u32, wanted: u64, kinds: &[RecordKind]) -> Recorder {
    recorder_at(Clock::system(), buffer_mib, wanted, kinds)
}

fn session(id: &str, wanted: u64, kinds: &[RecordKind], now: Instant) -> Session {
    Session {
        id: id.to_owned(),
        release: Digest::of(b"release"),
        stage: RecordStage::Sample,
        kinds: kinds.iter().copied().collect(),
        why: None,
        wanted,
        counts: Counts::default(),
        waiting: VecDeque::new(),
        current: None,
        preparing: 0,
        number: 0,
        ended: None,
        asked: now,
    }
}

fn recorder_at(clock: Clock, buffer_mib: u32, wanted: u64, kinds: &[RecordKind]) -> Recorder {
    let now = clock.now();
    let config = RecordConfig {
        buffer_mib,
        ..RecordConfig::default()
    };
    let recorder = Recorder::new(config, Device::default(), 1 << 20, clock);
    recorder.lock().push(session("a", wanted, kinds, now));
    recorder.update_active(&recorder.lock());
    recorder
}

fn show(recorder: &Recorder, release: &[u8], bytes: usize) {
    show_within(recorder, release, bytes, &DataBounds::default());
}

fn show_within(recorder: &Recorder, release: &[u8], bytes: usize, bounds: &DataBounds) {
    let sample = Sample {
        id: "1".to_owned(),
        source: "camera".to_owned(),
        content_type: "text/plain".to_owned(),
        timestamp_us: 1,
        payload: Arc::from(vec![7; bytes]),
    };
    let decision = Decision {
        insight: hotshoe_engine::Insight::Scalars {
            scalars: Vec::new(),
        },
        actions: Vec::new(),
    };
    let seen = Trace {
        sample: Some(sample),
        ..Trace::default()
    };
    let contract = EffectiveContract::of(None, bounds);
    let keys = HashKeys::new([0; 32], 1, Clock::system());
    let classifier = Arc::new(Classifier::new(contract, None, keys));
    recorder.offer(Digest::of(release), &classifier, Some(&decision), &seen);
}

fn counts(recorder: &Recorder) -> Counts {
    recorder.lock()[0].counts
}

#[test]
fn what_finds_no_room_is_counted_and_room_comes_back_with_what_has_arrived() {
    let recorder = recorder(1, 100, &[RecordKind::Sample]);
    for bytes in [600_000, 600_000, 2_000_000, 10] {
        show(&recorder, b"release", bytes);
    }
    let expected = Counts {
        taken: 2,
        dropped: 1,
        too_large: 1,
        failed: 0,
    };
    assert_eq!(counts(&recorder), expected);
    let number = |next: Next| match next.what {
        NextItem::Entry { number, files, .. } => (number, files.len()),
        other => panic!("{other:?}"),
    };
    // The answer may be lost, so it is repeated.
    assert_eq!(number(recorder.next("a", 0).unwrap()), (1, 1));
    assert_eq!(number(recorder.next("a", 0).unwrap()), (1, 1));
    show(&recorder, b"release", 600_000);
    assert_eq!(counts(&recorder).dropped, 2);
    assert_eq!(number(recorder.next("a", 1).unwrap()), (2, 1));
    show(&recorder, b"release", 600_000);
    assert_eq!(counts(&recorder).taken, 3);
}

#[test]
fn files_are_read_in_pieces() {
    let recorder = recorder(4, 1, &[RecordKind::Sample]);
    show(&recorder, b"release", 2_500_000);
    assert!(!recorder.is_active());
    let Next {
        what: NextItem::Entry { number, files, .. },
        ..
    } = recorder.next("a", 0).unwrap()
    else {
        panic!("no entry");
    };
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < files[0].blob.size {
        let piece = recorder
            .read("a", number, 0, bytes.len() as u64, 1 << 30)
            .unwrap();
        assert!(piece.bytes().len() as u64 <= MAX_PIECE_BYTES);
        bytes.extend(piece.bytes());
    }
    assert_eq!(Blob::of(&bytes), files[0].blob);
    for (number, file, offset) in [(number, 1, 0), (number + 1, 0, 0), (number, 0, u64::MAX)] {
        let unknown = recorder.read("a", number, file, offset, 1).unwrap_err();
        assert!(matches!(unknown, RecordError::Unknown), "{unknown}");
    }
    let ended = NextItem::Ended {
        reason: EndReason::Count,
    };
    assert_eq!(recorder.next("a", 1).unwrap().what, ended);
}

#[test]
fn another_release_ends_a_recording() {
    let recorder = recorder(1, 9, &[RecordKind::Insight]);
    show(&recorder, b"another", 1);
    show(&recorder, b"release", 1);
    let ended = NextItem::Ended {
        reason: EndReason::ReleaseChanged,
    };
    assert_eq!(recorder.next("a", 0).unwrap().what, ended);
    assert_eq!(counts(&recorder), Counts::default());
}

#[test]
fn an_invalid_request_is_refused() {
    let recorder = recorder(1, 9, &[]);
    for wrong in ["", "{}", "{\"ask\":\"next\"}", "{\"ask\":\"all\"}"] {
        let refused = recorder.answer(wrong.as_bytes(), None).unwrap_err();
        let refusal: RefusalBody = serde_json::from_slice(refused.bytes()).unwrap();
        assert_eq!(refusal.name, "invalid_request", "{wrong}");
    }
    let open = "{\"ask\":\"open\",\"stage\":\"pre\",\"count\":1}";
    let refused = recorder.answer(open.as_bytes(), None).unwrap_err();
    assert!(String::from_utf8_lossy(refused.bytes()).contains("no_release"));
}

#[test]
fn a_request_waits_for_a_sample_and_a_silent_recorder_is_forgotten() {
    let time = VirtualClock::at(std::time::UNIX_EPOCH);
    let recorder = Arc::new(recorder_at(time.clock(), 1, 9, &[RecordKind::Sample]));
    let asking = Arc::clone(&recorder);
    let waiting = std::thread::spawn(move || asking.next("a", 0));
    time.await_waiting(1);
    time.advance(WAIT);
    assert_eq!(waiting.join().unwrap().unwrap().what, NextItem::Waiting);
    time.advance(LEASE);
    show(&recorder, b"release", 1);
    assert_eq!(counts(&recorder).taken, 1);
    time.advance(Duration::from_millis(1));
    show(&recorder, b"release", 1);
    assert!(recorder.lock().is_empty());
    assert!(!recorder.is_active());
}

#[test]
fn a_sample_that_waits_for_longer_than_its_class_allows_is_dropped() {
    let time = VirtualClock::at(std::time::UNIX_EPOCH);
    let recorder = recorder_at(time.clock(), 1, 2, &[RecordKind::Sample]);
    let internal = DataSelector::Sensitivity(Sensitivity::Internal);
    let bounds = DataBounds {
        max_retention: [(internal, "1m".parse().unwrap())].into(),
        ..DataBounds::default()
    };
    show_within(&recorder, b"release", 1, &bounds);
    show_within(&recorder, b"release", 1, &bounds);
    // The recorder goes on asking for the first one, whose answer is lost.
    for _ in 0..3 {
        let what = recorder.next("a", 0).unwrap().what;
        assert!(
            matches!(what, NextItem::Entry { number: 1, .. }),
            "{what:?}"
        );
        time.advance(Duration::from_secs(20));
    }
    let ended = NextItem::Ended {
        reason: EndReason::Count,
    };
    assert_eq!(recorder.next("a", 1).unwrap().what, ended);
    let counts = counts(&recorder);
    assert_eq!((counts.taken, counts.dropped), (1, 1));
}

#[test]
fn an_ended_recording_leaves_its_place_to_the_next_and_its_samples_can_still_be_read() {
    let recorder = recorder(4, 1, &[RecordKind::Sample]);
    let now = Instant::now();
    let mut sessions = recorder.lock();
    for id in ["b", "c", "d"] {
        make_room(&mut sessions, now).unwrap();
        sessions.push(session(id, 1, &[RecordKind::Sample], now));
    }
    assert_eq!(make_room(&mut sessions, now), Err(RecordError::Busy));
    drop(sessions);
    // Each ends with the one sample that it wants.
    show(&recorder, b"release", 10);
    let mut sessions = recorder.lock();
    for number in 0..40 {
        make_room(&mut sessions, now).unwrap();
        let mut ended = session(&number.to_string(), 1, &[], now);
        ended.ended = Some(EndReason::Asked);
        sessions.push(ended);
        assert!(sessions.len() <= MAX_ENDED);
    }
    drop(sessions);
    for id in ["a", "b", "c", "d"] {
        let Next { what, counts } = recorder.next(id, 0).unwrap();
        assert!(matches!(what, NextItem::Entry { .. }), "{id}: {what:?}");
        assert_eq!(counts.taken, 1);
        let ended = NextItem::Ended {
            reason: EndReason::Count,
        };
        assert_eq!(recorder.next(id, 1).unwrap().what, ended);
    }
}
