//! Files that are sealed where a device says so, keys of records, and where secrets are read from.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_sealing::{
    AtRest, CHUNK_BYTES, DeviceKey, RECORD_OVERHEAD_BYTES, RecordKey, Secret, SecretPlace,
    SecretSource, Secrets, UnsealError, is_sealed,
};

fn disk() -> Disk {
    Disk::new(Faults::never())
}

/// Sealing with the key of a folder.
fn sealed(folder: &Path, is_required: bool) -> AtRest {
    let path = folder.join("device.key");
    let key = DeviceKey::read(&path).or_else(|_| DeviceKey::create(&path));
    AtRest::sealed(key.unwrap(), is_required)
}

/// The name of the error that an I/O error has.
fn name(error: &io::Error) -> &'static str {
    let cause = error.get_ref().and_then(|it| it.downcast_ref());
    cause.map_or("none", UnsealError::name)
}

#[test]
fn a_file_is_written_and_read_as_the_device_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let (plain, sealed, required) = (
        AtRest::plain(),
        sealed(folder.path(), false),
        sealed(folder.path(), true),
    );
    plain.replace(&disk(), &path, b"early").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"early");
    assert_eq!(plain.read(&path, 5).unwrap(), b"early");
    // What was written before is still read.
    assert_eq!(sealed.read(&path, 5).unwrap(), b"early");
    let error = required.read(&path, 5).unwrap_err();
    assert_eq!(name(&error), "not_sealed");
    sealed.replace(&disk(), &path, b"later").unwrap();
    assert!(is_sealed(&fs::read(&path).unwrap()));
    assert_eq!(sealed.read(&path, 5).unwrap(), b"later");
    assert_eq!(required.read(&path, 5).unwrap(), b"later");
    assert_eq!(
        sealed.read(&path, 4).unwrap_err().kind(),
        io::ErrorKind::FileTooLarge
    );
    let error = plain.read(&path, 1_000).unwrap_err();
    assert_eq!(
        (name(&error), error.kind()),
        ("sealed_without_key", io::ErrorKind::InvalidData)
    );
    // Under another name it does not open.
    let moved = folder.path().join("other.json");
    fs::rename(&path, &moved).unwrap();
    let error = sealed.read(&moved, 5).unwrap_err();
    assert_eq!(name(&error), "sealed_file_damaged");
    let error = sealed.read(&path, 5).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn contents_are_read_in_order_and_at_offsets_whether_sealed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blob");
    let plain: Vec<u8> = (0..2 * CHUNK_BYTES + 100)
        .map(|at| (at % 251) as u8)
        .collect();
    for at_rest in [AtRest::plain(), sealed(folder.path(), true)] {
        let file = disk().create(&path).unwrap();
        let mut writer = at_rest.writer(&disk(), file, "blob").unwrap();
        for piece in plain.chunks(30_000) {
            writer.write(piece).unwrap();
        }
        disk().sync(&writer.finish().unwrap()).unwrap();
        let mut contents = at_rest.open(File::open(&path).unwrap(), "blob").unwrap();
        assert_eq!(contents.size().unwrap(), plain.len() as u64);
        let (from, len) = (CHUNK_BYTES - 10, CHUNK_BYTES + 50);
        let mut part = vec![0; len];
        contents.read_exact_at(&mut part, from as u64).unwrap();
        assert_eq!(part, plain[from..from + len]);
        let beyond = contents.read_exact_at(&mut part, plain.len() as u64 - 10);
        assert_eq!(beyond.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut all = Vec::new();
        contents.read_to_end(&mut all).unwrap();
        assert_eq!(all, plain);
    }
    assert!(is_sealed(&fs::read(&path).unwrap()));
    let opened = AtRest::plain().open(File::open(&path).unwrap(), "blob");
    assert_eq!(opened.unwrap_err().name(), "sealed_without_key");
}

#[test]
fn a_record_opens_beside_the_same_alone_and_every_changed_bit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.key");
    let at_rest = sealed(folder.path(), true);
    assert!(
        RecordKey::open(&AtRest::plain(), &disk(), &path)
            .unwrap()
            .is_none()
    );
    let key = RecordKey::open(&at_rest, &disk(), &path).unwrap().unwrap();
    let record = key.seal(b"a record", b"camera 1").unwrap();
    assert_eq!(record.len(), 8 + RECORD_OVERHEAD_BYTES);
    // The same key after a restart.
    let key = RecordKey::open(&at_rest, &disk(), &path).unwrap().unwrap();
    assert_eq!(key.unseal(&record, b"camera 1").unwrap(), b"a record");
    assert_eq!(key.unseal(&record, b"camera 2"), None);
    for bit in 0..record.len() * 8 {
        let mut changed = record.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.unseal(&changed, b"camera 1"), None, "bit {bit}");
    }
    for end in 0..record.len() {
        assert_eq!(key.unseal(&record[..end], b"camera 1"), None);
    }
    // Without the device's key, the records are not taken for others.
    let error = RecordKey::open(&AtRest::plain(), &disk(), &path).unwrap_err();
    assert_eq!(error.name(), "sealed_without_key");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = RecordKey::open(&at_rest, &disk(), &path).unwrap_err();
    assert_eq!(error.name(), "sealed_file_damaged");
}

#[test]
fn secrets_come_from_the_folder_first_and_then_from_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (data, files) = (folder.path().join("data"), folder.path().join("files"));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&files).unwrap();
    let at_rest = sealed(folder.path(), true);
    let mut secrets = Secrets::open(&data, disk(), at_rest.key().unwrap()).unwrap();
    for name in ["broker", "camera"] {
        let value = Secret::new(format!("stored {name}"));
        secrets.set(at_rest.key().unwrap(), name, value).unwrap();
    }
    fs::write(files.join("camera"), "of a file\n").unwrap();
    fs::write(files.join("long"), "a".repeat(4_098)).unwrap();
    fs::write(files.join("NotAName"), "x").unwrap();
    let source = SecretSource::new(Some(files), data.clone(), at_rest.clone());
    let get = |name| source.get(name).map(|it| it.expose().to_owned());
    assert_eq!(get("camera").unwrap(), "of a file");
    assert_eq!(get("broker").unwrap(), "stored broker");
    assert_eq!(get("none").unwrap_err().name(), "unknown_secret");
    assert_eq!(get("long").unwrap_err().name(), "secret_too_long");
    assert_eq!(get("../camera").unwrap_err().name(), "invalid_secret_name");
    let names = source.names().unwrap();
    let expected = [
        ("broker".to_owned(), SecretPlace::Stored),
        ("camera".to_owned(), SecretPlace::Folder),
        ("long".to_owned(), SecretPlace::Folder),
    ];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    assert!(!format!("{source:?}").contains("stored"));
    // A store without its key is not an empty one.
    let source = SecretSource::new(None, data, AtRest::plain());
    assert_eq!(
        source.get("broker").unwrap_err().name(),
        "secrets_without_key"
    );
    assert_eq!(source.names().unwrap_err().name(), "secrets_without_key");
    let empty = SecretSource::new(None, folder.path().join("none"), AtRest::plain());
    assert_eq!(empty.get("broker").unwrap_err().name(), "unknown_secret");
    assert!(empty.names().unwrap().is_empty());
}

#[test]
fn files_of_another_key_are_refused_by_their_headers_and_a_damaged_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str| {
        let key = DeviceKey::create(&folder.path().join(name)).unwrap();
        AtRest::sealed(key, false)
    };
    let (ours, theirs) = (key("ours.key"), key("theirs.key"));
    let disk = Disk::new(Faults::never());
    let paths = ["one", "two"].map(|name| folder.path().join(name));
    let missing = folder.path().join("missing");
    let check = |at_rest: &AtRest| {
        let files = paths.iter().chain([&missing]).cloned();
        at_rest.check_key(files).map_err(|error| error.name())
    };
    // Files that are not sealed tell nothing.
    AtRest::plain().replace(&disk, &paths[0], b"plain").unwrap();
    for at_rest in [&ours, &theirs, &AtRest::plain()] {
        assert_eq!(check(at_rest), Ok(()));
    }
    for path in &paths {
        ours.replace(&disk, path, b"sealed").unwrap();
    }
    assert_eq!(check(&ours), Ok(()));
    assert_eq!(check(&theirs), Err("sealed_with_another_key"));
    assert_eq!(check(&AtRest::plain()), Err("sealed_without_key"));
    // A changed bit in the identity of the key of one file.
    let mut bytes = fs::read(&paths[0]).unwrap();
    bytes[10] ^= 1;
    fs::write(&paths[0], bytes).unwrap();
    assert_eq!(check(&ours), Ok(()));
}
