//! A power cut, a full disk, a read-only disk and one that fails, at every step of an outbox.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::collections::BTreeMap;

use hotshoe_base::disk::Faults;
use hotshoe_outbox::{Item, Outbox, Priority, Record};

use common::{all, bytes, end, limits, losses, normal, open, options, payloads, record, soon};

/// More steps than a run has: none has a fault then.
const MOST_STEPS: u64 = 2_000;

/// What a run was told: the payloads of accepted records, by sequence, and the last acknowledged sequence.
#[derive(Default)]
struct Told {
    accepted: BTreeMap<u64, Vec<u8>>,
    acknowledged: u64,
    refused: usize,
}

/// Appends, acknowledges and evicts, until all is done or the disk refuses.
fn run(outbox: &Outbox, told: &mut Told) {
    for round in 0..30u8 {
        let payload = vec![round; 900];
        let records = vec![normal(payload.clone()), normal(payload.clone())];
        match outbox.append(records, soon()) {
            Ok(positions) => {
                let accepted = positions.iter().map(|it| (it.sequence, payload.clone()));
                told.accepted.extend(accepted);
            }
            Err(_) => told.refused += 1,
        }
        if round % 8 == 7 {
            let until = u64::from(round) / 2;
            if outbox.acknowledge("camera", &[(1, until)]).is_ok() {
                told.acknowledged = until;
            }
        }
    }
}

/// Checks that each accepted record is to be sent, or named as lost, or was acknowledged, and that no sequence is missing.
fn check(outbox: &Outbox, told: &Told, step: u64) {
    let mut known = BTreeMap::new();
    for item in all(outbox) {
        let (_, from, to) = item.range();
        for sequence in from..=to {
            let payload = match &item {
                Item::Record(record) => Some(record.payload.clone()),
                Item::Loss(_) => None,
            };
            let twice = known.insert(sequence, payload);
            assert!(twice.is_none(), "step {step}: {sequence} is there twice");
        }
    }
    let last = known.keys().next_back().copied().unwrap_or_default();
    let first = known.keys().next().copied().unwrap_or(1);
    for sequence in first..=last {
        assert!(
            known.contains_key(&sequence),
            "step {step}: {sequence} is missing"
        );
    }
    for (sequence, payload) in &told.accepted {
        if *sequence <= told.acknowledged {
            continue;
        }
        let found = known.get(sequence);
        let found = found.unwrap_or_else(|| panic!("step {step}: {sequence} was accepted"));
        assert!(
            found.as_ref().is_none_or(|found| found == payload),
            "step {step}"
        );
    }
    assert!(bytes_are_bounded(outbox), "step {step}");
}

fn bytes_are_bounded(outbox: &Outbox) -> bool {
    outbox.stats().disk_bytes <= limits().bytes
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_accepted() {
    let mut finished = false;
    for step in 0..MOST_STEPS {
        let folder = tempfile::tempdir().unwrap();
        let mut told = Told::default();
        if let Ok((outbox, _)) = Outbox::open(options(folder.path(), Faults::after(step))) {
            run(&outbox, &mut told);
            outbox.close(soon());
        }
        let (outbox, recovery) = open(folder.path());
        let corrupt = recovery.losses.iter();
        for lost in corrupt {
            let of_accepted = told.accepted.range(lost.from..=lost.to).next();
            assert_eq!(of_accepted, None, "step {step}");
        }
        check(&outbox, &told, step);
        outbox.append(vec![normal("after")], soon()).unwrap();
        assert_eq!(payloads(&outbox).last().unwrap(), b"after");
        assert!(bytes(folder.path()) <= limits().bytes, "step {step}");
        if told.refused == 0 && told.accepted.len() == 60 {
            finished = true;
            break;
        }
    }
    assert!(finished, "the run has more than {MOST_STEPS} steps");
}

/// Runs with a fault from each step on, drains meanwhile, ends the fault, and goes on.
fn with_fault(fault: fn(u64) -> Faults, error: &str, cause: &str) {
    // Every third step, since each kind of step comes often.
    for step in (0..MOST_STEPS).step_by(3) {
        let folder = tempfile::tempdir().unwrap();
        let faults = fault(step);
        let Ok((outbox, _)) = Outbox::open(options(folder.path(), faults.clone())) else {
            continue;
        };
        let mut told = Told::default();
        run(&outbox, &mut told);
        if told.refused == 0 {
            assert!(step > 20, "step {step}");
            return;
        }
        let refused = outbox.append(vec![normal("x")], soon()).unwrap_err();
        assert_eq!(refused.name(), error, "step {step}");
        // What is there is sent, and can be acknowledged.
        let there = payloads(&outbox);
        let expected = told.accepted.len() as u64;
        assert!(there.len() as u64 <= expected, "step {step}");

        faults.end();
        let position = outbox.append(vec![normal("after")], soon()).unwrap()[0];
        let found = losses(&outbox);
        assert!(
            found.iter().any(|it| it.4 == cause),
            "step {step}: {found:?}"
        );
        let lost: u64 = found.iter().map(|it| it.3).sum();
        let sent = payloads(&outbox).len() as u64;
        let given = position.sequence - told.acknowledged;
        assert_eq!(lost + sent, given, "step {step}: {found:?}");
        check(&outbox, &told, step);
        end(outbox);
        let (outbox, recovery) = open(folder.path());
        assert_eq!(recovery.losses, [], "step {step}");
        check(&outbox, &told, step);
        let next = outbox.append(vec![normal("next")], soon()).unwrap()[0];
        assert_eq!(next.sequence, position.sequence + 1);
    }
    panic!("the run has more than {MOST_STEPS} steps");
}

#[test]
fn a_full_disk_refuses_records_and_takes_them_again_when_there_is_space() {
    with_fault(Faults::full_after, "disk_full", "disk_full");
}

#[test]
fn a_read_only_disk_refuses_records_and_drains() {
    with_fault(Faults::read_only_after, "io", "disk_error");
}

#[test]
fn a_failing_disk_refuses_records_and_drains() {
    with_fault(Faults::broken_after, "io", "disk_error");
}

#[test]
fn an_outbox_opens_on_a_read_only_disk_and_what_was_acknowledged_there_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    let records: Vec<Record> = (0..3u8)
        .map(|at| record("camera", Priority::High, vec![at]))
        .collect();
    outbox.append(records, soon()).unwrap();
    end(outbox);
    let opened = Outbox::open(options(folder.path(), Faults::read_only_after(0)));
    let (outbox, _) = opened.unwrap();
    assert_eq!(payloads(&outbox), [[0], [1], [2]]);
    outbox.acknowledge("camera", &[(1, 2)]).unwrap();
    assert_eq!(payloads(&outbox), [[2]]);
    outbox.close(soon());
    let (outbox, _) = open(folder.path());
    assert_eq!(payloads(&outbox), [[0], [1], [2]]);
}
