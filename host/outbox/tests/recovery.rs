//! Damage, missing files, copies and formats of an outbox's folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::fs;

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_outbox::{Item, OpenError, Outbox, mark_as_copy};

use common::{
    all, append, end, flip, losses, normal, open, options, payloads, position, segments, soon,
};

#[test]
fn a_flipped_byte_costs_its_record_which_is_named_and_later_ones_survive() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    append(&outbox, &["first", "second", "third"]);
    end(outbox);
    let segment = &segments(folder.path())[0];
    flip(segment, position(segment, b"second"));
    let (outbox, recovery) = open(folder.path());
    assert_eq!(recovery.losses.len(), 1);
    assert_eq!((recovery.losses[0].from, recovery.losses[0].to), (2, 2));
    // 32 bytes, "camera", "insight" and "second".
    assert_eq!(recovery.damaged, [(1, 32 + 6 + 7 + 6)]);
    assert_eq!(losses(&outbox), [("camera".to_owned(), 2, 2, 1, "corrupt")]);
    assert_eq!(payloads(&outbox), [&b"first"[..], b"third"]);
    // What follows is of another epoch, which the same damage does not raise again.
    let position = outbox.append(vec![normal("fourth")], soon()).unwrap()[0];
    assert_eq!((position.epoch, position.sequence), (2, 4));
    end(outbox);
    let (outbox, recovery) = open(folder.path());
    assert_eq!((recovery.damaged.len(), recovery.losses.len()), (1, 0));
    assert_eq!(outbox.stats().epoch, 2);
    assert_eq!(losses(&outbox), [("camera".to_owned(), 2, 2, 1, "corrupt")]);
}

#[test]
fn a_flipped_byte_in_the_last_record_is_named_and_its_sequence_is_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    append(&outbox, &["first", "second"]);
    end(outbox);
    let segment = &segments(folder.path())[0];
    flip(segment, position(segment, b"second"));
    let (outbox, recovery) = open(folder.path());
    assert_eq!(recovery.torn_bytes, 32 + 6 + 7 + 6);
    assert_eq!(losses(&outbox), [("camera".to_owned(), 2, 2, 1, "corrupt")]);
    assert_eq!(append(&outbox, &["third"]), [3]);
}

#[test]
fn a_torn_tail_is_cut_off_and_the_epoch_rises() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    append(&outbox, &["first", "second"]);
    end(outbox);
    let segment = &segments(folder.path())[0];
    let whole = fs::read(segment).unwrap();
    // One byte is missing.
    fs::write(segment, &whole[..whole.len() - 1]).unwrap();
    let (outbox, recovery) = open(folder.path());
    assert_eq!(recovery.torn_bytes, 32 + 6 + 7 + 6 - 1);
    assert_eq!(recovery.losses, []);
    assert_eq!(payloads(&outbox), [b"first"]);
    let position = outbox.append(vec![normal("again")], soon()).unwrap()[0];
    assert_eq!((position.epoch, position.sequence), (2, 2));
    end(outbox);
    let (outbox, recovery) = open(folder.path());
    assert_eq!((recovery.torn_bytes, outbox.stats().epoch), (0, 2));
    assert_eq!(payloads(&outbox), [b"first", b"again"]);
}

#[test]
fn a_missing_segment_is_named_with_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    for at in 0..30u8 {
        outbox.append(vec![normal(vec![at; 500])], soon()).unwrap();
    }
    end(outbox);
    let all_segments = segments(folder.path());
    fs::remove_file(&all_segments[1]).unwrap();
    let (outbox, recovery) = open(folder.path());
    assert_eq!(recovery.missing_segments, [2]);
    assert_eq!(recovery.losses.len(), 1);
    let lost = &recovery.losses[0];
    assert!(lost.from > 1 && lost.to < 30, "{lost:?}");
    assert_eq!(payloads(&outbox).len() as u64, 30 - lost.count);
    assert_eq!(outbox.stats().epoch, 2);
    end(outbox);
    let (outbox, recovery) = open(folder.path());
    assert_eq!(recovery.missing_segments, Vec::<u64>::new());
    assert_eq!((recovery.losses.len(), losses(&outbox).len()), (0, 1));
}

#[test]
fn a_payload_cannot_be_taken_for_records() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (outbox, _) = open(other.path());
    append(&outbox, &["forged"]);
    end(outbox);
    let forged = fs::read(&segments(other.path())[0]).unwrap();
    let (outbox, _) = open(folder.path());
    outbox.append(vec![normal(forged.clone())], soon()).unwrap();
    append(&outbox, &["last"]);
    end(outbox);
    // The head of the record that holds the frame is damaged, so the search goes through its payload.
    let segment = &segments(folder.path())[0];
    flip(segment, position(segment, &forged) - 20);
    let (outbox, _) = open(folder.path());
    assert_eq!(payloads(&outbox), [b"last"]);
    assert_eq!(losses(&outbox), [("camera".to_owned(), 1, 1, 1, "corrupt")]);
}

#[test]
fn a_copied_folder_and_another_machine_raise_the_epoch_and_the_instance_stays() {
    let original = tempfile::tempdir().unwrap();
    let (outbox, _) = open(original.path());
    append(&outbox, &["a"]);
    let before = outbox.stats();
    end(outbox);
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(original.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let (copied, recovery) = open(copy.path());
    assert!(recovery.is_copy);
    let stats = copied.stats();
    assert_eq!((stats.instance, stats.epoch), (before.instance, 2));
    // Records of before keep their identity, so that a receiver that has them drops them.
    let Item::Record(record) = &all(&copied)[0] else {
        panic!("a record");
    };
    assert_eq!((record.id.epoch, record.id.sequence), (1, 1));

    let mut options = options(original.path(), Faults::never());
    options.host.machine = "another".to_owned();
    let (outbox, recovery) = Outbox::open(options).unwrap();
    assert!(recovery.is_copy);
    assert_eq!(outbox.stats().epoch, 2);
}

#[test]
fn a_restored_folder_is_a_copy_even_with_the_inode_of_the_original() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing to mark.
    mark_as_copy(folder.path(), &Disk::new(Faults::never())).unwrap();
    let (outbox, _) = open(folder.path());
    append(&outbox, &["a"]);
    let before = outbox.stats();
    end(outbox);
    mark_as_copy(folder.path(), &Disk::new(Faults::never())).unwrap();
    let (outbox, recovery) = open(folder.path());
    assert!(recovery.is_copy);
    let stats = outbox.stats();
    assert_eq!((stats.instance, stats.epoch), (before.instance, 2));
    assert_eq!(payloads(&outbox), [b"a"]);
    end(outbox);
    let (outbox, recovery) = open(folder.path());
    assert!(!recovery.is_copy);
    assert_eq!(outbox.stats().epoch, 2);
}

#[test]
fn two_whole_clones_differ_in_the_digest_alone() {
    let first = tempfile::tempdir().unwrap();
    let second = tempfile::tempdir().unwrap();
    let ids = [(&first, "of the first"), (&second, "of the second")].map(|(folder, payload)| {
        let mut options = options(folder.path(), Faults::never());
        // A clone of the whole card has the same machine and inode.
        options.host.machine = "same".to_owned();
        let (outbox, _) = Outbox::open(options).unwrap();
        append(&outbox, &[payload]);
        let Item::Record(record) = all(&outbox).remove(0) else {
            panic!("a record");
        };
        record.id
    });
    let [one, other] = ids;
    let on_the_same_card = hotshoe_outbox::RecordId {
        instance: one.instance,
        ..other.clone()
    };
    assert_ne!(one, on_the_same_card);
    let same_digest = hotshoe_outbox::RecordId {
        digest: one.digest,
        ..on_the_same_card
    };
    assert_eq!(one, same_digest);
    assert_ne!(one.instance, other.instance);
}

#[test]
fn without_its_state_the_log_goes_on_in_another_epoch() {
    for damage in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (outbox, _) = open(folder.path());
        append(&outbox, &["a", "b"]);
        let instance = outbox.stats().instance;
        end(outbox);
        let state = folder.path().join("state");
        if damage {
            flip(&state, 60);
        } else {
            fs::remove_file(&state).unwrap();
        }
        let (outbox, recovery) = open(folder.path());
        assert!(recovery.state_lost);
        assert_eq!(payloads(&outbox), [b"a", b"b"]);
        assert_eq!(
            (outbox.stats().instance, outbox.stats().epoch),
            (instance, 2)
        );
        assert_eq!(append(&outbox, &["c"]), [3]);
    }
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = open(folder.path());
    append(&outbox, &["a"]);
    end(outbox);
    let segment = segments(folder.path()).remove(0);
    let state = folder.path().join("state");
    for (path, prefix) in [
        (segment, "hotshoe-outbox-"),
        (state, "hotshoe-outbox-state-"),
    ] {
        let before = fs::read(&path).unwrap();
        let rest = before.strip_prefix(format!("{prefix}1\n").as_bytes());
        let newer = [format!("{prefix}99\n").as_bytes(), rest.unwrap()].concat();
        fs::write(&path, &newer).unwrap();
        let error = Outbox::open(options(folder.path(), Faults::never())).unwrap_err();
        assert_eq!(error.name(), "newer_format");
        assert!(matches!(&error, OpenError::Newer(newer) if newer.found == 99));
        assert_eq!(fs::read(&path).unwrap(), newer);
        fs::write(&path, before).unwrap();
    }
}

#[test]
fn a_segment_that_another_program_wrote_is_read() {
    let seed = hotshoe_tests::root().join("tests/fuzz/seeds/outbox_segment/segment");
    let bytes = fs::read(seed).unwrap();
    let scan = hotshoe_outbox::segment::check("segment", &bytes, 0).unwrap();
    let header = scan.header.unwrap();
    assert_eq!((header.instance, header.epoch), (0x0123_4567_89ab_cdef, 1));
    assert_eq!((header.key, header.number), (7, 1));
    // The next sequence, a record, a loss and an acknowledgement.
    assert_eq!(scan.frames, 4);
    // A record of 7 bytes is damaged: 32, "camera", "insight", "damaged". Two bytes are missing from one of 4 at the end.
    let lengths: Vec<usize> = scan.damaged.iter().map(|range| range.len()).collect();
    assert_eq!(lengths, [32 + 6 + 7 + 7]);
    assert_eq!(bytes.len() - scan.valid_end, 32 + 6 + 7 + 4 - 2);
}
