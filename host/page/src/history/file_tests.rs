#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;

use hotshoe_base::disk::Faults;

use super::*;
use crate::history::record::Value;

/// A time that begins a slot of each ring: 7,200 s times 250,000.
const NOW: u64 = 1_800_000_000;

fn record(start: u64, rate: f32) -> Record {
    let mut record = Record {
        start,
        count: 3,
        ..Record::default()
    };
    record.values[0] = Some(Value {
        median: rate,
        most: rate,
    });
    record
}

fn mark(at: u64, label: &str) -> Mark {
    Mark {
        at,
        kind: "release_swapped".to_owned(),
        label: label.to_owned(),
    }
}

fn open(path: &Path) -> HistoryFile {
    HistoryFile::open(path, Disk::new(Faults::never())).unwrap()
}

#[test]
fn the_size_of_the_file_is_the_documented_one_and_stays() {
    assert_eq!(FILE_BYTES, 185_024);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page/history");
    let mut history = open(&path);
    history.flush().unwrap();
    for slot in 0..1_000 {
        history.add(Span::Hour, record(NOW + slot * 15, 1.0));
        history.mark(mark(NOW, "x"));
    }
    history.flush().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), FILE_BYTES as u64);
}

#[test]
fn records_and_marks_are_read_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let mut history = open(&path);
    let records = [
        record(NOW - 30, 1.0),
        record(NOW - 15, 2.0),
        record(NOW, 3.0),
    ];
    for record in records.iter().rev() {
        history.add(Span::Hour, record.clone());
    }
    history.add(Span::Day, record(NOW, 4.0));
    history.mark(mark(NOW - 20, "a 1"));
    history.mark(mark(NOW - 10, "a 2"));
    history.flush().unwrap();
    let history = open(&path);
    let read: Vec<_> = history
        .records(Span::Hour, NOW)
        .into_iter()
        .cloned()
        .collect();
    assert_eq!(read, records);
    assert_eq!(history.records(Span::Day, NOW), [&record(NOW, 4.0)]);
    assert!(history.records(Span::Month, NOW).is_empty());
    let marks = history.marks(Span::Hour, NOW);
    assert_eq!(marks, [&mark(NOW - 20, "a 1"), &mark(NOW - 10, "a 2")]);
}

#[test]
fn a_record_that_is_older_than_the_ring_or_from_a_clock_ahead_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = open(&folder.path().join("history"));
    history.add(Span::Hour, record(NOW - 3_600, 1.0));
    history.add(Span::Hour, record(NOW - 3_570, 2.0));
    // It has the place of the record of 3,585 seconds ago.
    history.add(Span::Hour, record(NOW + 15, 3.0));
    assert_eq!(
        history.records(Span::Hour, NOW),
        [&record(NOW - 3_570, 2.0)]
    );
}

#[test]
fn of_a_slot_that_a_restart_has_cut_in_two_the_longer_part_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let part = |count: u32, rate: f32| Record {
        count,
        ..record(NOW, rate)
    };
    let mut history = open(&path);
    history.add(Span::Month, part(900, 1.0));
    history.flush().unwrap();
    let mut history = open(&path);
    history.add(Span::Month, part(540, 2.0));
    assert_eq!(history.records(Span::Month, NOW), [&part(900, 1.0)]);
    history.add(Span::Month, part(901, 3.0));
    assert_eq!(history.records(Span::Month, NOW), [&part(901, 3.0)]);
    // The same place, a month later.
    let later = record(NOW + Span::Month.seconds(), 4.0);
    history.add(Span::Month, later.clone());
    assert_eq!(history.records(Span::Month, later.start), [&later]);
}

#[test]
fn marks_that_do_not_fit_replace_the_oldest_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let mut history = open(&path);
    for number in 0..300 {
        history.mark(mark(NOW, &number.to_string()));
    }
    history.flush().unwrap();
    let mut history = open(&path);
    history.mark(mark(NOW, "300"));
    let marks = history.marks(Span::Hour, NOW);
    assert_eq!(marks.len(), 256);
    assert_eq!(
        (marks[0].label.as_str(), marks[255].label.as_str()),
        ("45", "300")
    );
}

#[test]
fn five_minutes_are_two_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let mut history = open(&path);
    history.flush().unwrap();
    for slot in 0..20 {
        history.add(Span::Hour, record(NOW + slot * 15, 1.0));
    }
    history.add(Span::Day, record(NOW, 1.0));
    assert_eq!(history.flush().unwrap(), 2);
    assert_eq!(history.flush().unwrap(), 0);
}

#[test]
fn a_file_of_a_newer_version_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let newer = b"hotshoe history 2\nsomething else".to_vec();
    fs::write(&path, &newer).unwrap();
    let error = HistoryFile::open(&path, Disk::new(Faults::never())).unwrap_err();
    assert_eq!(error.name(), "newer_format");
    assert_eq!(fs::read(&path).unwrap(), newer);
}

#[test]
fn a_file_of_something_else_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    for other in [b"something else".to_vec(), vec![7; FILE_BYTES + 1]] {
        fs::write(&path, other).unwrap();
        let mut history = open(&path);
        history.add(Span::Hour, record(NOW, 1.0));
        history.flush().unwrap();
        let history = open(&path);
        assert_eq!(history.records(Span::Hour, NOW), [&record(NOW, 1.0)]);
        assert_eq!(fs::metadata(&path).unwrap().len(), FILE_BYTES as u64);
    }
}

/// Writes two generations of records with a fault at each step: whatever is read afterwards was once written, and the next flush mends all.
#[test]
fn after_a_fault_at_any_step_only_written_records_are_read_and_the_next_flush_repairs_the_file() {
    let written = |history: &mut HistoryFile, rate: f32| {
        for slot in 0..20 {
            history.add(Span::Hour, record(NOW + slot * 15, rate));
        }
        history.add(Span::Day, record(NOW, rate));
        history.mark(mark(NOW, &rate.to_string()));
    };
    let kinds: [fn(u64) -> Faults; 4] = [
        Faults::after,
        Faults::full_after,
        Faults::read_only_after,
        Faults::broken_after,
    ];
    for kind in kinds {
        for steps in 0..16 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("history");
            let faults = kind(steps);
            let mut history = HistoryFile::open(&path, Disk::new(faults.clone())).unwrap();
            for rate in [1.0, 2.0] {
                written(&mut history, rate);
                let _ = history.flush();
            }
            let read = open(&path);
            let end = NOW + 285;
            for found in read.records(Span::Hour, end) {
                let expected = [1.0, 2.0].map(|rate| record(found.start, rate));
                assert!(expected.contains(found), "{steps}: {found:?}");
            }
            drop(read);
            faults.end();
            written(&mut history, 3.0);
            history.flush().unwrap();
            let read = open(&path);
            let records = read.records(Span::Hour, end);
            assert_eq!(records.len(), 20, "{steps}");
            assert!(records.iter().all(|it| **it == record(it.start, 3.0)));
            assert_eq!(fs::metadata(&path).unwrap().len(), FILE_BYTES as u64);
        }
    }
}
