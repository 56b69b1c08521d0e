//! Random use of an outbox, with crashes, full disks and damaged segments, against a model of what it may forget.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use hotshoe_base::disk::Faults;
use hotshoe_outbox::{Item, LossCause, Outbox, Priority, Recovery};
use proptest::prelude::*;

use common::{all, bytes, flip, limits, options, record, segments, soon};

const SOURCES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    /// Records of a source and a priority, each of so many bytes.
    Append(usize, usize, Vec<usize>),
    /// Acknowledges so many of what is sent first, but leaves every third where it is true.
    Acknowledge(usize, bool),
    /// Opens again.
    Reopen,
    /// Cuts the power after so many steps of the disk, and opens again.
    Crash(u64),
    /// Fills the disk after so many steps, for the following steps, until it is opened again.
    Fill(u64),
    /// Flips a bit of a segment before the last, and opens again.
    Flip(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sizes = prop::collection::vec(0usize..1000, 1..6);
    let step = prop_oneof![
        12 => (0..SOURCES.len(), 0usize..4, sizes).prop_map(|(source, priority, sizes)| Step::Append(source, priority, sizes)),
        4 => (1usize..40, any::<bool>()).prop_map(|(count, holes)| Step::Acknowledge(count, holes)),
        1 => Just(Step::Reopen),
        2 => (0u64..40).prop_map(Step::Crash),
        1 => (0u64..20).prop_map(Step::Fill),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(segment, at)| Step::Flip(segment, at)),
    ];
    prop::collection::vec(step, 1..60)
}

/// What is known of each source.
#[derive(Default)]
struct Known {
    accepted: BTreeMap<u64, Vec<u8>>,
    acknowledged: BTreeSet<u64>,
}

struct Run {
    folder: tempfile::TempDir,
    outbox: Option<Outbox>,
    known: [Known; 3],
    /// A segment was damaged, so records may be lost as corrupt.
    is_damaged: bool,
    /// The disk refused something, or was damaged, so what was acknowledged may come again.
    is_forgetful: bool,
    made: u64,
}

impl Run {
    fn new() -> Self {
        let mut run = Self {
            folder: tempfile::tempdir().unwrap(),
            outbox: None,
            known: Default::default(),
            is_damaged: false,
            is_forgetful: false,
            made: 0,
        };
        run.reopen(Faults::never());
        run
    }

    fn outbox(&self) -> &Outbox {
        self.outbox.as_ref().unwrap()
    }

    /// Ends the outbox, and opens it on a disk with these faults.
    fn reopen(&mut self, faults: Faults) -> Recovery {
        self.end();
        let (outbox, recovery) = Outbox::open(options(self.folder.path(), faults)).unwrap();
        self.outbox = Some(outbox);
        recovery
    }

    fn end(&mut self) {
        if let Some(outbox) = self.outbox.take() {
            assert!(outbox.close(soon()));
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(source, priority, sizes) => self.append(*source, *priority, sizes),
            Step::Acknowledge(count, holes) => self.acknowledge(*count, *holes),
            Step::Reopen => {
                self.reopen(Faults::never());
            }
            Step::Crash(after) => {
                self.is_forgetful = true;
                self.reopen(Faults::after(*after));
                for source in 0..SOURCES.len() {
                    self.append(source, source, &[300, 300]);
                }
                self.acknowledge(3, false);
                self.append(0, 3, &[10]);
                self.reopen(Faults::never());
            }
            Step::Fill(after) => {
                self.is_forgetful = true;
                self.reopen(Faults::full_after(*after));
            }
            Step::Flip(segment, at) => self.flip(*segment, *at),
        }
    }

    fn append(&mut self, source: usize, priority: usize, sizes: &[usize]) {
        let mut records = Vec::new();
        for &size in sizes {
            self.made += 1;
            let mut payload = self.made.to_le_bytes().to_vec();
            payload.resize(size.max(8), 0x55);
            records.push(record(SOURCES[source], Priority::ALL[priority], payload));
        }
        let outbox = self.outbox.as_ref().unwrap();
        // One by one, so that it is known which were accepted.
        for record in records {
            let payload = record.payload.clone();
            if let Ok(positions) = outbox.append(vec![record], soon()) {
                let known = &mut self.known[source];
                let before = known.accepted.insert(positions[0].sequence, payload);
                assert!(
                    before.is_none(),
                    "{} was given twice",
                    positions[0].sequence
                );
            }
        }
    }

    fn acknowledge(&mut self, count: usize, holes: bool) {
        let items = self.outbox().next_batch(count, usize::MAX).unwrap();
        for (at, item) in items.iter().enumerate() {
            if holes && at % 3 == 0 {
                continue;
            }
            let (source, from, to) = item.range();
            self.outbox().acknowledge(source, &[(from, to)]).unwrap();
            let index = SOURCES.iter().position(|it| **it == **source).unwrap();
            self.known[index].acknowledged.extend(from..=to);
        }
    }

    fn flip(&mut self, segment: usize, at: usize) {
        self.end();
        let mut all = segments(self.folder.path());
        all.pop();
        if !all.is_empty() {
            let path = &all[segment % all.len()];
            let length = fs::metadata(path).unwrap().len() as usize;
            if length > 0 {
                flip(path, at % length);
                self.is_damaged = true;
                self.is_forgetful = true;
            }
        }
        self.reopen(Faults::never());
    }

    /// Every sequence is to be sent, lost or acknowledged; what was accepted is sent as it was, or lost.
    fn check(&mut self) {
        self.reopen(Faults::never());
        let items = all(self.outbox());
        for (index, source) in SOURCES.iter().enumerate() {
            let (mut sent, mut lost) = (BTreeMap::new(), BTreeMap::new());
            for item in items.iter().filter(|item| &**item.range().0 == *source) {
                match item {
                    Item::Record(record) => {
                        let before = sent.insert(record.id.sequence, &record.payload);
                        assert_eq!(before, None);
                    }
                    Item::Loss(loss) => {
                        assert!(loss.count >= 1 && loss.count <= loss.to - loss.from + 1);
                        lost.extend((loss.from..=loss.to).map(|at| (at, loss.cause)));
                    }
                }
            }
            let known = &self.known[index];
            for sequence in sent.keys() {
                assert!(
                    !lost.contains_key(sequence),
                    "{source} {sequence} is sent and lost"
                );
                let again = known.acknowledged.contains(sequence);
                assert!(
                    !again || self.is_forgetful,
                    "{source} {sequence} is sent again"
                );
            }
            let last = [sent.keys().next_back(), lost.keys().next_back()];
            let last = last
                .into_iter()
                .flatten()
                .max()
                .copied()
                .unwrap_or_default();
            for sequence in 1..=last {
                let is_somewhere = sent.contains_key(&sequence)
                    || lost.contains_key(&sequence)
                    || known.acknowledged.contains(&sequence);
                assert!(is_somewhere, "{source} {sequence} is missing");
            }
            for (sequence, payload) in &known.accepted {
                if known.acknowledged.contains(sequence) {
                    continue;
                }
                match (sent.get(sequence), lost.get(sequence)) {
                    (Some(found), _) => assert_eq!(*found, payload),
                    (None, Some(cause)) => assert!(
                        self.is_damaged || *cause == LossCause::Evicted,
                        "{source} {sequence} is lost as {cause:?}"
                    ),
                    (None, None) => panic!("{source} {sequence} was accepted and is gone"),
                }
            }
        }
        check_order(&items);
        let stats = self.outbox().stats();
        assert!(stats.disk_bytes <= limits().bytes, "{stats:?}");
        assert_eq!(stats.disk_bytes, bytes(self.folder.path()));
    }
}

/// By priority, and each source of a priority by sequence.
fn check_order(items: &[Item]) {
    let records = items.iter().filter_map(|item| match item {
        Item::Record(record) => Some(record),
        Item::Loss(_) => None,
    });
    let records: Vec<_> = records.collect();
    assert!(records.is_sorted_by_key(|record| record.priority));
    for source in SOURCES {
        for priority in Priority::ALL {
            let own = records.iter();
            let own = own.filter(|it| &*it.id.source == source && it.priority == priority);
            assert!(own.is_sorted_by_key(|record| record.id.sequence));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_accepted_is_sent_or_named_as_lost(steps in steps()) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
        run.check();
        run.end();
    }
}
