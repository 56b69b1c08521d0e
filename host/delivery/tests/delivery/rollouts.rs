//! A rollout at a registry: it keeps what is stated, fetches the release of the plan, and counts the devices that sign their reports.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use hotshoe_config::{ZenohConfig, ZenohMode};
use hotshoe_delivery::registry::{Registry, RegistryConfig};
use hotshoe_link::device_list::{DeviceList, Unproven, public_key};
use hotshoe_link::{Client, Link, SignedCount};
use hotshoe_protocol::rollout::{DeviceReport, StatedRollout};
use hotshoe_rollout::{
    Command, Deadlines, DeviceId, Directive, Gate, OnFailure, Plan, Report, Rollout,
    RolloutStatement, Rollouts, Selector, SignedText, Stage, State,
};
use hotshoe_store::Cause;
use hotshoe_trust::{Digest, SigningKey, TrustRoot};

use crate::support::{
    DEADLINE, Deployer, Made, SITE, connecting, listening, noise, now, publisher, until,
};

/// How long a registry has to answer one query.
const ANSWER: Duration = Duration::from_secs(1);

fn plan(made: &Made) -> Plan {
    Plan {
        rollout: 1,
        name: made.release.name.clone(),
        release: made.digest,
        generation: made.release.generation,
        bundles: made.bundles.clone(),
        previous: Digest::of(b"the release before"),
        seed: 1,
        selector: Selector {
            sites: vec![SITE.to_owned()],
            ..Selector::default()
        },
        first: vec![DeviceId {
            site: SITE.to_owned(),
            name: "cam".to_owned(),
        }],
        stages: vec![Stage {
            share_ppm: 0,
            watch_s: 60,
            gate: Gate::default(),
        }],
        deadlines: Deadlines {
            // A registry that starts again counts after a third of it, when all devices have reported.
            silent_s: 90,
            ..Deadlines::default()
        },
        spread_s: 0,
        approve_between: false,
        on_failure: OnFailure::Pause,
        max_site_devices: 100,
        compare: None,
        issued: now(),
        expires: now() + Duration::from_secs(86_400),
    }
}

fn rollout(made: &Made, deployer: &Deployer) -> (Rollout, TrustRoot) {
    let trust = TrustRoot::parse(&deployer.signer.trust).unwrap();
    let mut text = SignedText::of_plan(&plan(made)).unwrap();
    text.sign(&deployer.signer.key).unwrap();
    (Rollout::read(&text, &trust, now()).unwrap(), trust)
}

fn report(rollout: &Rollout, number: u64) -> DeviceReport {
    let report = Report {
        plan: rollout.plan().digest(),
        number,
        state: State::Confirmed,
        cause: String::new(),
        health: Default::default(),
        baseline: Default::default(),
        metric: Default::default(),
    };
    DeviceReport::new("jetson".to_owned(), report).labelled(BTreeMap::new())
}

/// The last count of the registry.
fn count(client: &Client) -> Option<SignedCount> {
    client.rollout_counts(Some(SITE), ANSWER).unwrap().pop()
}

/// The number of devices in a state.
fn devices(said: &SignedCount, state: State) -> u64 {
    let cells = said.value.cells.iter();
    let cells = cells.filter(|cell| cell.state == state);
    cells.map(|cell| cell.devices).sum()
}

/// What the registry answers about rollouts, verified.
fn known(client: &Client, trust: &TrustRoot) -> Rollouts {
    let mut rollouts = Rollouts::default();
    for (site, stated) in client.stated_rollouts(Some(SITE), None, ANSWER).unwrap() {
        assert_eq!(site, SITE);
        rollouts
            .receive(&stated.plan, &stated.statements, trust, now())
            .unwrap();
    }
    rollouts
}

#[test]
fn a_registry_counts_listed_devices_signs_the_count_and_remembers_an_abort() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 2, &noise(51, 200_000));
    let (mut rollout, trust) = rollout(&made, &deployer);
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("devices");
    fs::create_dir(&keys).unwrap();
    let key = SigningKey::generate().unwrap();
    fs::write(keys.join("cam.pub"), key.public_key().unwrap().to_pem()).unwrap();
    let config = RegistryConfig {
        data: folder.path().join("data"),
        trust: deployer.trust_file(),
        device_keys: Some(keys),
        zenoh: ZenohConfig {
            mode: ZenohMode::Router,
            ..listening()
        },
        ..RegistryConfig::new(SITE, "one")
    };
    let registry = Registry::start(&config).unwrap();
    let network = connecting(&registry.locators());
    let publisher = publisher(&network, &made);
    publisher
        .publish_rollout("ocr", &StatedRollout::of(&rollout))
        .unwrap();
    // No statement names the release; the plan does.
    assert!(registry.wait_for(made.digest, DEADLINE));
    let client = publisher.client();
    until("the listed device is expected", || {
        count(client).is_some_and(|said| devices(&said, State::Waiting) == 1)
    });

    let device = Link::open(&network, SITE, "cam").unwrap().signing(key);
    let other_key = SigningKey::generate().unwrap();
    let liar = Link::open(&network, SITE, "cam").unwrap();
    let liar = liar.signing(other_key);
    let stranger = Link::open(&network, SITE, "stranger").unwrap();
    // Those that do not count are heard before the one that does.
    let mut number = 0;
    until("the device is counted", || {
        number += 1;
        let said = report(&rollout, number);
        for link in [&liar, &stranger, &device] {
            link.publish_rollout_report(&said).unwrap();
        }
        count(client).is_some_and(|said| devices(&said, State::Confirmed) == 1)
    });
    let said = count(client).unwrap();
    let all: u64 = said.value.cells.iter().map(|cell| cell.devices).sum();
    assert_eq!(all, 1);
    let pem = fs::read_to_string(folder.path().join("data/registry.pub")).unwrap();
    let mut list = DeviceList::default();
    list.insert("one", public_key(&pem).unwrap());
    assert_eq!(said.check(Some(&list)), Ok(()));
    let unknown = SigningKey::generate().unwrap().public_key().unwrap();
    list.insert("one", unknown);
    assert_eq!(said.check(Some(&list)), Err(Unproven::BadSignature));

    let abort = RolloutStatement {
        plan: rollout.plan().digest(),
        number: 1,
        stage: 0,
        command: Command::Abort {
            cause: Cause::new("ordered", "by an operator"),
        },
        issued: now(),
    };
    let mut text = SignedText::of_statement(&abort, rollout.plan()).unwrap();
    text.sign(&deployer.signer.key).unwrap();
    assert!(rollout.hear(&text, &trust, now()).unwrap());
    let stated = StatedRollout::of(&rollout);
    client.publish_rollout(SITE, "ocr", &stated).unwrap();
    let is_aborted = |client: &Client| {
        let known = known(client, &trust);
        known
            .get("ocr")
            .is_some_and(|it| matches!(it.control().directive(), Directive::Abort(_)))
    };
    until("the registry has the abort", || is_aborted(client));
    publisher.close();
    registry.stop();

    let registry = Registry::start(&config).unwrap();
    let client = Client::open(&connecting(&registry.locators())).unwrap();
    until("the registry still has the abort", || is_aborted(&client));
    // One who asks again later gets a count with a higher number.
    let number = said.value.number;
    until("it counts on", || {
        count(&client).is_some_and(|said| said.value.number > number)
    });
    client.close();
    registry.stop();
}
