//! Both kinds of store: each record once, whatever comes again; conflicts, losses, a power cut at each step, damaged files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_collect::{
    Outcome, RECORDS, ReceivedBatch, ReceivedItem, ReceivedLoss, ReceivedRecord, Store, StoreError,
};
use hotshoe_trust::Digest;
use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::Value;

/// More steps than a run has.
const MOST_STEPS: u64 = 200;

fn batch(items: Vec<ReceivedItem>) -> ReceivedBatch {
    ReceivedBatch {
        site: "lab".to_owned(),
        device: "cam".to_owned(),
        instance: "0".repeat(32),
        session: "run".to_owned(),
        left: 0,
        items,
    }
}

fn record(sequence: u64, payload: &str) -> ReceivedItem {
    ReceivedItem::Record(ReceivedRecord {
        source: "insight".to_owned(),
        epoch: 1,
        sequence,
        digest: Digest::of(payload.as_bytes()),
        class: "insight".to_owned(),
        priority: "normal".to_owned(),
        wall_ms: 7,
        payload: payload.as_bytes().to_vec(),
    })
}

fn loss(from: u64, to: u64, cause: &str) -> ReceivedItem {
    ReceivedItem::Loss(ReceivedLoss {
        source: "insight".to_owned(),
        epoch: 1,
        from,
        to,
        count: to - from + 1,
        bytes: 0,
        cause: cause.to_owned(),
    })
}

fn jsonl(folder: &Path) -> Store {
    Store::jsonl(folder, Disk::new(Faults::never())).unwrap()
}

/// A store of each kind in a folder.
fn stores(folder: &Path) -> [Store; 2] {
    let database = Store::sqlite(&folder.join("collected.db")).unwrap();
    [jsonl(&folder.join("lines")), database]
}

/// The sequences and payloads of a folder of lines, as they come.
fn records(folder: &Path) -> Vec<(u64, String)> {
    let text = fs::read_to_string(folder.join(RECORDS)).unwrap();
    let lines = text
        .lines()
        .map(|line| -> Value { serde_json::from_str(line).unwrap() });
    lines
        .filter(|line| line["kind"] == "record")
        .map(|line| {
            let payload = line["payload"].to_string();
            (line["sequence"].as_u64().unwrap(), payload)
        })
        .collect()
}

fn rows(folder: &Path) -> Vec<(u64, String)> {
    let database = Connection::open(folder.join("collected.db")).unwrap();
    let mut query = database
        .prepare("SELECT sequence, CAST(payload AS TEXT) FROM records ORDER BY sequence, digest")
        .unwrap();
    let rows = query
        .query_map([], |row| {
            let sequence: i64 = row.get(0)?;
            Ok((u64::try_from(sequence).unwrap(), row.get(1)?))
        })
        .unwrap();
    rows.map(Result::unwrap).collect()
}

fn lost(causes: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let causes = causes.iter();
    causes
        .map(|(cause, count)| ((*cause).to_owned(), *count))
        .collect()
}

#[test]
fn a_record_that_comes_again_is_dropped_also_after_a_new_start() {
    let folder = tempfile::tempdir().unwrap();
    let sent = batch(vec![record(1, "{\"a\":1}"), record(2, "2")]);
    let again = batch(vec![record(2, "2"), record(3, "3"), record(3, "3")]);
    let [mut lines, mut database] = stores(folder.path());
    for store in [&mut lines, &mut database] {
        assert_eq!(store.put(&sent).unwrap().stored, 2);
        let outcome = store.put(&again).unwrap();
        assert_eq!((outcome.stored, outcome.duplicates), (1, 2));
    }
    drop((lines, database));
    for mut store in stores(folder.path()) {
        let outcome = store.put(&sent).unwrap();
        assert_eq!((outcome.stored, outcome.duplicates), (0, 2));
    }
    let expected = [(1, "{\"a\":1}"), (2, "2"), (3, "3")].map(|(at, it)| (at, it.to_owned()));
    assert_eq!(records(&folder.path().join("lines")), expected);
    assert_eq!(rows(folder.path()), expected);
}

#[test]
fn two_payloads_of_one_number_are_a_conflict_and_both_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    for mut store in stores(folder.path()) {
        store.put(&batch(vec![record(1, "1")])).unwrap();
        let outcome = store.put(&batch(vec![record(1, "\"other\"")])).unwrap();
        assert_eq!((outcome.stored, outcome.duplicates), (1, 0));
        assert_eq!(outcome.conflicts.len(), 1);
        assert_eq!(outcome.conflicts[0].sequence, 1);
        // Both are known now.
        let outcome = store.put(&batch(vec![record(1, "1")])).unwrap();
        assert_eq!((outcome.duplicates, outcome.conflicts.len()), (1, 0));
        // Another epoch is another record.
        let mut later = record(1, "1");
        if let ReceivedItem::Record(record) = &mut later {
            record.epoch = 2;
        }
        let outcome = store.put(&batch(vec![later])).unwrap();
        assert_eq!((outcome.stored, outcome.conflicts.len()), (1, 0));
    }
    let text = fs::read_to_string(folder.path().join("lines").join(RECORDS)).unwrap();
    assert_eq!(text.matches("\"conflict\":true").count(), 1);
}

#[test]
fn a_lost_record_counts_once_and_one_that_is_stored_does_not() {
    let folder = tempfile::tempdir().unwrap();
    for mut store in stores(folder.path()) {
        store.put(&batch(vec![record(3, "3")])).unwrap();
        let outcome = store.put(&batch(vec![loss(1, 4, "evicted")])).unwrap();
        assert_eq!(outcome.lost, lost(&[("evicted", 3)]));
        assert_eq!(outcome.losses.len(), 1);
        // It comes again, and once more with neighbours.
        let again = store.put(&batch(vec![loss(1, 4, "evicted")])).unwrap();
        assert_eq!(again, Outcome::default());
        let grown = store.put(&batch(vec![loss(1, 9, "evicted")])).unwrap();
        assert_eq!(grown.lost, lost(&[("evicted", 5)]));
        let other = store.put(&batch(vec![loss(9, 10, "expired")])).unwrap();
        assert_eq!(other.lost, lost(&[("expired", 1)]));
        // A range is stored as such, not as a list of its numbers.
        let huge = batch(vec![loss(11, i64::MAX as u64, "corrupt")]);
        let outcome = store.put(&huge).unwrap();
        assert_eq!(outcome.lost, lost(&[("corrupt", i64::MAX as u64 - 10)]));
    }
}

#[test]
fn a_line_that_was_not_written_whole_is_cut_off_and_a_damaged_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(RECORDS);
    let sent = batch(vec![record(1, "1"), record(2, "2")]);
    jsonl(folder.path()).put(&sent).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    let mut store = jsonl(folder.path());
    assert_eq!(store.put(&sent).unwrap().stored, 1);
    drop(store);
    assert_eq!(fs::read(&path).unwrap(), whole);
    let damaged = [b"{\"kind\":\"record\"\n", whole.as_slice()].concat();
    fs::write(&path, damaged).unwrap();
    let error = Store::jsonl(folder.path(), Disk::new(Faults::never())).unwrap_err();
    assert_eq!(error.name(), "store_damaged");
    assert!(matches!(error, StoreError::Damaged { line: 1, .. }));
}

#[test]
fn payloads_that_are_not_lines_of_json_keep_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let payloads = ["{\n}", "not json", "", "1e999", "{\"b\":1.50}"];
    let numbered = (1..).zip(payloads);
    let items = numbered.map(|(at, payload)| record(at, payload)).collect();
    let sent = batch(items);
    for mut store in stores(folder.path()) {
        assert_eq!(store.put(&sent).unwrap().stored, 5);
    }
    for mut store in stores(folder.path()) {
        assert_eq!(store.put(&sent).unwrap().duplicates, 5);
    }
    let stored: Vec<String> = rows(folder.path()).into_iter().map(|(_, it)| it).collect();
    assert_eq!(stored, payloads);
}

#[test]
fn a_folder_is_written_by_one_program() {
    let folder = tempfile::tempdir().unwrap();
    let _first = jsonl(folder.path());
    let error = Store::jsonl(folder.path(), Disk::new(Faults::never())).unwrap_err();
    assert_eq!(error.name(), "store_busy");
}

/// Sends batches of two records, each again until it is stored, as a device does; the first four are lost and found again.
fn run(store: &mut Store, acknowledged: &mut u64) -> Result<(), StoreError> {
    while *acknowledged < 12 {
        let next = *acknowledged + 1;
        let items = (next..next + 2).map(|at| record(at, &at.to_string()));
        store.put(&batch(items.collect()))?;
        *acknowledged += 2;
    }
    Ok(())
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_acknowledged_and_doubles_nothing() {
    let mut finished = false;
    for step in 0..MOST_STEPS {
        let folder = tempfile::tempdir().unwrap();
        let mut acknowledged = 0;
        let faults = Faults::after(step);
        let cut = Store::jsonl(folder.path(), Disk::new(faults))
            .and_then(|mut store| run(&mut store, &mut acknowledged));
        finished = cut.is_ok();
        if finished {
            break;
        }
        let mut store = jsonl(folder.path());
        let there = records(folder.path());
        let kept: BTreeSet<u64> = there.iter().map(|(at, _)| *at).collect();
        assert!(
            (1..=acknowledged).all(|at| kept.contains(&at)),
            "step {step}"
        );
        run(&mut store, &mut acknowledged).unwrap();
        let expected: Vec<(u64, String)> = (1..=12).map(|at| (at, at.to_string())).collect();
        assert_eq!(records(folder.path()), expected, "step {step}");
    }
    assert!(finished, "{MOST_STEPS} steps are not enough");
}

#[test]
fn a_disk_that_refuses_ends_the_store_and_a_new_start_goes_on() {
    for faults in [Faults::full_after(4), Faults::broken_after(6)] {
        let folder = tempfile::tempdir().unwrap();
        let mut acknowledged = 0;
        let mut store = Store::jsonl(folder.path(), Disk::new(faults.clone())).unwrap();
        run(&mut store, &mut acknowledged).unwrap_err();
        faults.end();
        // What the file has is not known.
        let error = run(&mut store, &mut acknowledged).unwrap_err();
        assert_eq!(error.name(), "store_broken");
        drop(store);
        run(&mut jsonl(folder.path()), &mut acknowledged).unwrap();
        let expected: Vec<(u64, String)> = (1..=12).map(|at| (at, at.to_string())).collect();
        assert_eq!(records(folder.path()), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Whatever is sent again, in whatever pieces and over whatever restarts, both stores have each record once.
    #[test]
    fn any_deliveries_store_each_record_once(
        sent in prop::collection::vec((1u64..30, 0u64..6, any::<bool>()), 1..24)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut both = Some(stores(folder.path()));
        let mut expected = BTreeSet::new();
        for (from, more, restarts) in sent {
            if restarts {
                // The old ones are closed first.
                drop(both.take());
            }
            let both = both.get_or_insert_with(|| stores(folder.path()));
            let all = from..=from + more;
            let new = all.clone().filter(|at| !expected.contains(at)).count() as u64;
            expected.extend(all.clone());
            let items: Vec<_> = all.map(|at| record(at, &at.to_string())).collect();
            let duplicates = items.len() as u64 - new;
            for store in both {
                let outcome = store.put(&batch(items.clone())).unwrap();
                prop_assert_eq!((outcome.stored, outcome.duplicates), (new, duplicates));
            }
        }
        drop(both);
        let expected: Vec<(u64, String)> = expected.into_iter().map(|at| (at, at.to_string())).collect();
        let mut stored = records(&folder.path().join("lines"));
        stored.sort();
        prop_assert_eq!(&stored, &expected);
        prop_assert_eq!(&rows(folder.path()), &expected);
    }
}
