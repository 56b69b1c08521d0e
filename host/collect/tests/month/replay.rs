//! The end of the month: all is sent to a store, and each record is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_collect::{RECORDS, ReceivedBatch, Store};
use hotshoe_outbox::Item;
use hotshoe_protocol::outbox::{
    BATCH_FORMAT, Batch, BatchItem, LossItem, RecordItem, encode_payload,
};
use hotshoe_tests::until;
use hotshoe_trust::Digest;
use serde_json::Value;

use super::{DAYS, SOURCES, open};

/// Sends all to a store, as a device does that has its network back; some acknowledgements are lost.
pub(super) fn replay(folder: &Path, store: &Path, start: u64) {
    let (outbox, _time) = open(folder, Faults::never(), DAYS * 24, start).unwrap();
    let mut lines = Store::jsonl(store, Disk::new(Faults::never())).unwrap();
    let waiting = outbox.stats().records as u64;
    let (mut batches, mut stored, mut duplicates) = (0_u64, 0, 0);
    until("all is delivered", || {
        loop {
            let items = outbox.next_batch(256, 256 << 10).unwrap();
            if items.is_empty() {
                break;
            }
            let outcome = lines
                .put(&received(&items, outbox.stats().instance))
                .unwrap();
            stored += outcome.stored;
            duplicates += outcome.duplicates;
            assert!(outcome.conflicts.is_empty());
            batches += 1;
            if batches % 5 == 0 {
                // The acknowledgement is lost: the batch comes again.
                continue;
            }
            for item in &items {
                let (source, from, to) = item.range();
                outbox.acknowledge(source, &[(from, to)]).unwrap();
            }
        }
        let stats = outbox.stats();
        stats.records == 0 && stats.losses == 0
    });
    assert_eq!(stored, waiting);
    assert!(batches < 5 || duplicates > 0);
}

/// A batch as a collector reads it from the wire.
fn received(items: &[Item], instance: u128) -> ReceivedBatch {
    let items = items.iter().map(|item| match item {
        Item::Record(record) => {
            let (payload, payload_base64) = encode_payload(&record.payload);
            BatchItem::Record(RecordItem {
                source: record.id.source.to_string(),
                epoch: record.id.epoch,
                sequence: record.id.sequence,
                digest: Digest::from_bytes(record.id.digest).hex(),
                class: record.class.clone(),
                priority: record.priority.name().to_owned(),
                wall_ms: record.wall_ms,
                payload,
                payload_base64,
            })
        }
        Item::Loss(loss) => BatchItem::Loss(LossItem {
            source: loss.source.to_string(),
            epoch: loss.epoch,
            from: loss.from,
            to: loss.to,
            count: loss.count,
            bytes: loss.bytes,
            cause: loss.cause.name().to_owned(),
        }),
    });
    let batch = Batch {
        format: BATCH_FORMAT,
        site: "lab".to_owned(),
        device: "line-4".to_owned(),
        instance: format!("{instance:032x}"),
        session: "replay".to_owned(),
        left: 0,
        items: items.collect(),
    };
    let bytes = serde_json::to_vec(&batch).unwrap();
    let batch: Batch = serde_json::from_slice(&bytes).unwrap();
    ReceivedBatch::try_from(&batch).unwrap()
}

/// Checks that each accepted record is stored, once and as it was, or within a loss, and that each sequence is one or the other.
pub(super) fn check_store(store: &Path, accepted: &BTreeMap<(usize, u64), u64>) {
    let text = fs::read_to_string(store.join(RECORDS)).unwrap();
    let mut stored: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    let mut lost: BTreeMap<(usize, u64), String> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = line["source"].as_str().unwrap();
        let source = SOURCES.iter().position(|it| it.0 == name).unwrap();
        let whole = |key: &str| line[key].as_u64().unwrap();
        if line["kind"] == "record" {
            let number = line["payload"]["number"].as_u64().unwrap();
            let twice = stored.insert((source, whole("sequence")), number);
            assert_eq!(twice, None, "{line}");
        } else {
            let cause = line["cause"].as_str().unwrap();
            for sequence in whole("from")..=whole("to") {
                lost.insert((source, sequence), cause.to_owned());
            }
        }
    }
    let mut causes = BTreeMap::new();
    for (place, number) in accepted {
        match (stored.get(place), lost.get(place)) {
            (Some(found), None) => assert_eq!(found, number, "{place:?}"),
            (None, Some(cause)) => {
                *causes.entry(cause.as_str()).or_insert(0_u64) += 1;
            }
            (None, None) => panic!("{place:?} was accepted, and is neither stored nor lost"),
            (Some(_), Some(_)) => panic!("{place:?} is stored and lost"),
        }
    }
    println!("accepted and lost: {causes:?}");
    // What was accepted was lost for its age or for space. Where losses are many, neighbours have the cause of the larger one.
    let (needed, allowed) = (["evicted", "expired"], ["evicted", "expired", "disk_full"]);
    assert!(
        needed.iter().all(|it| causes.contains_key(it)),
        "{causes:?}"
    );
    assert!(causes.keys().all(|it| allowed.contains(it)), "{causes:?}");
    for source in 0..SOURCES.len() {
        let of = |places: &mut dyn Iterator<Item = (usize, u64)>| -> BTreeSet<u64> {
            let of_source = places.filter(|it| it.0 == source);
            of_source.map(|it| it.1).collect()
        };
        let stored = of(&mut stored.keys().copied());
        let lost = of(&mut lost.keys().copied());
        assert!(stored.is_disjoint(&lost), "source {source}");
        let all: Vec<u64> = stored.union(&lost).copied().collect();
        let last = all.last().copied().unwrap_or_default();
        assert_eq!(all, (1..=last).collect::<Vec<u64>>(), "source {source}");
    }
}
