//! Sealed files come back, show nothing, and every change of them is found; power cuts at every step lose nothing that was synced.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_sealing::{
    CHUNK_BYTES, DeviceKey, FRAME_OVERHEAD_BYTES, LOG_HEADER_BYTES, LogReader, SECRETS_FILE,
    SealWriter, SealedFile, SealedLog, Secret, Secrets, UnsealError, is_sealed, read_log, seal,
    unseal,
};

const NAME: &str = "state/label-reader";

/// A folder with a key.
fn device() -> (tempfile::TempDir, DeviceKey) {
    let folder = tempfile::tempdir().unwrap();
    let key = DeviceKey::create(&folder.path().join("sealing.key")).unwrap();
    (folder, key)
}

/// Bytes that do not repeat within 64 KiB.
fn contents(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
        .collect()
}

fn disk() -> Disk {
    Disk::new(Faults::never())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The contents of an open file, read chunk by chunk.
fn read_all(file: &SealedFile) -> Result<Vec<u8>, UnsealError> {
    let mut found = Vec::new();
    while (found.len() as u64) < file.len() {
        found.extend_from_slice(&file.read_from(found.len() as u64)?);
    }
    Ok(found)
}

#[test]
fn contents_of_every_length_come_back_whole_and_in_parts() {
    let (folder, key) = device();
    let path = folder.path().join("file");
    for len in [
        0,
        1,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        3 * CHUNK_BYTES + 7,
    ] {
        let plain = contents(len);
        let sealed = seal(&key, NAME, &plain).unwrap();
        assert!(is_sealed(&sealed) && !is_sealed(&plain));
        assert_eq!(*unseal(&key, NAME, &sealed).unwrap(), plain, "{len}");
        let mut writer =
            SealWriter::new(disk(), disk().create(&path).unwrap(), &key, NAME).unwrap();
        for piece in plain.chunks(10_000) {
            writer.write(piece).unwrap();
        }
        disk().sync(&writer.finish().unwrap()).unwrap();
        let streamed = fs::read(&path).unwrap();
        assert_eq!(streamed.len(), sealed.len());
        assert_eq!(*unseal(&key, NAME, &streamed).unwrap(), plain, "{len}");
        let file = SealedFile::open(File::open(&path).unwrap(), &key, NAME).unwrap();
        assert_eq!(file.len(), len as u64);
        assert_eq!(read_all(&file).unwrap(), plain, "{len}");
        if len > 100 {
            let part = file.read_from(len as u64 - 3).unwrap();
            // To the end of its chunk.
            let end = len.min((len - 3).next_multiple_of(CHUNK_BYTES));
            assert_eq!(*part, plain[len - 3..end]);
            assert!(!contains(&streamed, &plain[40..60]), "{len}");
        }
        assert!(file.read_from(len as u64).unwrap().is_empty());
    }
}

#[test]
fn equal_contents_give_different_bytes() {
    let (_folder, key) = device();
    let (one, two) = (seal(&key, NAME, b"same"), seal(&key, NAME, b"same"));
    assert_ne!(one.unwrap(), two.unwrap());
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let (_folder, key) = device();
    let sealed = seal(&key, NAME, &contents(100)).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let name = unseal(&key, NAME, &changed).unwrap_err().name();
        let expected = match bit / 8 {
            0..9 => "not_sealed",
            9..17 => "sealed_with_another_key",
            _ => "sealed_file_damaged",
        };
        assert_eq!(name, expected, "bit {bit}");
    }
}

#[test]
fn a_cut_a_moved_chunk_and_another_name_are_found() {
    let (folder, key) = device();
    let sealed = seal(&key, NAME, &contents(2 * CHUNK_BYTES + 5)).unwrap();
    let header = sealed.len() - (2 * CHUNK_BYTES + 5) - 3 * 16;
    let chunk = CHUNK_BYTES + 16;
    let path = folder.path().join("file");
    let cuts = [
        0,
        1,
        header - 1,
        header,
        header + 10,
        header + chunk,
        header + 2 * chunk,
    ];
    for cut in cuts.into_iter().chain([sealed.len() - 1]) {
        assert!(unseal(&key, NAME, &sealed[..cut]).is_err(), "{cut}");
        fs::write(&path, &sealed[..cut]).unwrap();
        let opened = SealedFile::open(File::open(&path).unwrap(), &key, NAME);
        assert!(opened.is_err(), "{cut}");
    }
    let longer = [&sealed[..], &[0]].concat();
    assert!(unseal(&key, NAME, &longer).is_err());
    let (start, body) = sealed.split_at(header);
    let moved = [
        start,
        &body[chunk..2 * chunk],
        &body[..chunk],
        &body[2 * chunk..],
    ]
    .concat();
    let error = unseal(&key, NAME, &moved).unwrap_err();
    assert_eq!(error.name(), "sealed_file_damaged");
    let of_other = seal(&key, NAME, &contents(2 * CHUNK_BYTES + 5)).unwrap();
    let mixed = [&sealed[..header + chunk], &of_other[header + chunk..]].concat();
    let error = unseal(&key, NAME, &mixed).unwrap_err();
    assert!(
        matches!(error, UnsealError::Damaged { offset, .. } if offset == (header + chunk) as u64)
    );
    assert_eq!(
        unseal(&key, "outbox/1", &sealed).unwrap_err().name(),
        "sealed_file_damaged"
    );
    assert_eq!(
        read_log(&key, NAME, &sealed).unwrap_err().name(),
        "not_sealed"
    );
    assert_eq!(
        unseal(&key, NAME, b"plain text").unwrap_err().name(),
        "not_sealed"
    );
}

#[test]
fn a_damaged_chunk_leaves_the_others_readable() {
    let (folder, key) = device();
    let plain = contents(2 * CHUNK_BYTES + 5);
    let mut sealed = seal(&key, NAME, &plain).unwrap();
    let second = sealed.len() - 5 - 16 - 100;
    sealed[second] ^= 1;
    let path = folder.path().join("file");
    fs::write(&path, &sealed).unwrap();
    let file = SealedFile::open(File::open(&path).unwrap(), &key, NAME).unwrap();
    assert_eq!(*file.read_from(0).unwrap(), plain[..CHUNK_BYTES]);
    let error = file.read_from(CHUNK_BYTES as u64).unwrap_err();
    assert_eq!(error.name(), "sealed_file_damaged");
    assert_eq!(
        *file.read_from(2 * CHUNK_BYTES as u64).unwrap(),
        plain[2 * CHUNK_BYTES..]
    );
}

#[test]
fn a_lost_or_wrong_key_is_named() {
    let (folder, key) = device();
    let path = folder.path().join("sealing.key");
    let sealed = seal(&key, NAME, b"text").unwrap();
    assert_eq!(DeviceKey::read(&path).unwrap().id(), key.id());
    assert_eq!(
        *unseal(&DeviceKey::read(&path).unwrap(), NAME, &sealed).unwrap(),
        b"text"
    );
    assert_eq!(
        DeviceKey::create(&path).unwrap_err().name(),
        "sealing_key_exists"
    );
    let name = |path: &Path| DeviceKey::read(path).unwrap_err().name();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(name(&path), "sealing_key_mode");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.len(), 65);
    for wrong in [
        "",
        "00",
        &text[..63],
        &text.replacen(&text[..1], "g", 1),
        &format!("{text}0"),
    ] {
        fs::write(&path, wrong).unwrap();
        assert_eq!(
            name(&path),
            "sealing_key_malformed",
            "{} bytes",
            wrong.len()
        );
    }
    fs::remove_file(&path).unwrap();
    let error = DeviceKey::read(&path).unwrap_err();
    assert_eq!(error.name(), "sealing_key_missing");
    assert!(
        error.to_string().contains("restore it from its copy"),
        "{error}"
    );
    let other = DeviceKey::create(&path).unwrap();
    let error = unseal(&other, NAME, &sealed).unwrap_err();
    assert_eq!(error.name(), "sealed_with_another_key");
    let text = error.to_string();
    assert!(
        text.contains(&key.id()) && text.contains(&other.id()),
        "{text}"
    );
    let text = fs::read_to_string(&path).unwrap();
    assert!(!format!("{other:?}").contains(text.trim()));
}

/// Writes a log of frames, each synced, until the disk refuses. Returns the number of synced frames.
fn write_log(folder: &Path, key: &DeviceKey, faults: Faults) -> usize {
    let disk = Disk::new(faults);
    let write = |synced: &mut usize| -> std::io::Result<()> {
        let path = folder.join("log");
        let mut log = SealedLog::create(disk.clone(), disk.create(&path)?, key, NAME)?;
        disk.sync_folder(folder)?;
        for number in 0..6_u8 {
            log.append(&[&[number; 50], &[number; 3]])?;
            log.sync()?;
            *synced += 2;
        }
        Ok(())
    };
    let mut synced = 0;
    let _ = write(&mut synced);
    synced
}

#[test]
fn a_power_cut_at_any_step_of_a_log_loses_nothing_that_was_synced() {
    let (folder, key) = device();
    let path = folder.path().join("log");
    for steps in 0..20 {
        let _ = fs::remove_file(&path);
        let synced = write_log(folder.path(), &key, Faults::after(steps));
        let bytes = fs::read(&path).unwrap_or_default();
        let file = disk().open_end(&path);
        let resumed = file.map(|file| SealedLog::resume(disk(), file, &key, NAME, &bytes));
        let Ok(Ok((mut log, found))) = resumed else {
            assert_eq!(synced, 0, "after {steps} steps");
            continue;
        };
        assert!(found.frames.len() >= synced, "after {steps} steps");
        for (at, frame) in found.frames.iter().enumerate() {
            let number = u8::try_from(at / 2).unwrap();
            let len = if at % 2 == 0 { 50 } else { 3 };
            assert_eq!(**frame, vec![number; len], "after {steps} steps");
        }
        log.append(&[b"more"]).unwrap();
        log.sync().unwrap();
        let bytes = fs::read(&path).unwrap();
        let again = read_log(&key, NAME, &bytes).unwrap();
        assert_eq!(again.frames.len(), found.frames.len() + 1);
        assert_eq!(**again.frames.last().unwrap(), b"more");
        assert_eq!(again.complete_bytes, bytes.len() as u64);
    }
}

#[test]
fn a_changed_moved_or_missing_frame_is_found_and_a_torn_end_is_not_damage() {
    let (folder, key) = device();
    assert_eq!(write_log(folder.path(), &key, Faults::never()), 12);
    let bytes = fs::read(folder.path().join("log")).unwrap();
    let whole = read_log(&key, NAME, &bytes).unwrap();
    assert_eq!(
        (whole.frames.len(), whole.complete_bytes),
        (12, bytes.len() as u64)
    );
    for bit in (0..bytes.len() * 8).step_by(3) {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(read_log(&key, NAME, &changed).is_err(), "bit {bit}");
    }
    let (long, short) = (50 + FRAME_OVERHEAD_BYTES, 3 + FRAME_OVERHEAD_BYTES);
    let (header, pair) = (LOG_HEADER_BYTES, long + short);
    assert_eq!(bytes.len(), header + 6 * pair);
    let reader = LogReader::new(&key, NAME, &bytes[..header]).unwrap();
    let second = &bytes[header + long..header + pair];
    assert_eq!(
        *reader.frame(1, (header + long) as u64, second).unwrap(),
        [0; 3]
    );
    for (number, part) in [
        (2, second),
        (1, &second[1..]),
        (1, &second[..second.len() - 1]),
    ] {
        let error = reader.frame(number, 0, part).unwrap_err();
        assert_eq!(error.name(), "sealed_file_damaged");
    }
    for cut in header..bytes.len() {
        let found = read_log(&key, NAME, &bytes[..cut]).unwrap();
        let complete = (cut - header) / pair * 2 + usize::from((cut - header) % pair >= long);
        assert_eq!(found.frames.len(), complete, "{cut} bytes");
    }
    let (start, frames) = bytes.split_at(header);
    let missing = [start, &frames[pair..]].concat();
    let swapped = [start, &frames[pair..2 * pair], &frames[..pair]].concat();
    for changed in [missing, swapped] {
        let error = read_log(&key, NAME, &changed).unwrap_err();
        assert!(matches!(error, UnsealError::Damaged { offset, .. } if offset == header as u64));
    }
}

#[test]
fn a_fault_at_any_step_leaves_the_earlier_or_the_later_secrets() {
    let (folder, key) = device();
    let kinds: [fn(u64) -> Faults; 4] = [
        Faults::after,
        Faults::full_after,
        Faults::read_only_after,
        Faults::broken_after,
    ];
    for kind in kinds {
        for steps in 0..6 {
            let mut secrets = Secrets::open(folder.path(), disk(), &key).unwrap();
            secrets
                .set(&key, "camera", Secret::new("early-value".to_owned()))
                .unwrap();
            let faulty = Disk::new(kind(steps));
            let mut secrets = Secrets::open(folder.path(), faulty, &key).unwrap();
            let set = secrets.set(&key, "camera", Secret::new("later-value".to_owned()));
            let kept = secrets.get("camera").unwrap().expose().to_owned();
            assert_eq!(
                kept,
                if set.is_ok() {
                    "later-value"
                } else {
                    "early-value"
                }
            );
            let secrets = Secrets::open(folder.path(), disk(), &key).unwrap();
            let found = secrets.get("camera").unwrap().expose();
            assert!(["early-value", "later-value"].contains(&found));
            assert!(
                set.is_err() || found == "later-value",
                "after {steps} steps"
            );
        }
    }
}

#[test]
fn secrets_stand_in_no_file_and_in_no_text() {
    let (folder, key) = device();
    let mut secrets = Secrets::open(folder.path(), disk(), &key).unwrap();
    let value = "rtsp-password-\"7\"";
    secrets
        .set(&key, "camera.north", Secret::new(value.to_owned()))
        .unwrap();
    secrets
        .set(&key, "broker", Secret::new("b".repeat(4_096)))
        .unwrap();
    assert!(!format!("{secrets:?}").contains("rtsp-password"));
    for entry in fs::read_dir(folder.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!contains(&bytes, b"rtsp-password") && !contains(&bytes, b"camera.north"));
    }
    let mut secrets = Secrets::open(folder.path(), disk(), &key).unwrap();
    assert_eq!(secrets.get("camera.north").unwrap().expose(), value);
    assert_eq!(
        secrets.names().collect::<Vec<_>>(),
        ["broker", "camera.north"]
    );
    assert!(secrets.remove(&key, "broker").unwrap());
    assert!(!secrets.remove(&key, "broker").unwrap());
    for name in ["", "Camera", "7", "a/b", &"a".repeat(65)] {
        let error = secrets
            .set(&key, name, Secret::new(String::new()))
            .unwrap_err();
        assert_eq!(error.name(), "invalid_secret_name", "{name}");
    }
    let error = secrets
        .set(&key, "broker", Secret::new(String::new()))
        .unwrap_err();
    assert_eq!(error.name(), "empty_secret");
    let error = secrets
        .set(&key, "long", Secret::new("a".repeat(4_097)))
        .unwrap_err();
    assert_eq!(error.name(), "secret_too_long");
    let path = folder.path().join(SECRETS_FILE);
    let sealed = fs::read(&path).unwrap();
    fs::write(&path, &sealed[..sealed.len() - 1]).unwrap();
    let error = Secrets::open(folder.path(), disk(), &key).unwrap_err();
    assert_eq!(error.name(), "sealed_file_damaged");
}
