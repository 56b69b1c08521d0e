//! Releases that arrive over Zenoh at a running daemon: a first one, a bad one, one with an unknown key; and the operator's commands.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "../../pipeline/tests/fixture/mod.rs"]
mod fixture;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hotshoe_config::{Config, ZenohConfig};
use hotshoe_daemon::Daemon;
use hotshoe_daemon::command::{Command, offline};
use hotshoe_daemon::control::{self, ControlError};
use hotshoe_delivery::Publisher;
use hotshoe_link::{Client, FeedError, Feeder};
use hotshoe_protocol::status::Status;
use hotshoe_protocol::status::WaitReason;
use hotshoe_store::{Layout, Phase, Store, pack};
use hotshoe_tests::{DEADLINE, Signer};
use hotshoe_trust::{DeviceSelector, Digest, Envelope, Order, SigningKey, Statement, Time};
use serde_json::Value;
use tempfile::TempDir;

use fixture::{environment, release_with};

/// The result of a stage `measure` without a policy.
const PLAIN: &str = r#"
[components.measure]
file = "{guests}/measure.wasm"
world = "stage"
[[pipeline]]
stage = "measure"
"#;
const QUICK: &str = "[health]\nmin-samples = 5\nmin-seconds = 0\n";

/// A device and its deployer.
struct Site {
    folder: TempDir,
    key: SigningKey,
    config: Config,
}

/// A running daemon, with its publisher and its feeder.
struct Running {
    daemon: Daemon,
    publisher: Publisher,
    feeder: Feeder,
    fed: u64,
    _client: Client,
}

impl Site {
    fn new(deploy: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let Signer { key, trust } = Signer::new("test");
        fs::write(folder.path().join("trust.toml"), trust).unwrap();
        let text = format!(
            "site = \"site\"\ndevice = \"device\"\nallow = [\"state\"]\n[zenoh]\nlisten = [\"tcp/127.0.0.1:0\"]\n[governor]\nenabled = false\n[deploy]\n{deploy}"
        );
        let config = Config::parse(&text, folder.path()).unwrap();
        Self {
            folder,
            key,
            config,
        }
    }

    fn start(&self) -> Running {
        let daemon = Daemon::start(self.config.clone()).unwrap();
        let zenoh = ZenohConfig {
            connect: daemon.locators(),
            ..ZenohConfig::default()
        };
        let client = Client::open(&zenoh).unwrap();
        Running {
            publisher: Publisher::open(&zenoh, "site").unwrap(),
            feeder: client.feeder("site", "device", 1, DEADLINE),
            fed: 0,
            daemon,
            _client: client,
        }
    }

    /// Packs and signs a release.
    fn release(&self, generation: u64, text: &str, key: &SigningKey) -> PathBuf {
        let out = self.folder.path().join(format!("release-{generation}"));
        let guests = environment().guests.display().to_string();
        let text = format!(
            "name = \"test\"\nexpires-in = \"1d\"\n{}",
            text.replace("{guests}", &guests)
        );
        let recipe = self.folder.path().join("release.toml");
        fs::write(&recipe, text).unwrap();
        let packed = pack(&recipe, Time::now(), &out).unwrap();
        let manifest = packed.layout.package().unwrap().manifest;
        packed
            .layout
            .attach(&key.sign_bundle(&manifest).unwrap())
            .unwrap();
        out
    }

    fn plain(&self, generation: u64, more: &str) -> PathBuf {
        self.release(
            generation,
            &format!("generation = {generation}\n{PLAIN}{more}"),
            &self.key,
        )
    }
}

fn statement(order: Order) -> Vec<u8> {
    envelope(order).to_bytes()
}

fn envelope(order: Order) -> Envelope {
    let statement = Statement {
        site: "site".to_owned(),
        devices: DeviceSelector::default(),
        order,
        issued: Time::now(),
        expires: Time::now() + Duration::from_secs(3_600),
    };
    Envelope::new(&statement).unwrap()
}

impl Running {
    fn publish(&mut self, release: &Path, generation: u64, activate: bool) -> Digest {
        let served = self
            .publisher
            .serve(&Layout::open(release).unwrap())
            .unwrap();
        let order = Order::Deploy {
            release: served.release,
            name: "test".to_owned(),
            generation,
            bundles: served.bundles,
            activate,
        };
        self.publisher
            .publish_statement("test", statement(order))
            .unwrap();
        served.release
    }

    /// Publishes a statement for a release, signed by `key`.
    fn publish_signed(&mut self, release: &Path, generation: u64, key: &SigningKey) {
        let served = self
            .publisher
            .serve(&Layout::open(release).unwrap())
            .unwrap();
        let mut envelope = envelope(Order::Deploy {
            release: served.release,
            name: "test".to_owned(),
            generation,
            bundles: served.bundles,
            activate: true,
        });
        envelope.sign(key).unwrap();
        self.publisher
            .publish_statement("test", envelope.to_bytes())
            .unwrap();
    }

    /// Sends one sample, and returns its end.
    fn feed(&mut self) -> Result<Value, FeedError> {
        self.fed += 1;
        self.feeder
            .send(
                "sample",
                "application/octet-stream",
                &format!("s{}", self.fed),
                vec![1, 2, 3],
            )
            .unwrap();
        self.feeder.next(DEADLINE).unwrap().result
    }

    /// Sends samples until the condition is true.
    fn feed_until(&mut self, what: &str, reached: impl Fn(&Status) -> bool) -> Status {
        let started = Instant::now();
        loop {
            let status = self.daemon.status();
            if reached(&status) {
                return status;
            }
            assert!(started.elapsed() < DEADLINE, "never {what}: {status:#?}");
            let _ = self.feed();
        }
    }

    fn until(&mut self, phase: Phase, generation: u64) -> Status {
        self.feed_until(&format!("{phase} {generation}"), |status| {
            status.deploy.phase == phase && status.deploy.generation == Some(generation)
        })
    }

    fn stop(self) {
        let report = self.daemon.drain(DEADLINE);
        assert!(report.finished && report.counters.add_up(), "{report:?}");
    }
}

fn live(status: &Status) -> Option<u64> {
    status.slots.live.as_ref().map(|slot| slot.generation)
}

#[test]
fn a_device_takes_its_first_release_leaves_a_bad_one_and_refuses_a_strangers() {
    let site = Site::new("");
    let mut running = site.start();
    let status = running.daemon.status();
    assert_eq!((status.release, status.deploy.phase), (None, Phase::Absent));
    let Err(FeedError::Refused(refused)) = running.feed() else {
        panic!("a device without a release gave a result");
    };
    assert_eq!(
        (&refused["fault"], &refused["release"]),
        (&"no_release".into(), &Value::Null)
    );

    running.publish(&site.plain(1, QUICK), 1, true);
    let status = running.until(Phase::Live, 1);
    assert_eq!(live(&status), Some(1));
    assert_eq!((status.swaps, status.rollbacks), (1, 0));
    assert!(status.last_swap_ns.is_some());

    let flaky = release_with(2, "flaky-policy", "grants = [\"state\"]", "");
    running.publish(
        &site.release(2, &format!("{flaky}{QUICK}"), &site.key),
        2,
        true,
    );
    let status = running.until(Phase::RolledBack, 2);
    assert_eq!(live(&status), Some(1));
    assert_eq!(status.release.map(|r| r.generation), Some(1));
    assert_eq!((status.swaps, status.rollbacks), (2, 1));
    let rollback = status.last_rollback.unwrap();
    assert_eq!(
        (rollback.generation, rollback.cause.name.as_str()),
        (2, "trap_rate")
    );
    assert!(running.feed().is_ok());

    let stranger = SigningKey::generate().unwrap();
    let unknown = site.release(3, &format!("generation = 3\n{PLAIN}{QUICK}"), &stranger);
    running.publish(&unknown, 3, true);
    let status = running.until(Phase::Refused, 3);
    assert_eq!(status.refused.get("unknown_signer"), Some(&1));
    assert_eq!(live(&status), Some(1));

    let history = control::call(&site.config.data, &Command::History).unwrap();
    let phases: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["generation"].as_u64(), e["phase"].as_str()))
        .collect();
    assert!(
        phases.contains(&(Some(1), Some("live")))
            && phases.contains(&(Some(2), Some("rolled-back"))),
        "{phases:?}"
    );
    assert!(
        !phases.iter().any(|(generation, _)| *generation == Some(3)),
        "a stranger got into the ledger: {phases:?}"
    );
    running.stop();

    // Without a network, the release on disk serves.
    let mut running = site.start();
    assert_eq!(live(&running.daemon.status()), Some(1));
    assert!(running.feed().is_ok());
    // The bad one is remembered across the restart.
    running.publish(&site.folder.path().join("release-2"), 2, true);
    let status = running.until(Phase::Refused, 2);
    assert_eq!(status.deploy.cause.unwrap().name, "failed_before");
    running.stop();
}

#[test]
fn the_status_names_the_right_cause() {
    let site = Site::new("");
    let mut running = site.start();
    running.publish(&site.plain(3, QUICK), 3, true);
    running.until(Phase::Live, 3);
    let flaky = release_with(4, "flaky-policy", "grants = [\"state\"]", "");
    let flaky = site.release(4, &format!("{flaky}{QUICK}"), &site.key);
    running.publish(&flaky, 4, true);
    running.until(Phase::RolledBack, 4);
    // Below the floor, whatever failed above it.
    running.publish(&site.plain(2, QUICK), 2, true);
    let status = running.until(Phase::Refused, 2);
    assert_eq!(status.deploy.cause.unwrap().name, "below_floor");
    running.publish(&flaky, 4, true);
    let cause = running.until(Phase::Refused, 4).deploy.cause.unwrap();
    assert_eq!(cause.name, "failed_before");
    assert!(
        cause
            .message
            .starts_with("generation 4 of `test` was rolled back (trap_rate: "),
        "{cause}"
    );
    // This release has no source.
    let order = Order::Deploy {
        release: Digest::of(b"nowhere"),
        name: "test".to_owned(),
        generation: 6,
        bundles: vec![Digest::of(b"nowhere either")],
        activate: true,
    };
    running
        .publisher
        .publish_statement("test", statement(order))
        .unwrap();
    let status = running.feed_until("missed", |s| s.deploy.waiting == Some(WaitReason::Retry));
    assert_eq!(
        (status.deploy.phase, status.deploy.generation),
        (Phase::Fetching, Some(6))
    );
    assert_eq!(status.deploy.cause.unwrap().name, "no_source");
    running.publish(&site.plain(7, QUICK), 7, true);
    let status = running.until(Phase::Live, 7);
    // A later confirmation does not hide it.
    assert_eq!(status.last_rollback.unwrap().generation, 4);
    running.stop();
}

#[test]
fn staging_waits_for_an_order_and_the_operator_goes_back() {
    let site = Site::new("keep-previous = \"disk\"\n");
    let mut running = site.start();
    running.publish(&site.plain(1, QUICK), 1, true);
    running.until(Phase::Live, 1);
    let second = running.publish(&site.plain(2, QUICK), 2, false);
    let status = running.feed_until("waiting", |s| {
        s.deploy.waiting == Some(WaitReason::Activation)
    });
    assert_eq!(
        (status.deploy.phase, live(&status)),
        (Phase::SelfTested, Some(1))
    );
    assert_eq!(status.slots.staged.map(|slot| slot.release), Some(second));

    let answer = running
        .publisher
        .client()
        .order(
            "site",
            "device",
            &statement(Order::Activate {
                release: second,
                name: "test".to_owned(),
            }),
            DEADLINE,
        )
        .unwrap();
    assert_eq!(answer["release"], second.to_string());
    running.until(Phase::Live, 2);

    // A deployer may not go below the floor; the operator may.
    let order = statement(Order::Rollback {
        release: second,
        name: "test".to_owned(),
    });
    let refused = running
        .publisher
        .client()
        .order("site", "device", &order, DEADLINE)
        .unwrap_err();
    assert!(
        refused.to_string().contains("below the floor 2"),
        "{refused}"
    );
    let data = site.config.data.clone();
    let answer = control::call(&data, &Command::Rollback).unwrap();
    assert_eq!(
        (&answer["left"]["generation"], &answer["now"]["generation"]),
        (&2.into(), &1.into())
    );
    assert_eq!(running.feed().unwrap()["release"]["generation"], 1);
    // A second rollback would undo the first.
    let Err(ControlError::Refused { name, .. }) = control::call(&data, &Command::Rollback) else {
        panic!("what was left came back");
    };
    assert_eq!(name, "previous_rolled_back");
    let lowered = Command::TrustFloor {
        name: "test".to_owned(),
        generation: 1,
    };
    assert_eq!(control::call(&data, &lowered).unwrap()["generation"], 1);
    let Err(ControlError::Refused { name, .. }) = control::call(&data, &lowered) else {
        panic!("a floor was lowered to where it is");
    };
    assert_eq!(name, "not_lower");
    running.stop();

    assert!(matches!(
        control::call(&data, &Command::Status),
        Err(ControlError::NotRunning { .. })
    ));
    let mut store = Store::open(&data).unwrap();
    let answer = offline(&mut store, &Command::Rollback, Time::now()).unwrap();
    assert_eq!(answer["now"]["generation"], 2);
}

#[test]
fn a_trial_that_the_daemon_does_not_outlive_is_rolled_back() {
    let site = Site::new("");
    let mut running = site.start();
    running.publish(&site.plain(1, QUICK), 1, true);
    running.until(Phase::Live, 1);
    let never = "[health]\nmin-samples = 1000000\n";
    running.publish(&site.plain(2, never), 2, true);
    running.until(Phase::Trial, 2);
    running.stop();

    let mut running = site.start();
    let status = running.daemon.status();
    let trial = status.slots.trial.unwrap();
    assert_eq!(
        (
            trial.slot.generation,
            trial.tries_left,
            trial.wanted_samples
        ),
        (2, 0, 1_000_000)
    );
    assert_eq!(running.feed().unwrap()["release"]["generation"], 2);
    running.stop();

    let mut running = site.start();
    let status = running.daemon.status();
    assert_eq!((live(&status), status.slots.trial), (Some(1), None));
    assert_eq!(
        status.last_rollback.unwrap().cause.name,
        "died_in_probation"
    );
    assert_eq!(running.feed().unwrap()["release"]["generation"], 1);
    running.stop();
}

#[test]
fn a_shadow_that_agrees_may_serve() {
    let site = Site::new("");
    let mut running = site.start();
    running.publish(&site.plain(1, QUICK), 1, true);
    running.until(Phase::Live, 1);
    let shadow = format!("{QUICK}[health.shadow]\nsamples = 5\n");
    running.publish(&site.plain(2, &shadow), 2, true);
    running.until(Phase::Shadow, 2);
    running.until(Phase::Live, 2);
    running.stop();
}

#[test]
fn unsigned_statements_are_not_followed_where_signed_ones_are_asked_for() {
    let site = Site::new("statements = \"signed\"\n");
    let mut running = site.start();
    let release = site.plain(1, QUICK);
    running.publish(&release, 1, true);
    let status = running.feed_until("ignored", |s| s.ignored.contains_key("unsigned_statement"));
    assert_eq!(status.deploy.phase, Phase::Absent);
    running.publish_signed(&release, 1, &site.key);
    running.until(Phase::Live, 1);
    running.stop();
}

#[test]
fn a_release_waits_for_the_window_until_the_operator_cancels_it() {
    let at = |hours: u64| {
        let time = Time::now() + Duration::from_secs(hours * 3_600);
        time.strftime("%H:%M").to_string()
    };
    let site = Site::new(&format!("window = \"{}-{}\"\n", at(2), at(3)));
    let mut running = site.start();
    let release = running.publish(&site.plain(1, QUICK), 1, true);
    running.feed_until("waiting", |s| s.deploy.waiting == Some(WaitReason::Window));
    let answer = control::call(&site.config.data, &Command::Cancel).unwrap();
    assert_eq!(answer["release"], release.to_string());
    let status = running.daemon.status();
    assert_eq!(
        (status.deploy.phase, status.slots.staged),
        (Phase::Absent, None)
    );
    let Err(ControlError::Refused { name, .. }) =
        control::call(&site.config.data, &Command::Cancel)
    else {
        panic!("nothing was cancelled");
    };
    assert_eq!(name, "nothing_staged");
    running.stop();
}
