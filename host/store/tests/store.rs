//! A device's data folder: locked, durable, and whole after a power cut at any write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::{collections::BTreeSet, fs};

use common::{Deployer, blob_files, flip_a_bit, now};
use hotshoe_base::disk::Faults;
use hotshoe_store::{
    BlobError, IllegalTransition, InstallError, LedgerError, OpenError, ReadError, Store,
};
use hotshoe_trust::{Digest, Floor};

#[test]
fn installing_moves_the_slots_and_raises_the_floor() {
    let deployer = Deployer::new();
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::open(data.path()).unwrap();
    assert_eq!(store.ledger().live, None);
    let (first, second) = (deployer.signed(1), deployer.signed(2));
    let slot = deployer.install(&mut store, &first);
    assert_eq!(
        (
            store.ledger().live.as_ref(),
            store.ledger().previous.as_ref()
        ),
        (Some(&slot), None)
    );
    let next = deployer.install(&mut store, &second);
    assert_eq!(
        (
            store.ledger().live.as_ref(),
            store.ledger().previous.as_ref()
        ),
        (Some(&next), Some(&slot))
    );
    // The same again keeps the way back.
    deployer.install(&mut store, &second);
    assert_eq!(store.ledger().previous.as_ref(), Some(&slot));
    assert_eq!(store.ledger().floor["ocr"].generation, 2);
    assert_eq!(store.ledger().clock_floor, Some(now()));
    let ledger = store.ledger().clone();
    drop(store);
    let store = Store::open(data.path()).unwrap();
    assert_eq!(*store.ledger(), ledger);
    let verified = deployer.start(&store, &next);
    assert_eq!(verified.generation, 2);
    let model = store
        .blob(&verified.models["detect"].variants[0].blob)
        .unwrap();
    assert_eq!(model, b"weights 2");
    // The previous one is still whole, to go back to.
    assert_eq!(deployer.start(&store, &slot).generation, 1);
    // The engine makes it, with the permissions that it asks for.
    assert!(!store.aot_dir().exists() && store.aot_dir().starts_with(data.path()));
}

#[test]
fn the_floor_holds_even_against_a_caller_that_forgot_it() {
    let deployer = Deployer::new();
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::open(data.path()).unwrap();
    let (first, second) = (deployer.signed(1), deployer.signed(2));
    deployer.install(&mut store, &second);
    let below = deployer.verify(&first, &Floor::none());
    let refused = store.install(&first, &below, now());
    assert!(
        matches!(
            refused,
            Err(InstallError::Illegal(IllegalTransition::BelowFloor {
                generation: 1,
                ..
            }))
        ),
        "{refused:?}"
    );
    fs::write(deployer.folder.path().join("characters.txt"), b"xyz").unwrap();
    let other = deployer.signed(2);
    let changed = deployer.verify(&other, &Floor::none());
    let refused = store.install(&other, &changed, now());
    assert!(
        matches!(
            refused,
            Err(InstallError::Illegal(IllegalTransition::BelowFloor {
                generation: 2,
                ..
            }))
        ),
        "{refused:?}"
    );
}

#[test]
fn a_folder_in_use_names_its_holder() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let refused = Store::open(data.path()).unwrap_err();
    assert!(
        matches!(refused, OpenError::InUse { holder: Some(pid), .. } if pid == std::process::id()),
        "{refused}"
    );
    assert!(
        refused
            .to_string()
            .contains(&format!("process {}", std::process::id())),
        "{refused}"
    );
    fs::write(data.path().join("lock"), "?").unwrap();
    let refused = Store::open(data.path()).unwrap_err();
    assert!(
        matches!(refused, OpenError::InUse { holder: None, .. }),
        "{refused}"
    );
    drop(store);
    Store::open(data.path()).unwrap();
}

#[test]
fn a_ledger_that_cannot_be_read_closes_the_device() {
    let deployer = Deployer::new();
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::open(data.path()).unwrap();
    deployer.install(&mut store, &deployer.signed(1));
    drop(store);
    let path = data.path().join("ledger.json");
    let text = fs::read_to_string(&path).unwrap();
    let refused = || match Store::open(data.path()) {
        Err(OpenError::Ledger { source, .. }) => *source,
        other => panic!("{other:?}"),
    };
    for spoilt in [
        String::new(),
        text[..text.len() / 2].to_owned(),
        text.replace("\"generation\"", "\"genration\""),
        text.replacen("\"live\"", "\"live\": null, \"live\"", 1),
    ] {
        fs::write(&path, spoilt).unwrap();
        assert!(matches!(refused(), LedgerError::Damaged { .. }));
    }
    let with = |version: &str| text.replace("\"version\": 2", version);
    fs::write(&path, with("\"version\": 0")).unwrap();
    assert!(matches!(refused(), LedgerError::Version { found: 0, .. }));
    // Fields of a newer format do not make it damaged, and it stays as it is.
    for (number, newer) in [
        (3, with("\"version\": 3")),
        (99, with("\"version\": 99, \"new\": {}")),
    ] {
        fs::write(&path, &newer).unwrap();
        let error = refused();
        assert_eq!(error.name(), "newer_format");
        assert!(
            matches!(&error, LedgerError::Newer(error) if error.found == number && error.newest == 2)
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    }
    assert_eq!(Store::open(data.path()).unwrap_err().name(), "newer_format");
    fs::remove_file(&path).unwrap();
    assert!(matches!(refused(), LedgerError::Missing { .. }));
    fs::create_dir(&path).unwrap();
    assert!(matches!(refused(), LedgerError::Read(_)));
    fs::remove_dir(&path).unwrap();
    fs::write(&path, text).unwrap();
    assert_eq!(
        Store::open(data.path())
            .unwrap()
            .ledger()
            .live
            .as_ref()
            .unwrap()
            .generation,
        1
    );
}

#[test]
fn one_flipped_bit_in_a_stored_blob_is_found_and_named() {
    let deployer = Deployer::new();
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::open(data.path()).unwrap();
    let layout = deployer.signed(1);
    let slot = deployer.install(&mut store, &layout);
    let verified = deployer.start(&store, &slot);
    let files = blob_files(data.path());
    assert_eq!(files.len(), 7, "four blobs, manifest, config, bundle");
    for file in files {
        flip_a_bit(&file);
        let digest: Digest = format!("sha256:{}", file.file_name().unwrap().to_str().unwrap())
            .parse()
            .unwrap();
        let found = store
            .read_package(&slot)
            .map(drop)
            .and_then(|()| Ok(store.check(&verified)?));
        let Err(ReadError::Blob(BlobError::Damaged { digest: named, .. })) = found else {
            panic!("{found:?}")
        };
        assert_eq!(named, digest);
        // Installing again repairs it.
        deployer.install(&mut store, &layout);
        deployer.start(&store, &slot);
    }
}

#[test]
fn a_blob_spoilt_in_the_release_folder_is_not_taken_in() {
    let deployer = Deployer::new();
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::open(data.path()).unwrap();
    let layout = deployer.signed(1);
    let verified = deployer.verify(&layout, &Floor::none());
    let digest = verified.models["detect"].variants[0].blob.digest;
    flip_a_bit(&layout.path().join("blobs/sha256").join(digest.hex()));
    let refused = store.install(&layout, &verified, now());
    assert!(
        matches!(refused, Err(InstallError::Blob(BlobError::Damaged { digest: named, .. })) if named == digest),
        "{refused:?}"
    );
    assert_eq!(store.ledger().live, None);
}

#[test]
fn a_power_cut_at_any_write_of_an_install_leaves_the_old_release_or_the_new() {
    let deployer = Deployer::new();
    let (first, second) = (deployer.signed(1), deployer.signed(2));
    let mut seen = BTreeSet::new();
    let mut cuts = 0;
    loop {
        let data = tempfile::tempdir().unwrap();
        deployer.install(&mut Store::open(data.path()).unwrap(), &first);
        let faults = Faults::after(cuts);
        let mut store = Store::open_with(data.path(), faults.clone()).unwrap();
        let verified = deployer.verify(&second, &store.ledger().floor());
        let installed = store.install(&second, &verified, now());
        drop(store);
        let mut store = Store::open(data.path()).unwrap();
        let live = store.ledger().live.clone().unwrap();
        assert_eq!(deployer.start(&store, &live).generation, live.generation);
        assert_eq!(
            store.ledger().floor["ocr"].generation,
            live.generation,
            "floor and slot move together"
        );
        if let Some(previous) = store.ledger().previous.clone() {
            deployer.start(&store, &previous);
        }
        seen.insert((installed.is_ok(), live.generation));
        // The same install succeeds once the power is back.
        let slot = deployer.install(&mut store, &second);
        assert_eq!(deployer.start(&store, &slot).generation, 2);
        assert_eq!(store.ledger().previous.as_ref().unwrap().generation, 1);
        if installed.is_ok() {
            break;
        }
        cuts += 1;
        assert!(cuts < 1000, "an install never ends");
    }
    assert!(cuts > 20, "only {cuts} steps were cut");
    // Cut before the rename: the old one. Cut after it: the new one, though the install reported an error.
    assert_eq!(seen, BTreeSet::from([(false, 1), (false, 2), (true, 2)]));
}

#[test]
fn a_power_cut_while_a_new_data_folder_is_made_does_no_harm() {
    for cut in 0.. {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("a/b");
        let opened = Store::open_with(&data, Faults::after(cut)).map(drop);
        let store = Store::open(&data).unwrap();
        assert_eq!(*store.ledger(), hotshoe_store::Ledger::default());
        if opened.is_ok() {
            assert!(cut > 5, "only {cut} steps were cut");
            break;
        }
    }
}

#[test]
fn a_ledger_of_format_1_is_read_and_raised() {
    let deployer = Deployer::new();
    let data = tempfile::tempdir().unwrap();
    let layout = deployer.signed(1);
    let mut store = Store::open(data.path()).unwrap();
    let slot = deployer.install(&mut store, &layout);
    drop(store);
    let path = data.path().join("ledger.json");
    let old = serde_json::json!({
        "version": 1,
        "ledger": {
            "live": slot,
            "previous": null,
            "floor": { "ocr": { "generation": 1, "release": slot.release } },
            "clock-floor": now(),
        }
    });
    fs::write(&path, old.to_string()).unwrap();
    let mut store = Store::open(data.path()).unwrap();
    assert_eq!(store.ledger().live.as_ref(), Some(&slot));
    assert_eq!(store.ledger().floor["ocr"].release, Some(slot.release));
    assert!(store.ledger().history.is_empty() && store.ledger().trial.is_none());
    deployer.install(&mut store, &layout);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"version\": 2"), "{text}");
}
