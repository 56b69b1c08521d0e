//! An outbox with small limits, and what is in its folder.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_base::{Clock, VirtualClock};
use hotshoe_outbox::{Host, Item, Limits, Options, Outbox, Priority, Record, Recovery};
use hotshoe_tests::DEADLINE;

/// 64 KiB in segments of 4 KiB; each record is committed at once.
pub(crate) fn limits() -> Limits {
    Limits {
        bytes: 64 << 10,
        segment_bytes: 4 << 10,
        payload_bytes: 1 << 10,
        commit_window: Duration::ZERO,
        ..Limits::default()
    }
}

pub(crate) fn host() -> Host {
    Host {
        machine: "machine".to_owned(),
        boot: "boot".to_owned(),
        uptime: Duration::from_secs(1),
    }
}

pub(crate) fn options(folder: &Path, faults: Faults) -> Options {
    Options {
        limits: limits(),
        host: host(),
        ..Options::new(folder, Disk::new(faults), &Supervisor::default())
    }
}

/// Opens the outbox of a folder without faults.
pub(crate) fn open(folder: &Path) -> (Outbox, Recovery) {
    Outbox::open(options(folder, Faults::never())).unwrap()
}

/// Ends an outbox, so that its folder can be opened again.
pub(crate) fn end(outbox: Outbox) {
    assert!(outbox.close(soon()), "it did not end");
}

/// The same on another clock; what is there can still be read.
pub(crate) fn end_on(outbox: &Outbox, time: &VirtualClock) {
    assert!(outbox.close(soon_on(&time.clock())));
}

pub(crate) fn soon() -> Instant {
    Instant::now() + DEADLINE
}

/// The deadline on another clock.
pub(crate) fn soon_on(clock: &Clock) -> Instant {
    clock.deadline(DEADLINE)
}

pub(crate) fn record(source: &str, priority: Priority, payload: impl Into<Vec<u8>>) -> Record {
    Record {
        source: Arc::from(source),
        class: Arc::from("insight"),
        priority,
        retention: None,
        payload: payload.into(),
    }
}

pub(crate) fn normal(payload: impl Into<Vec<u8>>) -> Record {
    record("camera", Priority::Normal, payload)
}

pub(crate) fn all(outbox: &Outbox) -> Vec<Item> {
    outbox.next_batch(usize::MAX, usize::MAX).unwrap()
}

/// Appends records of one source together; returns their sequences.
pub(crate) fn append(outbox: &Outbox, payloads: &[&str]) -> Vec<u64> {
    let records = payloads.iter().map(|it| normal(*it)).collect();
    let positions = outbox.append(records, soon()).unwrap();
    positions.iter().map(|it| it.sequence).collect()
}

/// The payloads of all records that are to be sent, in their order.
pub(crate) fn payloads(outbox: &Outbox) -> Vec<Vec<u8>> {
    let items = all(outbox).into_iter();
    let records = items.filter_map(|item| match item {
        Item::Record(record) => Some(record.payload),
        Item::Loss(_) => None,
    });
    records.collect()
}

/// Source, first, last, count and cause of all losses that are to be sent.
pub(crate) fn losses(outbox: &Outbox) -> Vec<(String, u64, u64, u64, &'static str)> {
    let items = all(outbox).into_iter();
    let losses = items.filter_map(|item| match item {
        Item::Record(_) => None,
        Item::Loss(it) => Some((
            it.source.to_string(),
            it.from,
            it.to,
            it.count,
            it.cause.name(),
        )),
    });
    losses.collect()
}

/// Waits until a loss is durable, and returns all.
pub(crate) fn await_losses(outbox: &Outbox) -> Vec<(String, u64, u64, u64, &'static str)> {
    hotshoe_tests::until("a loss is to be sent", || !losses(outbox).is_empty());
    losses(outbox)
}

/// The segments of a folder, by number.
pub(crate) fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "log"))
        .collect();
    segments.sort();
    segments
}

pub(crate) fn bytes(folder: &Path) -> u64 {
    let lengths = segments(folder).into_iter();
    lengths.map(|path| fs::metadata(path).unwrap().len()).sum()
}

/// Turns one bit of a file over.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// Where a payload is in a file.
pub(crate) fn position(path: &Path, payload: &[u8]) -> usize {
    let bytes = fs::read(path).unwrap();
    let mut windows = bytes.windows(payload.len());
    windows.position(|it| it == payload).expect("the payload")
}
