//! Records that are sealed on the disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use std::fs;
use std::path::Path;

use hotshoe_base::disk::Faults;
use hotshoe_outbox::{OpenError, Options, Outbox, Recovery};
use hotshoe_sealing::{AtRest, DeviceKey};

use common::{append, await_losses, end, losses, open, options, payloads, segments};

/// Sealing with the key of a folder. What was written before is read.
fn at_rest(folder: &Path) -> AtRest {
    AtRest::sealed(key_of(folder), false)
}

fn key_of(folder: &Path) -> DeviceKey {
    let path = folder.join("device.key");
    let key = DeviceKey::read(&path).or_else(|_| DeviceKey::create(&path));
    key.unwrap()
}

fn open_sealed(folder: &Path, at_rest: AtRest) -> Result<(Outbox, Recovery), OpenError> {
    Outbox::open(Options {
        at_rest,
        ..options(folder, Faults::never())
    })
}

/// Whether any file of a folder has these bytes.
fn has(folder: &Path, text: &[u8]) -> bool {
    let entries = fs::read_dir(folder).unwrap();
    let mut files = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.any(|bytes| bytes.windows(text.len()).any(|window| window == text))
}

#[test]
fn sealed_records_are_delivered_over_a_restart_and_stand_in_no_file() {
    let (folder, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Some are there from before the device had a key.
    let (outbox, _) = open(folder.path());
    append(&outbox, &["of a person, before"]);
    end(outbox);
    assert!(has(folder.path(), b"of a person, before"));
    let (outbox, _) = open_sealed(folder.path(), at_rest(key.path())).unwrap();
    assert_eq!(append(&outbox, &["of a person, 4711", ""]), [2, 3]);
    let all: [&[u8]; 3] = [b"of a person, before", b"of a person, 4711", b""];
    assert_eq!(payloads(&outbox), all);
    end(outbox);
    assert!(!has(folder.path(), b"4711"));
    let (outbox, recovery) = open_sealed(folder.path(), at_rest(key.path())).unwrap();
    assert!(recovery.losses.is_empty() && recovery.records == 3);
    assert_eq!(payloads(&outbox), all);
    outbox.acknowledge("camera", &[(1, 3)]).unwrap();
    assert!(payloads(&outbox).is_empty());
    end(outbox);
}

#[test]
fn a_segment_that_is_written_again_keeps_its_sealed_records() {
    let (folder, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (outbox, _) = open_sealed(folder.path(), at_rest(key.path())).unwrap();
    // Together more than the 64 KiB of the log, so segments are removed, or written again for the few records that are left.
    for number in 0..200_u64 {
        let payload = format!("{number:>900}");
        append(&outbox, &[&payload]);
        if number % 40 != 0 {
            let sequence = number + 1;
            outbox
                .acknowledge("camera", &[(sequence, sequence)])
                .unwrap();
        }
    }
    let expected: Vec<_> = (0..200)
        .step_by(40)
        .map(|number| format!("{number:>900}").into_bytes())
        .collect();
    assert_eq!(payloads(&outbox), expected);
    end(outbox);
    let (outbox, _) = open_sealed(folder.path(), at_rest(key.path())).unwrap();
    assert_eq!(payloads(&outbox), expected);
    assert!(losses(&outbox).is_empty());
    end(outbox);
}

#[test]
fn a_changed_byte_is_a_loss_and_so_is_what_should_be_sealed() {
    let (folder, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (outbox, _) = open_sealed(folder.path(), at_rest(key.path())).unwrap();
    append(&outbox, &["a"]);
    append(&outbox, &["b"]);
    end(outbox);
    let segment = segments(folder.path()).pop().unwrap();
    let bytes = fs::metadata(&segment).unwrap().len();
    common::flip(&segment, usize::try_from(bytes).unwrap() - 1);
    let (outbox, recovery) = open_sealed(folder.path(), at_rest(key.path())).unwrap();
    assert_eq!(payloads(&outbox), [b"a"]);
    assert_eq!(recovery.records, 1);
    end(outbox);
    let plain = tempfile::tempdir().unwrap();
    let (outbox, _) = open(plain.path());
    append(&outbox, &["a"]);
    end(outbox);
    let required = AtRest::sealed(key_of(key.path()), true);
    let (outbox, _) = open_sealed(plain.path(), required).unwrap();
    assert!(payloads(&outbox).is_empty());
    let lost = ("camera".to_owned(), 1, 1, 1, "corrupt");
    assert_eq!(await_losses(&outbox), [lost]);
    end(outbox);
}

#[test]
fn a_damaged_key_of_the_records_is_set_aside_and_what_only_it_opens_is_a_named_loss() {
    let key = tempfile::tempdir().unwrap();
    let open_at = |folder: &Path| open_sealed(folder, at_rest(key.path())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open_at(folder.path());
    let record_key = folder.path().join("record.key");
    end(outbox);
    // The first byte, the last one, and one between. Some of the others name the device's key: another one is not damage.
    let bytes = usize::try_from(fs::metadata(&record_key).unwrap().len()).unwrap();
    for at in [0, bytes / 2 + bytes / 4, bytes - 1] {
        let folder = tempfile::tempdir().unwrap();
        let record_key = folder.path().join("record.key");
        let (outbox, _) = open_at(folder.path());
        append(&outbox, &["a", "b"]);
        let epoch = outbox.stats().epoch;
        end(outbox);
        let before = fs::read(&record_key).unwrap();
        common::flip(&record_key, at);
        let (outbox, recovery) = open_at(folder.path());
        let aside = folder.path().join("record.key.damaged");
        assert_eq!(recovery.key_set_aside.as_ref(), Some(&aside), "byte {at}");
        assert_eq!(fs::read(&aside).unwrap().len(), before.len());
        assert_ne!(fs::read(&record_key).unwrap(), before);
        assert_eq!(append(&outbox, &["c"]), [3]);
        assert_eq!(payloads(&outbox), [b"c"]);
        let lost = || losses(&outbox).iter().map(|it| it.3).sum::<u64>();
        hotshoe_tests::until("both are a loss", || lost() == 2);
        assert!(losses(&outbox).iter().all(|it| it.4 == "corrupt"));
        assert_eq!(outbox.stats().epoch, epoch + 1);
        end(outbox);
        let (outbox, recovery) = open_at(folder.path());
        assert_eq!(recovery.key_set_aside, None);
        assert_eq!(payloads(&outbox), [b"c"]);
        end(outbox);
    }
}

#[test]
fn a_key_that_is_lost_or_another_one_is_named_and_nothing_is_changed() {
    let (folder, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (outbox, _) = open_sealed(folder.path(), at_rest(key.path())).unwrap();
    append(&outbox, &["a"]);
    end(outbox);
    let other = tempfile::tempdir().unwrap();
    let error = open_sealed(folder.path(), at_rest(other.path())).unwrap_err();
    assert_eq!(error.name(), "sealed_with_another_key");
    let error = open_sealed(folder.path(), AtRest::plain()).unwrap_err();
    assert_eq!(error.name(), "sealed_without_key");
    let (outbox, _) = open_sealed(folder.path(), at_rest(key.path())).unwrap();
    assert_eq!(payloads(&outbox), [b"a"]);
    end(outbox);
}
