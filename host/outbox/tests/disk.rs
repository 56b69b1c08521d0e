//! What an outbox does on a full disk, on one with a bad block, and with a collector that answers nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::fs;

use hotshoe_base::disk::Faults;
use hotshoe_outbox::{Item, Outbox, Priority};

use common::{
    all, append, await_losses, end, losses, normal, open, options, payloads, record, segments, soon,
};

/// The last `most` of the accepted records.
fn last(accepted: &[Vec<u8>], most: usize) -> Vec<Vec<u8>> {
    accepted[accepted.len().saturating_sub(most)..].to_vec()
}

#[test]
fn a_record_that_a_full_disk_refuses_evicts_nothing() {
    for step in 0..100 {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::full_after(step);
        let mut options = options(folder.path(), faults.clone());
        options.limits.records = 3;
        let Ok((outbox, _)) = Outbox::open(options) else {
            continue;
        };
        let mut accepted = Vec::new();
        let mut is_refused = false;
        for at in 0..10u8 {
            match outbox.append(vec![normal([at])], soon()) {
                Ok(_) => accepted.push(vec![at]),
                Err(error) => {
                    assert_eq!(error.name(), "disk_full", "step {step}");
                    is_refused = true;
                    break;
                }
            }
        }
        assert_eq!(payloads(&outbox), last(&accepted, 3), "step {step}");
        if !is_refused {
            assert!(step > 5, "step {step}");
            return;
        }
        faults.end();
        outbox.append(vec![normal("after")], soon()).unwrap();
        let kept = last(&accepted, 2);
        let expected = [kept.clone(), vec![b"after".to_vec()]].concat();
        assert_eq!(payloads(&outbox), expected, "step {step}");
        // The refused one, and those that made room for accepted ones.
        let lost: u64 = losses(&outbox).iter().map(|it| it.3).sum();
        assert_eq!(
            lost as usize,
            1 + accepted.len() - kept.len(),
            "step {step}"
        );
        end(outbox);
        let (outbox, recovery) = open(folder.path());
        assert_eq!(recovery.losses, [], "step {step}");
        assert_eq!(payloads(&outbox), expected, "step {step}");
    }
    panic!("the run has more steps");
}

#[test]
fn a_record_for_which_there_is_no_room_evicts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    // Records take 40 bytes beside their payload, and all of them at most 40,960.
    for _ in 0..39 {
        let high = record("a", Priority::High, vec![7; 1000]);
        outbox.append(vec![high], soon()).unwrap();
    }
    let low = record("b", Priority::Low, vec![8; 300]);
    outbox.append(vec![low], soon()).unwrap();
    // Without the one of low priority, 400 bytes are free.
    let normal = record("c", Priority::Normal, vec![9; 1000]);
    let refused = outbox.append(vec![normal], soon()).unwrap_err();
    assert_eq!(refused.name(), "no_room");
    assert_eq!(payloads(&outbox).last().unwrap(), &vec![8; 300]);
    let lost = ("c".to_owned(), 1, 1, 1, "evicted");
    assert_eq!(await_losses(&outbox), [lost]);
    assert_eq!(outbox.stats().lost.values().sum::<u64>(), 1);
}

#[test]
fn a_full_disk_gives_the_state_its_reserve_and_gets_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let reserve = folder.path().join("reserve");
    let (outbox, _) = open(folder.path());
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 64 << 10);
    for at in 0..20u8 {
        outbox.append(vec![normal(vec![at; 1000])], soon()).unwrap();
    }
    end(outbox);
    let before = segments(folder.path()).len();
    assert!(before >= 5, "{before}");
    let faults = Faults::full_after(0);
    let (outbox, _) = Outbox::open(options(folder.path(), faults.clone())).unwrap();
    outbox.acknowledge("camera", &[(1, 20)]).unwrap();
    let refused = outbox.append(vec![normal("x")], soon()).unwrap_err();
    assert_eq!(refused.name(), "disk_full");
    assert!(!reserve.exists());
    faults.end();
    outbox.append(vec![normal("after")], soon()).unwrap();
    assert!(segments(folder.path()).len() <= 2);
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 64 << 10);
    end(outbox);
    let (outbox, recovery) = open(folder.path());
    assert_eq!(recovery.losses, []);
    assert_eq!(payloads(&outbox), [b"after"]);
}

#[test]
fn a_flipped_bit_in_the_version_of_a_segment_is_damage_and_not_a_newer_format() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    append(&outbox, &["first", "second"]);
    end(outbox);
    let path = &segments(folder.path())[0];
    let mut bytes = fs::read(path).unwrap();
    let version = "hotshoe-outbox-".len();
    assert_eq!(bytes[version], b'1');
    bytes[version] ^= 2;
    assert_eq!(bytes[version], b'3');
    fs::write(path, &bytes).unwrap();
    let (outbox, recovery) = open(folder.path());
    assert_eq!(recovery.losses, []);
    assert_eq!(payloads(&outbox), [&b"first"[..], b"second"]);
    assert_eq!(append(&outbox, &["third"]), [3]);
    end(outbox);
    // Any other byte of the header with it is a newer format: nothing says what the rest means.
    bytes[version + 3] ^= 1;
    fs::write(path, &bytes).unwrap();
    let refused = Outbox::open(options(folder.path(), Faults::never())).unwrap_err();
    assert_eq!(refused.name(), "newer_format");
}

/// A folder in the place of a segment cannot be read, and is not missing, as a bad block.
#[test]
fn a_record_that_cannot_be_read_is_given_up_and_those_behind_it_are_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    for at in 0..8u8 {
        outbox.append(vec![normal(vec![at; 1000])], soon()).unwrap();
    }
    end(outbox);
    let (outbox, _) = open(folder.path());
    let first = &segments(folder.path())[0];
    fs::remove_file(first).unwrap();
    fs::create_dir(first).unwrap();
    // A segment of 4 KiB has four of these records. Each is given up when it could not be read five times.
    let (mut errors, mut sent, mut lost) = (0, Vec::new(), 0);
    hotshoe_tests::until("all is sent or lost", || {
        let Ok(items) = outbox.next_batch(usize::MAX, usize::MAX) else {
            errors += 1;
            return false;
        };
        for item in items {
            match &item {
                Item::Record(record) => sent.push(record.payload[0]),
                Item::Loss(loss) => {
                    assert_eq!(loss.cause.name(), "disk_error");
                    lost += loss.count;
                }
            }
            let (source, from, to) = item.range();
            outbox.acknowledge(source, &[(from, to)]).unwrap();
        }
        sent.len() as u64 + lost == 8
    });
    assert_eq!(sent, [4, 5, 6, 7]);
    assert_eq!(lost, 4);
    assert!(errors >= 4, "{errors}");
}

#[test]
fn losses_that_are_sent_and_not_acknowledged_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), Faults::never());
    options.limits.records = 1;
    let (outbox, _) = Outbox::open(options).unwrap();
    for at in 0..300u32 {
        outbox
            .append(vec![normal(at.to_le_bytes())], soon())
            .unwrap();
        // They are sent each time.
        assert!(!all(&outbox).is_empty());
    }
    let found = losses(&outbox);
    assert!(found.len() <= 70, "{}", found.len());
    assert_eq!(found.iter().map(|it| it.3).sum::<u64>(), 299);
    let ranges = found.iter().map(|it| (it.1, it.2));
    let ranges: Vec<(u64, u64)> = ranges.collect();
    assert!(ranges.is_sorted_by(|one, next| one.1 + 1 == next.0));
    // What was sent before it grew is acknowledged too.
    outbox.acknowledge("camera", &[(1, 250)]).unwrap();
    let left: u64 = losses(&outbox).iter().map(|it| it.3).sum();
    assert_eq!(left, 49);
}
