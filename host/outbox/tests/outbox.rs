//! Order, bounds, losses and acknowledgements of an outbox.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hotshoe_base::VirtualClock;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_outbox::{
    AcknowledgeError, AppendError, Item, Limits, Options, Outbox, Position, Priority,
};

use common::{
    all, append, await_losses, bytes, end, end_on, limits, losses, normal, open, options, payloads,
    record, segments, soon, soon_on,
};

/// Appends one by one.
fn append_each(outbox: &Outbox, payloads: &[&str]) {
    for payload in payloads {
        append(outbox, &[payload]);
    }
}

#[test]
fn records_keep_their_order_and_their_identity_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, recovery) = open(folder.path());
    assert!(recovery.is_new && recovery.losses.is_empty());
    assert_eq!(append(&outbox, &["a", "b"]), [1, 2]);
    assert_eq!(append(&outbox, &["c"]), [3]);
    let before = all(&outbox);
    assert_eq!(all(&outbox), before);
    end(outbox);

    let (outbox, recovery) = open(folder.path());
    assert!(!recovery.is_new && !recovery.is_copy && !recovery.state_lost);
    assert_eq!((recovery.records, recovery.torn_bytes), (3, 0));
    assert_eq!(all(&outbox), before);
    assert_eq!(append(&outbox, &["d"]), [4]);
    let Item::Record(first) = &before[0] else {
        panic!("{before:?}");
    };
    let stats = outbox.stats();
    assert_eq!((first.id.instance, first.id.epoch), (stats.instance, 1));
    assert_eq!((&*first.id.source, first.id.sequence), ("camera", 1));
    assert_eq!(
        (first.class.as_str(), first.priority),
        ("insight", Priority::Normal)
    );
    // sha256sum of "a".
    assert!(
        first.id.to_string().ends_with(
            "/1/camera/1/ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
        ),
        "{}",
        first.id
    );
}

#[test]
fn the_more_important_is_sent_first_and_each_source_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    let given = [
        ("a", Priority::Low),
        ("a", Priority::Critical),
        ("b", Priority::Normal),
        ("a", Priority::Normal),
        ("b", Priority::Critical),
        ("a", Priority::High),
    ];
    for (at, (source, priority)) in given.into_iter().enumerate() {
        let records = vec![record(source, priority, [at as u8])];
        outbox.append(records, soon()).unwrap();
    }
    // Of one source and priority: by sequence. Over sources: as they came, or by source within a millisecond.
    let order = payloads(&outbox).concat();
    let rank = |at: &u8| given[usize::from(*at)].1;
    assert!(order.is_sorted_by_key(rank), "{order:?}");
    assert_eq!(order.len(), given.len());
    assert_eq!(outbox.next_batch(2, usize::MAX).unwrap().len(), 2);
    // Each payload has one byte.
    assert_eq!(outbox.next_batch(usize::MAX, 3).unwrap().len(), 3);
    assert_eq!(outbox.next_batch(usize::MAX, 0).unwrap().len(), 1);
}

#[test]
fn acknowledged_ranges_are_not_sent_again_and_their_segments_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    for at in 0..40u8 {
        outbox.append(vec![normal(vec![at; 500])], soon()).unwrap();
    }
    assert!(segments(folder.path()).len() >= 5);
    outbox.acknowledge("camera", &[(1, 10), (12, 38)]).unwrap();
    assert_eq!(
        payloads(&outbox),
        [vec![10; 500], vec![38; 500], vec![39; 500]]
    );
    end(outbox);
    let (outbox, recovery) = open(folder.path());
    assert_eq!((recovery.records, recovery.losses), (3, vec![]));
    outbox.acknowledge("camera", &[(11, 11)]).unwrap();
    assert_eq!(append(&outbox, &["new"]), [41]);
    assert!(
        segments(folder.path()).len() <= 3,
        "{:?}",
        segments(folder.path())
    );
    outbox.acknowledge("camera", &[(1, 41)]).unwrap();
    assert_eq!(all(&outbox), []);
    end(outbox);
    let (outbox, recovery) = open(folder.path());
    assert_eq!((recovery.records, recovery.losses), (0, vec![]));
    assert_eq!(append(&outbox, &["next"]), [42]);
}

#[test]
fn an_acknowledgement_of_what_was_not_given_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    append(&outbox, &["a", "b"]);
    let unknown = outbox.acknowledge("other", &[(1, 1)]).unwrap_err();
    assert_eq!(unknown.name(), "unknown_source");
    for (from, to) in [(0, 1), (2, 1), (1, 3), (3, 3), (1, u64::MAX)] {
        let refused = outbox.acknowledge("camera", &[(1, 1), (from, to)]);
        let source_name = "camera".to_owned();
        let error = AcknowledgeError::OutOfRange {
            source_name,
            from,
            to,
            last: 2,
        };
        assert_eq!(refused, Err(error));
    }
    assert_eq!(payloads(&outbox).len(), 2);
}

#[test]
fn what_does_not_fit_is_refused_with_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), Faults::never());
    options.limits.sources = 2;
    let (outbox, _) = Outbox::open(options).unwrap();
    let refused = |record| outbox.append(vec![record], soon()).unwrap_err().name();
    assert_eq!(refused(normal(vec![0; 1025])), "record_too_large");
    assert_eq!(refused(record("", Priority::Low, "")), "bad_name");
    let long = "x".repeat(129);
    assert_eq!(refused(record(&long, Priority::Low, "")), "bad_name");
    assert_eq!(outbox.stats().rejected, 3);
    append(&outbox, &["a"]);
    outbox
        .append(vec![record("b", Priority::Low, "")], soon())
        .unwrap();
    assert_eq!(refused(record("c", Priority::Low, "")), "too_many_sources");
    assert_eq!(outbox.stats().rejected, 4);
    outbox.append(vec![normal(vec![0; 1024])], soon()).unwrap();
}

#[test]
fn an_offered_record_that_is_too_large_is_named_as_lost_after_those_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    append(&outbox, &["a"]);
    for _ in 0..2 {
        let refused = outbox.offer(normal(vec![0; 1025])).unwrap_err();
        assert_eq!(refused.name(), "record_too_large");
    }
    hotshoe_tests::until("both losses are to be sent", || {
        losses(&outbox).iter().map(|it| it.3).sum::<u64>() == 2
    });
    assert!(losses(&outbox).iter().all(|it| it.4 == "too_large"));
    assert_eq!(outbox.stats().rejected, 2);
    // Its numbers have no gap.
    assert_eq!(append(&outbox, &["b"]), [4]);
    end(outbox);
    let (outbox, recovery) = open(folder.path());
    assert_eq!((recovery.records, recovery.losses), (2, vec![]));
    let numbers: u64 = losses(&outbox).iter().map(|it| it.3).sum();
    assert_eq!((numbers, payloads(&outbox).len()), (2, 2));
}

#[test]
fn a_record_that_is_given_up_is_named_and_those_behind_it_are_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    append(&outbox, &["a", "b"]);
    assert_eq!(
        outbox.give_up("other", 1).unwrap_err().name(),
        "unknown_source"
    );
    outbox.give_up("camera", 3).unwrap();
    assert_eq!(payloads(&outbox).len(), 2);
    for _ in 0..2 {
        outbox.give_up("camera", 1).unwrap();
    }
    let lost = [("camera".to_owned(), 1, 1, 1, "too_large")];
    assert_eq!(await_losses(&outbox), lost);
    assert_eq!(payloads(&outbox), [b"b"]);
    end(outbox);
    let (outbox, _) = open(folder.path());
    assert_eq!(losses(&outbox), lost);
    assert_eq!(payloads(&outbox), [b"b"]);
}

#[test]
fn the_least_important_and_oldest_is_evicted_and_one_loss_names_the_range() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    let of =
        |source, priority| outbox.append(vec![record(source, priority, vec![7u8; 1000])], soon());
    for _ in 0..10 {
        of("a", Priority::High).unwrap();
        of("b", Priority::Low).unwrap();
    }
    for _ in 0..100 {
        of("c", Priority::Normal).unwrap();
    }
    let found = losses(&outbox);
    // All of the lowest, then the oldest of the next.
    assert_eq!(found[0], ("b".to_owned(), 1, 10, 10, "evicted"));
    let (source, from, to, count, cause) = &found[1];
    assert_eq!((source.as_str(), *from, *cause), ("c", 1, "evicted"));
    assert_eq!((*count, found.len()), (*to, 2));
    let stats = outbox.stats();
    assert_eq!(stats.records as u64, 10 + 100 - to);
    assert_eq!(stats.lost.values().sum::<u64>(), 10 + to);
    assert!(bytes(folder.path()) <= limits().bytes);
    // 1 byte of payload is at most 3 bytes on the disk here: nothing was written again that was not evicted.
    assert!(stats.written_bytes < 3 * stats.payload_bytes, "{stats:?}");
    // What is less important than all that is there is lost itself.
    assert_eq!(of("b", Priority::Low).unwrap_err().name(), "no_room");
    let last = await_losses(&outbox).into_iter().filter(|it| it.0 == "b");
    let counts: u64 = last.map(|it| it.3).sum();
    assert_eq!(counts, 11);
}

#[test]
fn records_are_bounded_in_number_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), Faults::never());
    options.limits.records = 3;
    let (outbox, _) = Outbox::open(options).unwrap();
    append_each(&outbox, &["a", "b", "c", "d", "e"]);
    assert_eq!(payloads(&outbox), [b"c", b"d", b"e"]);
    assert_eq!(losses(&outbox), [("camera".to_owned(), 1, 2, 2, "evicted")]);
    // A loss is acknowledged as records are.
    outbox.acknowledge("camera", &[(1, 2)]).unwrap();
    assert_eq!(losses(&outbox), []);
}

#[test]
fn a_loss_that_was_sent_is_not_changed_by_later_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), Faults::never());
    options.limits.records = 1;
    let (outbox, _) = Outbox::open(options).unwrap();
    append_each(&outbox, &["a", "b"]);
    let of = |from, to| ("camera".to_owned(), from, to, to + 1 - from, "evicted");
    assert_eq!(losses(&outbox), [of(1, 1)]);
    append_each(&outbox, &["c", "d"]);
    assert_eq!(losses(&outbox), [of(1, 1), of(2, 3)]);
    outbox.acknowledge("camera", &[(1, 1)]).unwrap();
    end(outbox);
    let (outbox, _) = open(folder.path());
    assert_eq!(losses(&outbox), [of(2, 3)]);
    assert_eq!(payloads(&outbox), [b"d"]);
}

#[test]
fn a_full_queue_refuses_at_once_and_the_loss_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
    let mut options = Options {
        supervisor: Supervisor::timed_by(time.clock()),
        ..options(folder.path(), Faults::never())
    };
    // The window does not end by itself: the clock stands still.
    options.limits = Limits {
        commit_window: Duration::from_secs(1),
        queue_bytes: 2 << 10,
        ..options.limits
    };
    let (outbox, _) = Outbox::open(options).unwrap();
    let mut tickets = Vec::new();
    let refused = loop {
        match outbox.offer(normal(vec![1; 500])) {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => break error,
        }
    };
    assert!(matches!(
        refused,
        AppendError::QueueFull { limit: 2048, .. }
    ));
    let accepted = tickets.len() as u64;
    assert!(accepted >= 2);
    let until = soon_on(&time.clock());
    for (at, ticket) in tickets.iter().enumerate() {
        let position = ticket.wait(until).unwrap();
        assert_eq!(position.sequence, at as u64 + 1);
    }
    let lost = (
        "camera".to_owned(),
        accepted + 1,
        accepted + 1,
        1,
        "queue_full",
    );
    assert_eq!(await_losses(&outbox), [lost]);
    assert_eq!(payloads(&outbox).len() as u64, accepted);
}

#[test]
fn a_record_that_is_not_durable_in_time_is_late_and_may_still_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH);
    let mut options = Options {
        supervisor: Supervisor::timed_by(time.clock()),
        ..options(folder.path(), Faults::never())
    };
    options.limits.commit_window = Duration::from_secs(60);
    let (outbox, _) = Outbox::open(options).unwrap();
    let ticket = outbox.offer(normal("a")).unwrap();
    let late = outbox.append(vec![normal("b")], time.clock().now());
    // As many came as last time, so it may have been committed at once.
    assert!(late.is_ok() || late.unwrap_err().name() == "late");
    let position = Position {
        epoch: 1,
        sequence: 1,
    };
    assert_eq!(ticket.wait(soon_on(&time.clock())).unwrap(), position);
    end_on(&outbox, &time);
    assert_eq!(outbox.offer(normal("c")).unwrap_err().name(), "closed");
    assert_eq!(payloads(&outbox), [b"a", b"b"]);
}

#[test]
fn a_caller_that_waits_is_woken_by_the_first_record() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    assert!(!outbox.wait(std::time::Instant::now()));
    let waiting = outbox.clone();
    let thread = std::thread::spawn(move || waiting.wait(soon()));
    append(&outbox, &["a"]);
    assert!(thread.join().unwrap());
    outbox.acknowledge("camera", &[(1, 1)]).unwrap();
    assert!(!outbox.wait(std::time::Instant::now()));
    let waiting = outbox.clone();
    let thread = std::thread::spawn(move || waiting.wait(soon()));
    end(outbox);
    assert!(!thread.join().unwrap());
}

#[test]
fn writers_share_commits_and_each_keeps_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(
        folder.path(),
        Disk::new(Faults::never()),
        &Supervisor::default(),
    );
    options.limits.commit_window = Duration::from_millis(20);
    let (outbox, _) = Outbox::open(options).unwrap();
    let (writers, each) = (8, 20);
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let outbox = &outbox;
            scope.spawn(move || {
                let source: Arc<str> = Arc::from(format!("w{writer}"));
                for at in 0..each {
                    let record = record(&source, Priority::Normal, [at]);
                    let position = outbox.append(vec![record], soon()).unwrap()[0];
                    assert_eq!(position.sequence, u64::from(at) + 1);
                }
            });
        }
    });
    let stats = outbox.stats();
    assert_eq!(stats.records, writers * usize::from(each));
    assert!(stats.commits < stats.records as u64, "{stats:?}");
    assert_eq!(stats.payload_bytes, 160);
}
