//! A registry serves a published release after the publisher has gone, and after its own restart.

use std::sync::mpsc::channel;
use std::time::Duration;

use hotshoe_config::{ZenohConfig, ZenohMode};
use hotshoe_delivery::DeliveryConfig;
use hotshoe_delivery::registry::{Registry, RegistryConfig};
use hotshoe_trust::{DeviceSelector, Envelope, Order, SigningKey, Statement};
use tempfile::TempDir;

use crate::support::{
    DEADLINE, Deployer, Device, Made, SITE, connecting, listening, noise, now, publisher, until,
};

fn config(folder: &TempDir, deployer: &Deployer) -> RegistryConfig {
    RegistryConfig {
        data: folder.path().join("data"),
        trust: deployer.trust_file(),
        zenoh: ZenohConfig {
            mode: ZenohMode::Router,
            ..listening()
        },
        ..RegistryConfig::new(SITE, "one")
    }
}

pub(crate) fn deploy(made: &Made, key: Option<&SigningKey>) -> Vec<u8> {
    let statement = Statement {
        site: SITE.to_owned(),
        devices: DeviceSelector::default(),
        order: Order::Deploy {
            release: made.digest,
            name: made.release.name.clone(),
            generation: made.release.generation,
            bundles: made.bundles.clone(),
            activate: true,
        },
        issued: now(),
        expires: now() + Duration::from_secs(86_400),
    };
    let mut envelope = Envelope::new(&statement).unwrap();
    if let Some(key) = key {
        envelope.sign(key).unwrap();
    }
    envelope.to_bytes()
}

#[test]
fn it_serves_when_the_publisher_has_gone_and_after_a_restart() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(31, 3 << 20));
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, &deployer);
    let registry = Registry::start(&config).unwrap();
    let publisher = publisher(&connecting(&registry.locators()), &made);
    let said = deploy(&made, Some(&deployer.signer.key));
    publisher.publish_statement("ocr", said.clone()).unwrap();
    assert!(registry.wait_for(made.digest, DEADLINE));
    publisher.close();
    registry_serves(&registry, &made, &said);
    registry.stop();
    let registry = Registry::start(&config).unwrap();
    assert_eq!(registry.held().len(), 1);
    registry_serves(&registry, &made, &said);
    registry.stop();
}

#[test]
fn a_lost_record_is_made_again_from_the_blobs() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(35, 600_000));
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, &deployer);
    let registry = Registry::start(&config).unwrap();
    let publisher = publisher(&connecting(&registry.locators()), &made);
    let said = deploy(&made, Some(&deployer.signer.key));
    publisher.publish_statement("ocr", said).unwrap();
    assert!(registry.wait_for(made.digest, DEADLINE));
    publisher.close();
    let held = registry.held();
    registry.stop();
    std::fs::remove_file(config.data.join("registry.json")).unwrap();
    // Neither of these is a release.
    let blobs = config.data.join("blobs/sha256");
    std::fs::write(blobs.join("notes"), b"{}").unwrap();
    std::fs::write(blobs.join("0".repeat(64)), b"damaged").unwrap();
    let registry = Registry::start(&config).unwrap();
    assert_eq!(registry.held(), held);
    let client = ZenohConfig {
        mode: ZenohMode::Client,
        ..connecting(&registry.locators())
    };
    let device = Device::new("camera", &client, DeliveryConfig::default());
    let moved = device.fetch(&made);
    assert_eq!(moved.from.keys().collect::<Vec<_>>(), ["registry-one"]);
    registry.stop();
}

fn registry_serves(registry: &Registry, made: &Made, said: &[u8]) {
    let client = ZenohConfig {
        mode: ZenohMode::Client,
        ..connecting(&registry.locators())
    };
    let device = Device::new("camera", &client, DeliveryConfig::default());
    let (sender, heard) = channel();
    let _watch = device
        .link
        .desired(move |said| drop(sender.send(said.bytes)))
        .unwrap();
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), said);
    let moved = device.fetch(made);
    assert_eq!(moved.from.keys().collect::<Vec<_>>(), ["registry-one"]);
}

#[test]
fn it_holds_nothing_that_strangers_signed_and_no_more_than_it_may() {
    let deployer = Deployer::new();
    let stranger = Deployer::new();
    let folder = tempfile::tempdir().unwrap();
    let config = RegistryConfig {
        keep: 2,
        ..config(&folder, &deployer)
    };
    let registry = Registry::start(&config).unwrap();
    let bad = stranger.release("ocr", 9, &noise(32, 1_000));
    let hostile = publisher(&connecting(&registry.locators()), &bad);
    // Unsigned statements are followed, but the release is signed by an unknown key, so it is not stored.
    hostile
        .publish_statement("ocr", deploy(&bad, None))
        .unwrap();
    until("the release is refused", || registry.refused() > 0);
    for generation in 1..=3 {
        let made = deployer.release("ocr", generation, &noise(33 + generation, 600_000));
        let publisher = publisher(&connecting(&registry.locators()), &made);
        publisher
            .publish_statement("ocr", deploy(&made, Some(&deployer.signer.key)))
            .unwrap();
        assert!(registry.wait_for(made.digest, DEADLINE));
        publisher.close();
    }
    let mut held: Vec<u64> = registry.held().iter().map(|h| h.generation).collect();
    held.sort_unstable();
    assert_eq!(held, [2, 3]);
    registry.stop();
}
