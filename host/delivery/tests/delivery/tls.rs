//! Real certificates: a session without one, or with one of another site, is refused; a device can write its own keys only.

use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use hotshoe_config::{TlsConfig, ZenohConfig, ZenohMode};
use hotshoe_delivery::{Cancel, DeliveryConfig};
use hotshoe_egress::Classifier;
use hotshoe_link::acl::{AclOptions, access_control};
use hotshoe_link::{Link, LinkError, Notice, Site};
use hotshoe_tests::Authority;
use tempfile::TempDir;

use crate::support::{DEADLINE, Deployer, Device, SITE, noise, publisher, until};

/// A site's certificate authority, with what it signed in a folder.
struct SiteAuthority {
    folder: TempDir,
    authority: Authority,
}

impl SiteAuthority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            authority: Authority::new(folder.path()),
            folder,
        }
    }

    /// The files of a party.
    fn issue(&self, name: &str) -> TlsConfig {
        let issued = self.authority.issue(name);
        TlsConfig {
            ca: Some(self.authority.ca()),
            certificate: Some(issued.certificate),
            key: Some(issued.key),
            ..TlsConfig::default()
        }
    }
}

fn router(tls: TlsConfig, rules: Option<&Path>) -> Site {
    let config = ZenohConfig {
        mode: ZenohMode::Router,
        listen: vec!["tls/localhost:0".to_owned()],
        tls: Some(tls),
        access_control: rules.map(Path::to_owned),
        ..ZenohConfig::default()
    };
    config.check().unwrap();
    Site::open(&config, SITE).unwrap()
}

fn connect(router: &Site, tls: TlsConfig) -> ZenohConfig {
    let locator = router.status().locators[0].clone();
    let port = locator.rsplit_once(':').unwrap().1.to_owned();
    ZenohConfig {
        // A router passes on what clients say to peers and to each other, but nothing between peers.
        mode: ZenohMode::Client,
        connect: vec![format!("tls/localhost:{port}")],
        tls: Some(tls),
        ..ZenohConfig::default()
    }
}

#[test]
fn without_a_certificate_of_this_site_nothing_is_got() {
    let ours = SiteAuthority::new();
    let theirs = SiteAuthority::new();
    let router = router(ours.issue("registry"), None);
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(41, 300_000));
    let _publisher = publisher(&connect(&router, ours.issue("deployer")), &made);
    // A peer starts without a network, and is served by clients through the router.
    let peer = ZenohConfig {
        mode: ZenohMode::Peer,
        ..connect(&router, ours.issue("camera"))
    };
    let good = Device::new("camera", &peer, DeliveryConfig::default());
    good.fetch(&made);
    let bare = TlsConfig {
        ca: ours.issue("x").ca,
        ..TlsConfig::default()
    };
    // One trusts our authority but shows another's certificate, so that it fails at our end and not at its own.
    let mixed = TlsConfig {
        ca: ours.issue("x").ca,
        ..theirs.issue("camera")
    };
    for tls in [bare, mixed, theirs.issue("camera")] {
        let client = connect(&router, tls);
        let error = Link::open(&client, SITE, "camera").unwrap_err();
        assert!(matches!(error, LinkError::Open { .. }), "{error}");
        let peer = ZenohConfig {
            mode: ZenohMode::Peer,
            ..client
        };
        let bad = Device::new("camera", &peer, DeliveryConfig::default());
        let cancel = Cancel::after(Duration::from_secs(2));
        let error = bad
            .fetcher
            .package(made.digest, &made.bundles, &cancel)
            .unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        assert_eq!(bad.link.status().peers, 0);
    }
    router.close();
}

#[test]
fn a_device_writes_its_own_keys_alone() {
    let ours = SiteAuthority::new();
    let options = AclOptions {
        devices: vec!["camera".to_owned(), "gate".to_owned()],
        ..AclOptions::default()
    };
    let rules = ours.folder.path().join("acl.json");
    fs::write(&rules, access_control(SITE, &options).to_string()).unwrap();
    let router = router(ours.issue("registry"), Some(&rules));
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(42, 300_000));
    let publisher = publisher(&connect(&router, ours.issue("deployer")), &made);
    let events = publisher.client().events(SITE, None, 64).unwrap();

    let device = Device::new(
        "camera",
        &connect(&router, ours.issue("camera")),
        DeliveryConfig::default(),
    );
    let (sender, heard) = channel();
    let _watch = device
        .link
        .desired(move |said| drop(sender.send(said.bytes)))
        .unwrap();
    device.fetch(&made);
    // The gate claims to be the camera; the camera is genuine.
    let liar = Link::open(&connect(&router, ours.issue("gate")), SITE, "camera").unwrap();
    let gate = Link::open(&connect(&router, ours.issue("gate")), SITE, "gate").unwrap();
    until("the camera's own event is heard", || {
        let lie = serde_json::json!({"device": "camera", "lie": true});
        liar.publish_event(Classifier::host(&lie)).unwrap();
        let own = |device: &str| Classifier::host(&serde_json::json!({"device": device}));
        gate.publish_event(own("gate")).unwrap();
        device.link.publish_event(own("camera")).unwrap();
        let mut seen = Vec::new();
        while let Some(event) = events.next(Duration::from_millis(200)) {
            assert!(event.get("lie").is_none(), "a gate wrote the camera's key");
            seen.push(event["device"].clone());
        }
        seen.contains(&"camera".into()) && seen.contains(&"gate".into())
    });
    // Only a deployer may publish statements.
    liar.site_session()
        .publish(Notice::Desired, "ocr", b"from a gate")
        .unwrap();
    publisher
        .publish_statement("ocr", b"from the deployer".to_vec())
        .unwrap();
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), b"from the deployer");
    router.close();
}
