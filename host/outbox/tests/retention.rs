//! How long records and their bytes are kept: by the age of all, by the retention of a source, also after a time without power, and until a
//! source is erased.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_base::{Clock, VirtualClock};
use hotshoe_outbox::{Erased, Host, Options, Outbox, Priority, Record};
use hotshoe_tests::until;

use common::{end_on, limits, losses, normal, options, payloads, record, soon_on};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
/// Some day in 2026.
const START_S: u64 = 1_790_000_000;

fn wall(after: Duration) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(START_S) + after
}

/// The outbox of a folder, in a start of the machine.
fn open(folder: &Path, time: &VirtualClock, boot: &str) -> Outbox {
    let options = Options {
        limits: limits(),
        host: Host {
            machine: "machine".to_owned(),
            boot: boot.to_owned(),
            uptime: Duration::from_secs(1),
        },
        ..Options::new(
            folder,
            Disk::new(Faults::never()),
            &Supervisor::timed_by(time.clock()),
        )
    };
    Outbox::open(options).unwrap().0
}

fn end(outbox: Outbox, clock: &Clock) {
    assert!(outbox.close(soon_on(clock)), "it did not end");
}

fn kept(source: &str, payload: &str, retention: Option<Duration>) -> Record {
    Record {
        retention,
        ..record(source, Priority::Normal, payload)
    }
}

fn append(outbox: &Outbox, clock: &Clock, record: Record) {
    outbox.append(vec![record], soon_on(clock)).unwrap();
}

/// Whether any file of a folder has these bytes.
fn has(folder: &Path, payload: &str) -> bool {
    let entries = fs::read_dir(folder).unwrap();
    let mut files = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap_or_default());
    files.any(|bytes| {
        let mut windows = bytes.windows(payload.len());
        windows.any(|it| it == payload.as_bytes())
    })
}

fn expired(source: &str) -> Vec<(String, u64, u64, u64, &'static str)> {
    vec![(source.to_owned(), 1, 1, 1, "expired")]
}

#[test]
fn records_expire_by_the_monotonic_time_and_not_by_a_clock_that_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(24 * 3600);
    let start = SystemTime::UNIX_EPOCH + 20_000 * day;
    let time = VirtualClock::at(start);
    let on = |time: &VirtualClock, host: Host| {
        let options = Options {
            supervisor: Supervisor::timed_by(time.clock()),
            host,
            ..options(folder.path(), Faults::never())
        };
        Outbox::open(options).unwrap().0
    };
    let host = |boot: &str, uptime| Host {
        machine: "machine".to_owned(),
        boot: boot.to_owned(),
        uptime,
    };
    let outbox = on(&time, host("one", day));
    let until = || soon_on(&time.clock());
    outbox.append(vec![normal("old")], until()).unwrap();
    time.set_wall(start + 1000 * day);
    outbox.append(vec![normal("jumped")], until()).unwrap();
    assert_eq!(payloads(&outbox).len(), 2);
    time.set_wall(start - 1000 * day);
    assert_eq!(payloads(&outbox).len(), 2);
    end_on(&outbox, &time);
    drop(outbox);

    // The program starts again in the same boot, with a clock that is far ahead: the uptime counts.
    let time = VirtualClock::at(start + 5000 * day);
    let outbox = on(&time, host("one", 2 * day));
    assert_eq!(payloads(&outbox).len(), 2);
    assert_eq!(outbox.stats().oldest, Some(day));
    // The age is 30 days: 29 more are one too few.
    time.advance(29 * day - Duration::from_secs(1));
    assert_eq!(payloads(&outbox).len(), 2);
    time.advance(Duration::from_secs(2));
    assert_eq!(payloads(&outbox), Vec::<Vec<u8>>::new());
    end_on(&outbox, &time);
    let lost = ("camera".to_owned(), 1, 2, 2, "expired");
    assert_eq!(losses(&outbox), [lost]);
}

#[test]
fn a_month_off_counts_and_a_clock_that_went_back_does_not() {
    let day = Duration::from_secs(24 * 3600);
    let start = SystemTime::UNIX_EPOCH + 20_000 * day;
    let left_after = |wall| {
        let folder = tempfile::tempdir().unwrap();
        for (boot, wall) in [("one", start), ("two", wall)] {
            let time = VirtualClock::at(wall);
            let mut options = Options {
                supervisor: Supervisor::timed_by(time.clock()),
                ..options(folder.path(), Faults::never())
            };
            options.host.boot = boot.to_owned();
            let outbox = Outbox::open(options).unwrap().0;
            if boot == "two" {
                return payloads(&outbox).len();
            }
            let until = soon_on(&time.clock());
            outbox.append(vec![normal("a")], until).unwrap();
            end_on(&outbox, &time);
        }
        unreachable!()
    };
    assert_eq!(left_after(start + 31 * day), 0);
    assert_eq!(left_after(start + 29 * day), 1);
    assert_eq!(left_after(start - 1000 * day), 1);
}

#[test]
fn a_record_is_lost_within_its_retention_and_its_bytes_are_gone_when_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    let time = VirtualClock::at(wall(Duration::ZERO));
    let clock = time.clock();
    let outbox = open(folder.path(), &time, "one");
    append(&outbox, &clock, kept("count", "plain", None));
    append(&outbox, &clock, kept("people", "secret", Some(8 * HOUR)));
    time.await_waiting(1);
    time.advance(6 * HOUR);
    assert_eq!(payloads(&outbox), [b"plain".to_vec(), b"secret".to_vec()]);
    // Seven eighths of it.
    time.advance(HOUR);
    assert_eq!(payloads(&outbox), [b"plain"]);
    until("the loss is to be sent", || {
        losses(&outbox) == expired("people")
    });
    time.advance(HOUR);
    until("the bytes are gone", || !has(folder.path(), "secret"));
    assert!(has(folder.path(), "plain"));
    assert_eq!(payloads(&outbox), [b"plain"]);
    end(outbox, &clock);
    let time = VirtualClock::at(wall(8 * HOUR));
    let outbox = open(folder.path(), &time, "two");
    assert_eq!(payloads(&outbox), [b"plain"]);
    assert_eq!(losses(&outbox), expired("people"));
}

#[test]
fn the_bytes_of_a_delivered_record_go_too() {
    let folder = tempfile::tempdir().unwrap();
    let time = VirtualClock::at(wall(Duration::ZERO));
    let clock = time.clock();
    let outbox = open(folder.path(), &time, "one");
    append(&outbox, &clock, kept("people", "secret", Some(HOUR)));
    outbox.acknowledge("people", &[(1, 1)]).unwrap();
    assert!(has(folder.path(), "secret"));
    time.await_waiting(1);
    time.advance(HOUR);
    until("the bytes are gone", || !has(folder.path(), "secret"));
    assert!(payloads(&outbox).is_empty() && losses(&outbox).is_empty());
}

#[test]
fn after_a_month_without_power_what_is_due_goes_when_the_outbox_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let time = VirtualClock::at(wall(Duration::ZERO));
    let outbox = open(folder.path(), &time, "one");
    let day = 24 * HOUR;
    append(
        &outbox,
        &time.clock(),
        kept("people", "secret", Some(2 * day)),
    );
    append(
        &outbox,
        &time.clock(),
        kept("cars", "number", Some(60 * day)),
    );
    end(outbox, &time.clock());
    assert!(has(folder.path(), "secret"));
    // Less than the greatest age of all records, which is 30 days.
    let time = VirtualClock::at(wall(29 * day));
    let outbox = open(folder.path(), &time, "two");
    assert!(!has(folder.path(), "secret"));
    assert_eq!(payloads(&outbox), [b"number"]);
    assert_eq!(losses(&outbox), expired("people"));
}

#[test]
fn a_shorter_retention_applies_at_once_and_a_longer_one_after_the_present_one() {
    let folder = tempfile::tempdir().unwrap();
    let time = VirtualClock::at(wall(Duration::ZERO));
    let clock = time.clock();
    let outbox = open(folder.path(), &time, "one");
    let retention = || outbox.sources()[0].retention;
    append(&outbox, &clock, kept("people", "a", Some(2 * HOUR)));
    append(&outbox, &clock, kept("people", "b", Some(HOUR)));
    assert_eq!(retention(), Some(HOUR));
    append(&outbox, &clock, kept("people", "c", None));
    assert_eq!(retention(), Some(HOUR));
    time.await_waiting(1);
    time.advance(HOUR + MINUTE);
    append(&outbox, &clock, kept("people", "d", None));
    assert_eq!(retention(), None);
    assert_eq!(payloads(&outbox), [b"d"]);
}

#[test]
fn an_erased_source_leaves_no_bytes_and_its_loss_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let time = VirtualClock::at(wall(Duration::ZERO));
    let clock = time.clock();
    let outbox = open(folder.path(), &time, "one");
    append(&outbox, &clock, kept("people", "secret-1", None));
    append(&outbox, &clock, kept("count", "plain", None));
    append(&outbox, &clock, kept("people", "secret-22", None));
    outbox.acknowledge("people", &[(1, 1)]).unwrap();
    let error = outbox.erase("persons").unwrap_err();
    assert_eq!(error.name(), "unknown_source");
    let erased = Erased {
        records: 1,
        payload_bytes: 9,
        segments: 1,
    };
    assert_eq!(outbox.erase("people").unwrap(), erased);
    assert!(!has(folder.path(), "secret"));
    let lost = vec![("people".to_owned(), 2, 2, 1, "erased")];
    assert_eq!(losses(&outbox), lost);
    assert_eq!(payloads(&outbox), [b"plain"]);
    // Its sequence goes on.
    append(&outbox, &clock, kept("people", "later", None));
    let sources = outbox.sources();
    let people = sources.iter().find(|it| it.source == "people").unwrap();
    assert_eq!((people.given, people.records), (3, 1));
    end(outbox, &clock);
    let outbox = open(folder.path(), &time, "two");
    assert_eq!(losses(&outbox), lost);
    assert_eq!(payloads(&outbox), [b"plain".to_vec(), b"later".to_vec()]);
}

#[test]
fn an_erasure_that_the_disk_refuses_says_so_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = common::open(folder.path());
    outbox
        .append(vec![kept("people", "secret", None)], common::soon())
        .unwrap();
    common::end(outbox);
    let faults = Faults::broken_after(0);
    let (outbox, _) = Outbox::open(common::options(folder.path(), faults.clone())).unwrap();
    assert_eq!(outbox.erase("people").unwrap_err().name(), "io");
    assert!(payloads(&outbox).is_empty());
    faults.end();
    assert_eq!(outbox.erase("people").unwrap().records, 0);
    assert!(!has(folder.path(), "secret"));
    assert_eq!(losses(&outbox)[0].4, "erased");
}

/// Whatever step of the disk fails: an erasure that says that it is done has left no bytes, and one that is repeated is done.
#[test]
fn an_erasure_is_not_done_while_a_segment_is_left() {
    const MOST_STEPS: u64 = 100;
    for step in 0..MOST_STEPS {
        let folder = tempfile::tempdir().unwrap();
        let (outbox, _) = common::open(folder.path());
        outbox
            .append(vec![kept("people", "secret", None)], common::soon())
            .unwrap();
        common::end(outbox);
        let faults = Faults::broken_after(step);
        let (outbox, _) = Outbox::open(common::options(folder.path(), faults.clone())).unwrap();
        if outbox.erase("people").is_ok() {
            assert!(!has(folder.path(), "secret"), "step {step}");
            assert!(step > 0, "no step was refused");
            return;
        }
        faults.end();
        outbox.erase("people").unwrap();
        assert!(!has(folder.path(), "secret"), "step {step}");
    }
    panic!("{MOST_STEPS} steps are not enough");
}
