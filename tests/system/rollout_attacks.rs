//! What a stolen key, a replay and a wrong word about a rollout do to a real daemon: nothing.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use hotshoe_config::Config;
use hotshoe_link::{ReportSubscription, Site as Session};
use hotshoe_protocol::rollout::StatedRollout;
use hotshoe_rollout::{
    Command, Deadlines, DeviceId, Gate, OnFailure, Plan, Report, Rollout, RolloutStatement,
    Selector, SignedText, Stage, State,
};
use hotshoe_store::Cause;
use hotshoe_tests::until;
use hotshoe_trust::{
    DeviceSelector, Digest, Order, PublicKey, Scheme, SigningKey, Time, TrustRoot,
};

use super::site::{
    Packed, Site, envelope, light, read, recipe, settled_on, signed as signed_order, statement,
};
use super::support::{DEADLINE, Device, success};

/// A plan of one stage, whose one device is `cam`.
pub(crate) fn plan(packed: &Packed, previous: Digest) -> Plan {
    let issued = Time::now();
    Plan {
        rollout: 1,
        name: packed.name.clone(),
        release: packed.release,
        generation: packed.generation,
        bundles: packed.bundles.clone(),
        previous,
        seed: 1,
        selector: Selector::default(),
        first: vec![DeviceId {
            site: "lab".to_owned(),
            name: "cam".to_owned(),
        }],
        stages: vec![Stage {
            share_ppm: 0,
            watch_s: 0,
            gate: Gate::default(),
        }],
        deadlines: Deadlines::default(),
        spread_s: 0,
        approve_between: false,
        on_failure: OnFailure::Pause,
        max_site_devices: 10,
        compare: None,
        issued,
        expires: issued + jiff::SignedDuration::from_hours(24),
    }
}

pub(crate) fn key(site: &Site, name: &str) -> SigningKey {
    let pem = fs::read_to_string(site.workspace.path(&format!("{name}.key"))).unwrap();
    SigningKey::from_pem(&pem, None).unwrap()
}

pub(crate) fn trust(site: &Site) -> TrustRoot {
    TrustRoot::parse(&fs::read_to_string(site.workspace.trust_file()).unwrap()).unwrap()
}

pub(crate) fn signed(plan: &Plan, key: &SigningKey) -> SignedText {
    let mut text = SignedText::of_plan(plan).unwrap();
    text.sign(key).unwrap();
    text
}

/// Adds a command of `key` to a rollout.
pub(crate) fn say(rollout: &mut Rollout, command: Command, key: &SigningKey, trust: &TrustRoot) {
    let said = RolloutStatement {
        plan: rollout.plan().digest(),
        number: rollout.control().next_number(),
        stage: 0,
        command,
        issued: Time::now(),
    };
    let mut text = SignedText::of_statement(&said, rollout.plan()).unwrap();
    text.sign(key).unwrap();
    assert!(rollout.hear(&text, trust, Time::now()).unwrap());
}

pub(crate) fn state_rollout(site: &mut Site, name: &str, stated: &StatedRollout) {
    site.publisher().publish_rollout(name, stated).unwrap();
}

pub(crate) fn serve(site: &mut Site, packed: &Packed) {
    let layout = hotshoe_store::Layout::open(&packed.folder).unwrap();
    site.publisher().serve(&layout).unwrap();
}

/// The reports of a device, from a session to it.
fn reports(device: &Device) -> (Receiver<Report>, ReportSubscription, Session) {
    let zenoh = Config::load(&device.config).unwrap().zenoh.client();
    let session = Session::open(&zenoh, "lab").unwrap();
    let (tell, told) = channel();
    let reports = session.follow_rollout_reports(move |said| drop(tell.send(said.value.report)));
    (told, reports.unwrap(), session)
}

fn wait_for(told: &Receiver<Report>, state: State, cause: &str) {
    loop {
        let report = told.recv_timeout(DEADLINE).expect("a report");
        if report.state == state && report.cause == cause {
            return;
        }
    }
}

fn contains(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|all| all.contains(text))
}

#[test]
fn an_abort_outlives_a_restart_and_a_replay_of_the_plan() {
    let mut site = Site::new();
    let [first, second, third] = [1, 2, 3].map(|generation| site.pack(&light(generation, "")));
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    serve(&mut site, &second);
    let (alice, trust) = (key(&site, "alice"), trust(&site));
    let text = signed(&plan(&second, first.release), &alice);
    let mut rollout = Rollout::read(&text, &trust, Time::now()).unwrap();
    let replayed = StatedRollout::of(&rollout);
    let cause = Cause::new("ordered", "by an operator");
    say(&mut rollout, Command::Abort { cause }, &alice, &trust);
    state_rollout(&mut site, "light", &StatedRollout::of(&rollout));
    let kept = site.workspace.path("cam-data/rollouts.json");
    until("the device has stored the abort", || {
        contains(&kept, "abort")
    });
    daemon.kill();

    // An attacker keeps the abort away, and has the plan.
    state_rollout(&mut site, "light", &replayed);
    let daemon = device.run();
    state_rollout(&mut site, "light", &replayed);
    site.publish(&third);
    daemon.feed_until(settled_on(3));
    assert!(daemon.stop().success());
    let file = device.config.display().to_string();
    let history = success(["history", "--config", &file, "--json"]);
    let history: String = history.split_whitespace().collect();
    assert!(history.contains("\"generation\":3"), "{history}");
    assert!(!history.contains("\"generation\":2"), "{history}");
}

#[test]
fn a_device_does_not_go_back_to_a_release_that_it_never_confirmed() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let second = site.pack(&light(2, ""));
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    let (told, _reports, _session) = reports(&device);
    serve(&mut site, &second);
    let (alice, trust) = (key(&site, "alice"), trust(&site));
    // Its signers are wrong about the release before it.
    let text = signed(&plan(&second, Digest::of(b"another release")), &alice);
    let mut rollout = Rollout::read(&text, &trust, Time::now()).unwrap();
    state_rollout(&mut site, "light", &StatedRollout::of(&rollout));
    daemon.feed_until(settled_on(2));
    let reverse = Command::Reverse {
        release: rollout.plan().release,
        previous: rollout.plan().previous,
        cause: Cause::new("ordered", "by an operator"),
    };
    say(&mut rollout, reverse, &alice, &trust);
    state_rollout(&mut site, "light", &StatedRollout::of(&rollout));
    wait_for(&told, State::Confirmed, "no_previous");
    assert!(settled_on(2)(&daemon.state()));
}

#[test]
fn a_key_with_the_role_for_rollouts_begins_none() {
    let mut site = Site::new();
    site.workspace.key("operator");
    let pem = fs::read_to_string(site.workspace.path("operator.pub")).unwrap();
    let public = PublicKey::from_pem(&pem, Scheme::EcdsaP256Sha256).unwrap();
    let entry = TrustRoot::key_entry("operator", &public, &[]);
    let text = fs::read_to_string(site.workspace.trust_file()).unwrap();
    let text = format!("{text}\n{entry}rollouts = [\"light\"]\n");
    fs::write(site.workspace.trust_file(), text).unwrap();
    let first = site.pack(&light(1, ""));
    let second = site.pack(&light(2, ""));
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    serve(&mut site, &second);
    let text = signed(&plan(&second, first.release), &key(&site, "operator"));
    state_rollout(&mut site, "light", &StatedRollout::new(text, Vec::new()));
    let state = daemon.wait_until(|state| state["ignored"]["too_few_signatures"].is_u64());
    assert!(settled_on(1)(&state), "{state:#}");
}

#[test]
fn a_word_of_another_key_is_not_heard_and_the_plan_goes_on() {
    let mut site = Site::new();
    site.workspace.key("mallory");
    let first = site.pack(&light(1, ""));
    let second = site.pack(&light(2, ""));
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    serve(&mut site, &second);
    let (alice, trust) = (key(&site, "alice"), trust(&site));
    let text = signed(&plan(&second, first.release), &alice);
    let rollout = Rollout::read(&text, &trust, Time::now()).unwrap();
    let abort = RolloutStatement {
        plan: rollout.plan().digest(),
        number: u64::MAX,
        stage: 0,
        command: Command::Abort {
            cause: Cause::new("ordered", "by a stranger"),
        },
        issued: Time::now(),
    };
    let mut forged = SignedText::of_statement(&abort, rollout.plan()).unwrap();
    forged.sign(&key(&site, "mallory")).unwrap();
    let stated = StatedRollout::new(text, vec![forged]);
    state_rollout(&mut site, "light", &stated);
    daemon.feed_until(settled_on(2));
}

#[test]
fn a_signed_retry_forgives_a_failure_and_an_unsigned_one_does_not() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let gate = "min-samples = 12\nmin-seconds = 0\n";
    let second = site.pack(&recipe(2, gate, &["flaky-policy"], ""));
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    serve(&mut site, &second);
    let (alice, trust) = (key(&site, "alice"), trust(&site));
    let text = signed(&plan(&second, first.release), &alice);
    let rollout = Rollout::read(&text, &trust, Time::now()).unwrap();
    state_rollout(&mut site, "light", &StatedRollout::of(&rollout));
    daemon.feed_until(|state| state["rollbacks"] == 1);
    let state = daemon.wait_until(|state| state["rollouts"][0]["state"] == "rolled-back");
    assert_eq!(state["rollouts"][0]["cause"], "trap_rate");

    let order = || Order::Retry {
        release: second.release,
        name: "light".to_owned(),
    };
    let unsigned = envelope(order(), DeviceSelector::default());
    site.publisher()
        .publish_statement("light", unsigned)
        .unwrap();
    daemon.wait_until(|state| state["ignored"]["unsigned_statement"].is_u64());
    let state = daemon.state();
    assert_eq!(state["rollouts"][0]["state"], "rolled-back", "{state:#}");

    let retry = signed_order(&statement(order(), DeviceSelector::default()), &alice);
    site.publisher().publish_statement("light", retry).unwrap();
    let state = daemon.feed_until(|state| state["rollbacks"] == 2);
    assert_eq!(state["release"]["generation"], 1);
}

#[test]
fn one_stolen_deployer_key_of_two_begins_and_reverses_nothing() {
    let mut site = Site::new();
    site.workspace.key("bob");
    site.workspace.trust(&["alice", "bob"], 2);
    let [first, second] = [1, 2].map(|generation| {
        let packed = site.pack(&light(generation, ""));
        site.workspace.sign(&packed.folder, "bob");
        read(packed.folder)
    });
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    serve(&mut site, &second);
    let (alice, bob, trust) = (key(&site, "alice"), key(&site, "bob"), trust(&site));
    let plan = plan(&second, first.release);
    let mut text = signed(&plan, &alice);
    state_rollout(
        &mut site,
        "light",
        &StatedRollout::new(text.clone(), Vec::new()),
    );
    let ignored = |count: u64| {
        move |state: &serde_json::Value| {
            let found = state["ignored"]["too_few_signatures"].as_u64();
            found.is_some_and(|found| found >= count)
        }
    };
    let state = daemon.wait_until(ignored(1));
    assert!(settled_on(1)(&state), "{state:#}");
    let before = state["ignored"]["too_few_signatures"].as_u64().unwrap();

    // With the other key it is a plan, and the stolen one alone takes no device back.
    text.sign(&bob).unwrap();
    let rollout = Rollout::read(&text, &trust, Time::now()).unwrap();
    state_rollout(&mut site, "light", &StatedRollout::of(&rollout));
    daemon.feed_until(settled_on(2));
    let reverse = RolloutStatement {
        plan: rollout.plan().digest(),
        number: 1,
        stage: 0,
        command: Command::Reverse {
            release: plan.release,
            previous: plan.previous,
            cause: Cause::new("ordered", "by a thief"),
        },
        issued: Time::now(),
    };
    let mut said = SignedText::of_statement(&reverse, rollout.plan()).unwrap();
    said.sign(&alice).unwrap();
    let stolen = StatedRollout::new(text.clone(), vec![said.clone()]);
    state_rollout(&mut site, "light", &stolen);
    let state = daemon.wait_until(ignored(before + 1));
    assert!(settled_on(2)(&state), "{state:#}");
    said.sign(&bob).unwrap();
    state_rollout(&mut site, "light", &StatedRollout::new(text, vec![said]));
    daemon.wait_until(settled_on(1));
}
