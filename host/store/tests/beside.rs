//! A reader beside the process that has a data folder locked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{Deployer, flip_a_bit};
use hotshoe_store::{LiveError, Store, read_live};

#[test]
fn the_live_release_is_read_without_the_lock() {
    let deployer = Deployer::new();
    let data = tempfile::tempdir().unwrap();
    assert!(read_live(data.path()).unwrap().is_none());
    let mut store = Store::open(data.path()).unwrap();
    assert!(read_live(data.path()).unwrap().is_none());

    deployer.install(&mut store, &deployer.signed(1));
    let slot = deployer.install(&mut store, &deployer.signed(2));
    let live = read_live(data.path()).unwrap().unwrap();
    assert_eq!(live.slot, slot);
    assert_eq!(live.package, store.read_package(&slot).unwrap());
    assert!(live.trust.is_none());
}

#[test]
fn a_damaged_live_release_is_told() {
    let deployer = Deployer::new();
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::open(data.path()).unwrap();
    let slot = deployer.install(&mut store, &deployer.signed(1));
    let manifest = data.path().join("blobs/sha256").join(slot.release.hex());
    flip_a_bit(&manifest);
    let error = read_live(data.path()).unwrap_err();
    assert!(matches!(error, LiveError::Release(_)), "{error}");
    assert_eq!(error.name(), "damaged_blob");
    std::fs::write(data.path().join("ledger.json"), "{").unwrap();
    let error = read_live(data.path()).unwrap_err();
    assert!(matches!(error, LiveError::Ledger(_)), "{error}");
}
