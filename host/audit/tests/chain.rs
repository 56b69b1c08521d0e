//! The chain: what is changed, removed, reordered or cut off is found, and power cuts are repaired.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use hotshoe_audit::{
    Actor, AuditError, AuditKind, AuditLog, Checked, Entry, Expected, FOLDER, Finding, Head, Kind,
    Limits, Record, Segment, SignedHead, Signer, append_offline, check, read_segments, verify,
};
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_trust::{PublicKey, SigningKey, Time};
use proptest::prelude::*;

/// A small log: a file has a few records, and there are at most a few files.
const SMALL: Limits = Limits {
    file_bytes: 1_000,
    total_bytes: 5_000,
    checkpoint_records: 4,
};

/// The same without an end.
const ENDLESS: Limits = Limits {
    total_bytes: u64::MAX,
    ..SMALL
};

struct Device {
    folder: tempfile::TempDir,
    pem: String,
}

impl Device {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            pem: SigningKey::generate()
                .unwrap()
                .to_pem(None)
                .unwrap()
                .to_string(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn public(&self) -> PublicKey {
        let key = SigningKey::from_pem(&self.pem, None).unwrap();
        key.public_key().unwrap()
    }

    fn open(&self, faults: Faults, limits: Limits) -> Result<AuditLog, AuditError> {
        let key = SigningKey::from_pem(&self.pem, None).unwrap();
        let signer = Signer::new(key, "lab".to_owned(), "cam".to_owned());
        AuditLog::open(
            self.path(),
            Disk::new(faults),
            limits,
            Some(Arc::new(signer)),
            now(),
        )
    }

    fn log(&self, limits: Limits) -> AuditLog {
        self.open(Faults::never(), limits).unwrap()
    }

    fn verify(&self, head: Option<Head>) -> Checked {
        let keys = vec![self.public()];
        verify(&self.path().join(FOLDER), &Expected { head, keys }).unwrap()
    }

    fn segments(&self) -> Vec<Segment> {
        read_segments(&self.path().join(FOLDER)).unwrap()
    }

    fn records(&self) -> Vec<Record> {
        let segments = self.segments();
        let lines = segments.iter().flat_map(|segment| segment.lines());
        lines.map(|line| line.record().unwrap()).collect()
    }

    fn kinds(&self) -> Vec<String> {
        let records = self.records();
        let kinds = records.iter().map(|record| record.kind.name().to_owned());
        kinds.collect()
    }
}

fn now() -> Time {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

fn entry(number: u64) -> Entry {
    Entry::new(AuditKind::Command, now())
        .by(Actor::Operator)
        .with("command", "rollback")
        .with("number", number.to_string())
}

/// Records entries one by one, with the checkpoints that are due, and a last one. Returns the head.
fn fill(log: &mut AuditLog, entries: u64) -> SignedHead {
    for number in 0..entries {
        log.append(&[entry(number)], now()).unwrap();
        if log.is_checkpoint_due() {
            log.checkpoint(now()).unwrap();
        }
    }
    log.checkpoint(now()).unwrap().unwrap()
}

/// The names of the findings in changed files, against the head of the log before the change.
fn found(device: &Device, segments: &[Segment], head: &SignedHead) -> Vec<&'static str> {
    let expected = Expected {
        head: Some(head.head),
        keys: vec![device.public()],
    };
    let findings = check(segments, None, &expected).findings;
    findings
        .iter()
        .map(|finding| {
            let name: &'static str = finding.into();
            name
        })
        .collect()
}

#[test]
fn a_log_is_verified_and_goes_on_after_a_restart() {
    let device = Device::new();
    let mut log = device.log(Limits::default());
    log.append(&[entry(1), entry(2)], now()).unwrap();
    let head = log.checkpoint(now()).unwrap().unwrap();
    assert!(head.is_signed(&[device.public()]));
    drop(log);
    let mut log = device.log(Limits::default());
    assert_eq!(log.head(), head.head);
    log.append(&[entry(3)], now()).unwrap();
    assert_eq!(
        device.kinds(),
        ["log_created", "command", "command", "checkpoint", "command"]
    );
    let checked = device.verify(Some(head.head));
    assert_eq!(checked.findings, []);
    assert_eq!((checked.records, checked.signatures), (5, 1));
    // The checkpoint is record 4, and signs record 3.
    assert_eq!(checked.signed_through, Some(3));
    assert_eq!(checked.head, Some(log.head()));
    let record = &device.records()[1];
    assert_eq!(record.actor, Actor::Operator);
    assert_eq!(record.details["number"], "1");
    assert_eq!(record.kind, Kind::Known(AuditKind::Command));
}

#[test]
fn a_second_writer_is_refused() {
    let device = Device::new();
    let _log = device.log(Limits::default());
    let error = append_offline(device.path(), &entry(1), now()).unwrap_err();
    assert_eq!(error.name(), "in_use");
}

#[test]
fn the_oldest_files_are_removed_with_a_signed_record_and_the_rest_is_verified() {
    let device = Device::new();
    let mut log = device.log(SMALL);
    let head = fill(&mut log, 200);
    let bytes: usize = device.segments().iter().map(|it| it.bytes.len()).sum();
    // A file grows beyond its limit by one write, and the total by one file.
    assert!(bytes < 8_000, "{bytes}");
    let checked = device.verify(Some(head.head));
    assert_eq!(checked.findings, []);
    assert!(checked.first.unwrap() > 100, "{checked:?}");
    let old = Head {
        sequence: 3,
        hash: head.head.hash,
    };
    let checked = device.verify(Some(old));
    assert_eq!(checked.findings, [Finding::HeadTooOld { head: old }]);
    // A beginning that no record removed.
    let segments = device.segments();
    let first = segments[1].lines().next().unwrap().record().unwrap();
    let found = check(&segments[1..], None, &Expected::default()).findings;
    let first = first.sequence;
    assert_eq!(found, [Finding::MissingBeginning { first }]);
}

/// A power cut between the record of a removal and the removal.
#[test]
fn a_removed_file_that_is_still_there_is_verified_and_removed_later() {
    let device = Device::new();
    let mut log = device.log(SMALL);
    let mut removed = 0;
    for number in 0..60 {
        let before = device.segments();
        log.append(&[entry(number)], now()).unwrap();
        let after = device.segments();
        let is_gone = |it: &&Segment| after.iter().all(|kept| kept.name != it.name);
        let gone: Vec<&Segment> = before.iter().filter(is_gone).collect();
        if gone.is_empty() {
            continue;
        }
        removed += 1;
        let folder = device.path().join(FOLDER);
        for segment in &gone {
            fs::write(folder.join(&segment.name), &segment.bytes).unwrap();
        }
        assert_eq!(device.verify(None).findings, [], "entry {number}");
        if removed % 2 == 0 {
            for segment in &gone {
                fs::remove_file(folder.join(&segment.name)).unwrap();
            }
        }
    }
    assert!(removed > 4, "{removed}");
    assert_eq!(device.verify(None).findings, []);
}

#[test]
fn a_signature_of_another_key_is_named() {
    let device = Device::new();
    let mut log = device.log(Limits::default());
    let head = fill(&mut log, 1);
    let keys = vec![Device::new().public()];
    let expected = Expected { head: None, keys };
    let checked = check(&device.segments(), Some(&head), &expected);
    // The stored head, record 3, and the checkpoint of record 2.
    let names = [3, 2].map(|sequence| Finding::InvalidSignature { sequence });
    assert_eq!(checked.findings, names);
}

#[test]
fn an_incomplete_line_is_replaced_by_a_record_of_the_repair() {
    let device = Device::new();
    let mut log = device.log(Limits::default());
    log.append(&[entry(1)], now()).unwrap();
    drop(log);
    let path = device.path().join(FOLDER).join(&device.segments()[0].name);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"format\":1,\"seq");
    fs::write(&path, bytes).unwrap();
    let findings = device.verify(None).findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].name(), "incomplete_line");
    drop(device.log(Limits::default()));
    assert_eq!(device.kinds(), ["log_created", "command", "tail_repaired"]);
    assert_eq!(device.records()[2].details["bytes"], "16");
    assert_eq!(device.verify(None).findings, []);
}

#[test]
fn a_log_that_lost_its_end_says_so_and_its_published_head_does_not_match() {
    let device = Device::new();
    let mut log = device.log(Limits::default());
    let head = fill(&mut log, 3);
    drop(log);
    // log_created, three commands, checkpoint.
    assert_eq!(head.head.sequence, 5);
    let path = device.path().join(FOLDER).join(&device.segments()[0].name);
    let text = fs::read_to_string(&path).unwrap();
    let kept: String = text.split_inclusive('\n').take(2).collect();
    fs::write(&path, kept).unwrap();
    let truncated = Finding::Truncated {
        last: 2,
        head: head.head,
    };
    // The stored head finds it as well as a held one.
    assert_eq!(device.verify(None).findings, [truncated]);
    drop(device.log(Limits::default()));
    assert_eq!(
        device.kinds(),
        ["log_created", "command", "records_lost", "checkpoint"]
    );
    assert_eq!(device.records()[2].details["last"], "2");
    assert_eq!(device.verify(None).findings, []);
    let held = device.verify(Some(head.head));
    assert_eq!(held.findings[0].name(), "truncated");
}

#[test]
fn a_changed_last_line_does_not_stop_the_log() {
    let device = Device::new();
    let mut log = device.log(Limits::default());
    log.append(&[entry(1)], now()).unwrap();
    drop(log);
    let path = device.path().join(FOLDER).join(&device.segments()[0].name);
    let text = fs::read_to_string(&path).unwrap();
    let last = text.lines().last().unwrap();
    fs::write(&path, text.replace(last, "not a record")).unwrap();
    let mut log = device.log(Limits::default());
    assert_eq!(log.head().sequence, 2);
    log.append(&[entry(2)], now()).unwrap();
    let findings = device.verify(None).findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].name(), "unreadable_record");
}

/// Fills a log until a fault stops it.
fn run(device: &Device, faults: Faults, limits: Limits) -> Result<(), AuditError> {
    let mut log = device.open(faults, limits)?;
    for number in 0..24 {
        log.append(&[entry(number)], now())?;
        if log.is_checkpoint_due() {
            log.checkpoint(now())?;
        }
    }
    Ok(())
}

#[test]
fn after_a_power_cut_at_each_step_the_log_opens_and_is_verified() {
    let mut cuts = 0;
    for step in 0.. {
        let device = Device::new();
        if run(&device, Faults::after(step), ENDLESS).is_ok() {
            break;
        }
        cuts += 1;
        let mut log = device.log(ENDLESS);
        log.append(&[entry(99)], now()).unwrap();
        let head = log.checkpoint(now()).unwrap().unwrap();
        let checked = device.verify(Some(head.head));
        assert_eq!(checked.findings, [], "step {step}");
        assert!(device.kinds().contains(&"command".to_owned()));
    }
    assert!(cuts > 50, "{cuts}");
}

#[test]
fn a_full_disk_at_each_step_loses_nothing_that_was_recorded() {
    let mut full = 0;
    for step in 0.. {
        let device = Device::new();
        let Err(error) = run(&device, Faults::full_after(step), SMALL) else {
            break;
        };
        assert_eq!(error.name(), "io");
        full += 1;
        let before: Vec<Vec<u8>> = device
            .segments()
            .iter()
            .flat_map(|it| {
                it.lines()
                    .map(|line| line.bytes.to_vec())
                    .collect::<Vec<_>>()
            })
            .collect();
        let log = device.log(SMALL);
        let after = device.segments();
        let after = after.iter().flat_map(|it| it.lines());
        for (before, after) in before.iter().zip(after) {
            assert_eq!(before, after.bytes, "step {step}");
        }
        drop(log);
        assert_eq!(device.verify(None).findings, [], "step {step}");
    }
    assert!(full > 30, "{full}");
}

#[test]
fn an_append_that_failed_is_tried_again_and_leaves_no_half_line() {
    for step in 0..2 {
        let device = Device::new();
        drop(device.log(Limits::default()));
        // Of the open log, the write is the first step that needs space.
        let mut log = device
            .open(Faults::full_after(step), Limits::default())
            .unwrap();
        let mut recorded = 0;
        while log.append(&[entry(recorded)], now()).is_ok() {
            recorded += 1;
        }
        assert_eq!(recorded, step);
        assert!(log.append(&[entry(7)], now()).is_err());
        drop(log);
        let mut log = device.log(Limits::default());
        log.append(&[entry(8)], now()).unwrap();
        assert_eq!(device.verify(None).findings, []);
        assert_eq!(device.records().last().unwrap().details["number"], "8");
    }
}

/// A log of several files, with its head.
static SAMPLE: LazyLock<(Device, Vec<Segment>, SignedHead)> = LazyLock::new(sample);

fn sample() -> (Device, Vec<Segment>, SignedHead) {
    let device = Device::new();
    let head = fill(&mut device.log(ENDLESS), 12);
    let segments = device.segments();
    assert!(segments.len() > 3);
    assert_eq!(found(&device, &segments, &head), Vec::<&str>::new());
    (device, segments, head)
}

/// The lines of all files in one.
fn lines(segments: &[Segment]) -> Vec<Vec<u8>> {
    let each = |segment: &Segment| -> Vec<Vec<u8>> {
        let lines = segment.bytes.split_inclusive(|byte| *byte == b'\n');
        lines.map(<[u8]>::to_vec).collect()
    };
    segments.iter().flat_map(each).collect()
}

fn joined(lines: &[Vec<u8>]) -> Vec<Segment> {
    vec![Segment {
        name: "1.jsonl".to_owned(),
        bytes: lines.concat(),
    }]
}

#[test]
fn each_removed_or_swapped_record_and_each_shortened_end_is_found() {
    let (device, segments, head) = &*SAMPLE;
    let lines = lines(segments);
    assert_eq!(lines.len() as u64, head.head.sequence);
    for at in 0..lines.len() {
        let mut removed = lines.clone();
        removed.remove(at);
        let names = found(device, &joined(&removed), head);
        assert!(!names.is_empty(), "record {} was removed", at + 1);
        let short = found(device, &joined(&lines[..at]), head);
        assert_eq!(short, ["truncated"], "{at} records");
        for other in at + 1..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, other);
            let names = found(device, &joined(&swapped), head);
            assert!(names.contains(&"wrong_sequence"), "{names:?}");
        }
    }
    for at in 0..segments.len() {
        let mut removed = segments.clone();
        removed.remove(at);
        assert!(!found(device, &removed, head).is_empty(), "file {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn each_changed_byte_is_found(places in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 20)) {
        let (device, segments, head) = &*SAMPLE;
        for (place, change) in places {
            let mut changed = lines(segments).concat();
            let at = place.index(changed.len());
            changed[at] ^= change;
            let file = Segment { name: "1.jsonl".to_owned(), bytes: changed };
            prop_assert!(!found(device, &[file], head).is_empty(), "byte {at}");
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let segment = Segment { name: "1.jsonl".to_owned(), bytes };
        let checked = check(&[segment], None, &Expected::default());
        prop_assert!(checked.findings.len() as u64 <= checked.found);
    }
}

/// A file that a device removes has a signed record, which a command without a daemon cannot write.
#[test]
fn a_command_without_a_daemon_removes_no_file_of_a_full_log() {
    let device = Device::new();
    let mut log = device.log(Limits {
        total_bytes: u64::MAX,
        ..Limits::default()
    });
    // A record has less than 16 KiB, and 64 of them almost a file of 1 MiB.
    let details = (0..14).map(|number| (number.to_string(), "x".repeat(1024)));
    let large = details.fold(
        Entry::new(AuditKind::Command, now()),
        |entry, (name, text)| entry.with(&name, text),
    );
    for _ in 0..20 {
        log.append(&vec![large.clone(); 64], now()).unwrap();
        log.checkpoint(now()).unwrap();
    }
    drop(log);
    let bytes = |device: &Device| -> u64 {
        let segments = device.segments();
        segments.iter().map(|it| it.bytes.len() as u64).sum()
    };
    assert!(bytes(&device) > Limits::default().total_bytes);
    append_offline(device.path(), &entry(1), now()).unwrap();
    let checked = device.verify(None);
    assert_eq!(checked.findings, []);
    assert_eq!(checked.first, Some(1));
    // The daemon does it, and signs that.
    device
        .log(Limits::default())
        .append(&[entry(2)], now())
        .unwrap();
    let checked = device.verify(None);
    assert_eq!(checked.findings, []);
    assert!(checked.first > Some(1), "{checked:?}");
    assert!(bytes(&device) < Limits::default().total_bytes + (1 << 20));
}

/// Who can write the files and does not have the key can replace the log by another one, with all records that a reader expects.
#[test]
fn a_log_that_another_key_or_no_key_has_written_is_found() {
    let device = Device::new();
    let mut forged = AuditLog::open(
        device.path(),
        Disk::new(Faults::never()),
        ENDLESS,
        None,
        now(),
    )
    .unwrap();
    // With the first record, as many as a device may leave without a signature.
    let entries: Vec<Entry> = (0..255).map(entry).collect();
    forged.append(&entries, now()).unwrap();
    assert_eq!(device.verify(None).findings, []);
    forged.append(&[entry(255)], now()).unwrap();
    let unsigned = Finding::UnsignedRecords {
        after: 0,
        records: 257,
    };
    assert_eq!(device.verify(None).findings, [unsigned]);
    // Without a key nothing is known of signatures.
    let checked = verify(&device.path().join(FOLDER), &Expected::default()).unwrap();
    assert_eq!(checked.findings, []);
    drop(forged);
    // The device signs what it found.
    fill(&mut device.log(ENDLESS), 1);
    assert_eq!(device.verify(None).findings, []);
}
