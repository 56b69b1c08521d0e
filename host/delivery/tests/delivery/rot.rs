//! Stored bytes that change on the disk of a registry: it notices, says so, and fetches them again.

use std::fs;
use std::path::{Path, PathBuf};

use hotshoe_config::{ZenohConfig, ZenohMode};
use hotshoe_delivery::registry::{Registry, RegistryConfig};
use hotshoe_delivery::{Cancel, DeliveryConfig, FetchWait};
use tempfile::TempDir;
use zenoh::Wait;

use crate::registry::deploy;
use crate::support::{
    DEADLINE, Deployer, Device, Made, Rogue, SITE, connecting, listening, noise, object_key,
    publisher, until,
};

/// A registry with a data folder of its own.
fn config(folder: &TempDir, deployer: &Deployer, name: &str, zenoh: ZenohConfig) -> RegistryConfig {
    RegistryConfig {
        data: folder.path().join(name),
        trust: deployer.trust_file(),
        zenoh: ZenohConfig {
            mode: ZenohMode::Router,
            ..zenoh
        },
        ..RegistryConfig::new(SITE, name)
    }
}

/// Publishes a release until a registry has it.
fn publish(registry: &Registry, made: &Made, deployer: &Deployer) {
    let publisher = publisher(&connecting(&registry.locators()), made);
    let said = deploy(made, Some(&deployer.signer.key));
    publisher.publish_statement("ocr", said).unwrap();
    assert!(registry.wait_for(made.digest, DEADLINE));
    publisher.close();
}

/// The file of the model in a registry's folder.
fn model(config: &RegistryConfig, made: &Made) -> PathBuf {
    let blob = made.release.blobs().max_by_key(|blob| blob.size).unwrap();
    config.data.join("blobs/sha256").join(blob.digest.hex())
}

/// Changes one byte in the middle, as a bad cell of a flash memory does.
fn rot(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_registry_finds_a_rotten_blob_at_its_start_and_fetches_it_from_another() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(41, 3 << 20));
    let folder = tempfile::tempdir().unwrap();
    let good = config(&folder, &deployer, "good", listening());
    let good = Registry::start(&good).unwrap();
    publish(&good, &made, &deployer);
    let other = config(
        &folder,
        &deployer,
        "other",
        ZenohConfig {
            connect: good.locators(),
            ..listening()
        },
    );
    let registry = Registry::start(&other).unwrap();
    assert!(registry.wait_for(made.digest, DEADLINE));
    registry.stop();
    let path = model(&other, &made);
    let sound = fs::read(&path).unwrap();
    rot(&path);
    let registry = Registry::start(&other).unwrap();
    until("it sets the blob aside", || registry.damaged() == 1);
    assert!(registry.wait_for(made.digest, DEADLINE));
    assert_eq!(fs::read(&path).unwrap(), sound);
    // What was set aside goes when the release is complete again.
    assert_eq!(fs::read_dir(other.data.join("damaged")).unwrap().count(), 0);
    registry.stop();
    good.stop();
}

#[test]
fn a_registry_sends_no_rotten_object_and_a_device_gets_it_from_another() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(42, 3 << 20));
    let folder = tempfile::tempdir().unwrap();
    let one = config(&folder, &deployer, "one", listening());
    let registry = Registry::start(&one).unwrap();
    publish(&registry, &made, &deployer);
    let two = config(
        &folder,
        &deployer,
        "two",
        ZenohConfig {
            connect: registry.locators(),
            ..listening()
        },
    );
    let second = Registry::start(&two).unwrap();
    assert!(second.wait_for(made.digest, DEADLINE));
    second.stop();
    rot(&model(&one, &made));
    let device = Device::new(
        "late",
        &connecting(&registry.locators()),
        DeliveryConfig::default(),
    );
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| device.fetch(&made));
        // The first one has no good copy, so the device waits.
        until("the registry notices", || registry.damaged() == 1);
        assert!(registry.held().is_empty());
        assert_eq!(fs::read_dir(one.data.join("damaged")).unwrap().count(), 1);
        let second = Registry::start(&two).unwrap();
        let moved = fetching.join().unwrap();
        assert!(moved.refused.is_empty(), "{moved:?}");
        assert!(registry.wait_for(made.digest, DEADLINE));
        second.stop();
    });
    assert_eq!(registry.damaged(), 1);
    registry.stop();
}

#[test]
fn a_device_that_gets_bad_bytes_asks_the_next_source_and_says_from_whom_it_waits() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(43, 3 << 20));
    let device = Device::new("late", &listening(), DeliveryConfig::default());
    let _rotten = Rogue::new(&device.locators(), "registry-a", |query, digests| {
        for digest in digests {
            let key = object_key(query, digest);
            let _ = query.reply(key, noise(99, 1_000)).wait();
        }
    });
    let watched = device.link.site_session().sources().unwrap();
    until("the source is there", || watched.live().len() == 1);
    let locators = device.locators();
    let said = std::sync::Mutex::new(None);
    std::thread::scope(|scope| {
        let waits = |progress: hotshoe_delivery::Progress| {
            if progress.waits.is_some() {
                *said.lock().unwrap() = progress.waits;
            }
        };
        let cancel = Cancel::after(DEADLINE);
        let (device, made) = (&device, &made);
        let fetching = scope.spawn(move || device.blobs_of(made, waits, &cancel));
        until("it says what it waits for", || {
            said.lock().unwrap().is_some()
        });
        let _source = publisher(&connecting(&locators), made);
        let moved = fetching.join().unwrap();
        assert!(moved.refused.contains_key("registry-a"), "{moved:?}");
        assert!(!moved.from.contains_key("registry-a"), "{moved:?}");
    });
    let waits = said.into_inner().unwrap().unwrap();
    assert_eq!(waits.name(), "bad_source");
    let FetchWait::BadSource { sources } = waits else {
        panic!("another wait");
    };
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), ["registry-a"]);
}
