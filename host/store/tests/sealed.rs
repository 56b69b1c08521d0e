//! A data folder whose blobs and states are sealed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Deployer, blob_files, deliver, flip_a_bit, index_of, noise, now, piece};
use hotshoe_base::disk::Faults;
use hotshoe_sealing::{AtRest, DeviceKey, is_sealed};
use hotshoe_store::{
    RecordStage, RecordedEntry, RecordedPart, RecordedRelease, Recording, RecordingHead,
    RecordingWriter, Store, Transition,
};
use hotshoe_trust::{Blob, Digest, Floor};

/// Sealing with the key of a folder.
fn at_rest(folder: &Path) -> AtRest {
    let path = folder.join("device.key");
    let key = DeviceKey::read(&path).or_else(|_| DeviceKey::create(&path));
    AtRest::sealed(key.unwrap(), true)
}

/// Whether any file below a folder has these bytes.
fn has(folder: &Path, part: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return has(&path, part);
        }
        let bytes = fs::read(&path).unwrap();
        bytes.windows(part.len()).any(|window| window == part)
    })
}

#[test]
fn an_installed_release_starts_and_no_file_has_bytes_of_its_model() {
    let (deployer, keys) = (Deployer::new(), tempfile::tempdir().unwrap());
    let data = tempfile::tempdir().unwrap();
    let model = noise(3, 200_000);
    let layout = deployer.signed_model(1, &model);
    let mut store = Store::open_at_rest(data.path(), at_rest(keys.path())).unwrap();
    let slot = deployer.install(&mut store, &layout);
    store.save_state(slot.release, b"what it keeps").unwrap();
    drop(store);
    assert!(!has(data.path(), &model[100_000..100_032]));
    assert!(!has(data.path(), b"what it keeps"));
    let store = Store::open_at_rest(data.path(), at_rest(keys.path())).unwrap();
    let verified = deployer.start(&store, &slot);
    let blob = verified.models["detect"].variants[0].blob;
    assert_eq!(store.blob(&blob).unwrap(), model);
    assert_eq!(store.blobs().size(blob.digest), Some(200_000));
    assert!(store.blobs().has(&blob));
    store.blobs().prove(&blob).unwrap();
    store.blobs().check_chunks(&verified).unwrap();
    assert_eq!(
        store.load_state(slot.release).unwrap().unwrap(),
        b"what it keeps"
    );
    // A reader beside the process that has the folder, as the page.
    let document = hotshoe_store::read_release(data.path(), &at_rest(keys.path()), slot.release);
    assert!(!document.unwrap().is_empty());
}

#[test]
fn chunks_on_their_way_are_sealed_and_found_again_after_a_restart() {
    let (deployer, keys) = (Deployer::new(), tempfile::tempdir().unwrap());
    let data = tempfile::tempdir().unwrap();
    let model = noise(4, 400_000);
    let layout = deployer.signed_model(1, &model);
    let verified = deployer.verify(&layout, &Floor::none());
    let blob = Blob::of(&model);
    let index = index_of(&layout, &verified, &blob);
    assert!(index.chunks.len() > 2);
    let open = || Store::open_at_rest(data.path(), at_rest(keys.path())).unwrap();
    let blobs = open().blobs();
    let partial = blobs.partial(&index).unwrap();
    partial.put(1, &piece(&index, &model, 1)).unwrap();
    let (offset, _) = index.offsets().nth(1).unwrap();
    let start = usize::try_from(offset).unwrap();
    assert_eq!(partial.read(1).unwrap().unwrap(), piece(&index, &model, 1));
    drop((partial, blobs));
    assert!(!has(data.path(), &model[start..start + 32]));
    let blobs = open().blobs();
    let partial = blobs.partial(&index).unwrap();
    assert!(partial.has(1) && !partial.has(0));
    for number in partial.missing() {
        partial.put(number, &piece(&index, &model, number)).unwrap();
    }
    assert_eq!(partial.finish().unwrap(), blob);
    assert_eq!(partial.finish().unwrap(), blob, "once more");
    assert_eq!(blobs.read(&blob).unwrap(), model);
    assert!(!blobs.has_begun(&blob));
    assert!(!has(data.path(), &model[start..start + 32]));
}

#[test]
fn a_damaged_key_of_chunks_is_set_aside_and_they_are_fetched_again() {
    let (deployer, keys) = (Deployer::new(), tempfile::tempdir().unwrap());
    let data = tempfile::tempdir().unwrap();
    let model = noise(5, 400_000);
    let layout = deployer.signed_model(1, &model);
    let verified = deployer.verify(&layout, &Floor::none());
    let blob = Blob::of(&model);
    let index = index_of(&layout, &verified, &blob);
    let open = || Store::open_at_rest(data.path(), at_rest(keys.path())).unwrap();
    let key = data.path().join("parts/chunk.key");
    for flipped in [0, 60, usize::MAX] {
        let blobs = open().blobs();
        let partial = blobs.partial(&index).unwrap();
        partial.put(1, &piece(&index, &model, 1)).unwrap();
        drop((partial, blobs));
        let mut bytes = fs::read(&key).unwrap();
        let at = flipped.min(bytes.len() - 1);
        bytes[at] ^= 1;
        fs::write(&key, &bytes).unwrap();
        let blobs = open().blobs();
        let partial = blobs.partial(&index).unwrap();
        assert!(!partial.has(1), "byte {at}");
        assert_eq!(fs::read(key.with_extension("key.damaged")).unwrap(), bytes);
    }
    let blobs = open().blobs();
    let partial = blobs.partial(&index).unwrap();
    for number in partial.missing() {
        partial.put(number, &piece(&index, &model, number)).unwrap();
    }
    assert_eq!(partial.finish().unwrap(), blob);
}

#[test]
fn a_flipped_bit_a_lost_key_and_another_one_are_named() {
    let (deployer, keys) = (Deployer::new(), tempfile::tempdir().unwrap());
    let data = tempfile::tempdir().unwrap();
    let layout = deployer.signed(1);
    let mut store = Store::open_at_rest(data.path(), at_rest(keys.path())).unwrap();
    let slot = deployer.install(&mut store, &layout);
    let verified = deployer.start(&store, &slot);
    drop(store);
    let named = |at_rest| {
        let store = Store::open_on(data.path(), Faults::never(), at_rest).unwrap();
        store.check(&verified).map_err(|error| error.name())
    };
    assert_eq!(named(AtRest::plain()), Err("sealed_without_key"));
    let other = tempfile::tempdir().unwrap();
    assert_eq!(named(at_rest(other.path())), Err("sealed_with_another_key"));
    assert_eq!(named(at_rest(keys.path())), Ok(()));
    for path in blob_files(data.path()) {
        let whole = fs::read(&path).unwrap();
        assert!(is_sealed(&whole));
        flip_a_bit(&path);
        let name = format!("sha256:{}", path.file_name().unwrap().to_str().unwrap());
        let store = Store::open_at_rest(data.path(), at_rest(keys.path())).unwrap();
        let error = store
            .blobs()
            .read_any(name.parse().unwrap(), 1 << 20)
            .unwrap_err();
        assert!(error.is_loss(), "{error}");
        assert_eq!(error.name(), "damaged_blob");
        // Without its first bytes it is not taken for a blob that should be sealed now.
        fs::write(&path, &whole[1..]).unwrap();
        let read = store.blobs().read_any(name.parse().unwrap(), 1 << 20);
        assert!(read.unwrap_err().is_loss());
        drop(store);
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_device_that_gets_a_key_seals_the_blobs_that_it_has() {
    let (deployer, keys) = (Deployer::new(), tempfile::tempdir().unwrap());
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::open(data.path()).unwrap();
    let slot = deployer.install(&mut store, &deployer.signed(1));
    drop(store);
    // One that is damaged is not sealed as if it were right.
    let damaged = blob_files(data.path()).pop().unwrap();
    let whole = fs::read(&damaged).unwrap();
    flip_a_bit(&damaged);
    drop(Store::open_at_rest(data.path(), at_rest(keys.path())).unwrap());
    for path in blob_files(data.path()) {
        let is_damaged = path == damaged;
        assert_eq!(is_sealed(&fs::read(&path).unwrap()), !is_damaged);
    }
    fs::write(&damaged, whole).unwrap();
    let store = Store::open_at_rest(data.path(), at_rest(keys.path())).unwrap();
    assert_eq!(deployer.start(&store, &slot).generation, 1);
    assert!(is_sealed(&fs::read(&damaged).unwrap()));
}

#[test]
fn a_power_cut_at_any_write_leaves_no_release_or_a_whole_one() {
    let (deployer, keys) = (Deployer::new(), tempfile::tempdir().unwrap());
    let layout = deployer.signed_model(1, &noise(5, 300 << 10));
    let verified = deployer.verify(&layout, &Floor::none());
    for steps in 0.. {
        let data = tempfile::tempdir().unwrap();
        let faults = Faults::after(steps);
        let install = || -> Result<(), Box<dyn std::error::Error>> {
            let mut store = Store::open_on(data.path(), faults, at_rest(keys.path()))?;
            let slot = deliver(&store, &layout, &verified)?;
            let issued = verified.issued;
            store.apply(&Transition::Install(slot, issued), now())?;
            Ok(())
        };
        let is_done = install().is_ok();
        if let Ok(store) = Store::open_at_rest(data.path(), at_rest(keys.path())) {
            let live = store.ledger().live.clone();
            assert!(live.is_some() || !is_done);
            if let Some(slot) = live {
                assert_eq!(deployer.start(&store, &slot).generation, 1, "{steps} steps");
            }
            // It can be delivered again.
            deliver(&store, &layout, &verified).unwrap();
        }
        if is_done {
            assert!(steps > 20, "{steps} steps");
            return;
        }
    }
}

#[test]
fn a_sealed_recording_shows_no_sample_and_its_copy_is_read_by_all() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (sealed, plain) = (folder.path().join("sealed"), folder.path().join("plain"));
    let release = RecordedRelease {
        name: "labels".to_owned(),
        generation: 7,
        digest: Digest::of(b"manifest"),
    };
    let head = RecordingHead::new(
        "lab".to_owned(),
        "cam".to_owned(),
        release,
        RecordStage::Pre,
    );
    let mut writer = RecordingWriter::create_at_rest(&sealed, head, at_rest(keys.path())).unwrap();
    let entry = RecordedEntry {
        id: "of-a-person".to_owned(),
        content_type: "image/png".to_owned(),
        source: "door".to_owned(),
        timestamp: 5,
        actions: None,
        files: BTreeMap::new(),
    };
    let parts = [(RecordedPart::Sample, b"a picture of a person".to_vec())];
    writer.add(entry, "png", &parts).unwrap();
    writer.finish().unwrap();
    assert!(!has(&sealed, b"of-a-person") && !has(&sealed, b"a picture of a person"));
    let error = Recording::open(&sealed).unwrap_err();
    assert_eq!(error.name(), "sealed_without_key");
    let recording = Recording::open_at_rest(&sealed, &at_rest(keys.path())).unwrap();
    let sample = recording.read(&recording.entries[0], &RecordedPart::Sample);
    assert_eq!(sample.unwrap().unwrap(), b"a picture of a person");
    assert_eq!(recording.copy_plain(&plain).unwrap(), 1);
    let copy = Recording::open(&plain).unwrap();
    copy.check().unwrap();
    assert_eq!(
        (copy.head, copy.entries),
        (recording.head.clone(), recording.entries.clone())
    );
    assert_eq!(
        recording.copy_plain(&plain).unwrap_err().name(),
        "recording_exists"
    );
    flip_a_bit(&sealed.join("samples/0000.png"));
    let error = recording.check().unwrap_err();
    assert_eq!(error.name(), "damaged_blob");
}
