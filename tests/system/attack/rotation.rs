//! New trusted keys over the network: by those alone who may, one version after the other.

use std::fs;

use hotshoe_tests::until;
use hotshoe_trust::{SigningKey, TrustUpdate};
use serde_json::{Value, json};

use super::peer::Objects;
use super::scene::{Scene, key, quick, trust, wanted};
use crate::site::{Packed, Site, light, settled_on};
use crate::support::{Workspace, success};

/// Keys with the names that they may sign.
type Keys<'a> = &'a [(&'a str, &'a str)];

/// A scene whose device trusts these keys. `alice` is among them, and signs the first release.
fn scene(names: &[&str], keys: Keys<'_>, threshold: usize) -> Scene {
    let site = Site::new();
    for name in names {
        site.workspace.key(name);
    }
    fs::write(
        site.workspace.trust_file(),
        trust(&site.workspace, 1, threshold, keys, ""),
    )
    .unwrap();
    let first = site.pack(&quick(1, ""));
    if threshold > 1 {
        site.workspace.sign(&first.folder, "bob");
    }
    let first = crate::site::read(first.folder);
    let device = site.device("a", &first, "");
    Scene::start(site, device, first)
}

/// New keys, signed by these.
fn update(workspace: &Workspace, text: String, signers: &[&str]) -> Vec<u8> {
    let mut update = TrustUpdate::new(text);
    for name in signers {
        let key: SigningKey = key(workspace, name);
        update.sign(&key).unwrap();
    }
    update.to_bytes()
}

/// States new keys by an untrusted peer, which is how anybody may bring them, and waits until they are taken.
fn rotate(scene: &Scene, update: &[u8], version: u64) {
    let peer = scene.peer();
    peer.update_trust(update);
    scene
        .daemon
        .wait_until(|state| state["trust_version"] == version);
}

/// A hostile peer wants a release that is no more trusted; what serves is of this generation and stays.
fn refused(scene: &Scene, packed: &Packed, reason: &str, serving: u64) {
    let mut peer = scene.peer();
    peer.serve(Objects::of(&[packed]));
    peer.state(&packed.name, &wanted(packed));
    scene.says(reason);
    scene.serves(serving);
}

#[test]
fn a_rotation_that_both_versions_signed_revokes_a_key() {
    let mut scene = scene(&["bob"], &[("alice", "*")], 1);
    let text = trust(&scene.site.workspace, 2, 1, &[("bob", "*")], "");
    rotate(
        &scene,
        &update(&scene.site.workspace, text, &["alice", "bob"]),
        2,
    );
    // It serves on, although its key is not trusted any more.
    scene.serves(1);
    let revoked = scene.site.pack(&light(2, ""));
    refused(&scene, &revoked, "unknown_signer", 1);
    let third = scene.site.pack_by(&quick(3, ""), "bob");
    scene.site.publish(&third);
    scene.daemon.feed_until(settled_on(3));
    assert_eq!(scene.ledger()["trust"]["version"], 2);
}

#[test]
fn a_rotation_is_in_the_audit_log_with_the_keys_of_both_versions_that_signed_it() {
    let scene = scene(&["bob", "carol"], &[("alice", "*"), ("bob", "*")], 1);
    let workspace = &scene.site.workspace;
    let text = trust(workspace, 2, 1, &[("bob", "*"), ("carol", "*")], "");
    rotate(
        &scene,
        &update(workspace, text, &["alice", "bob", "carol"]),
        2,
    );
    let config = scene.device.config.display().to_string();
    let kind = "trust_replaced";
    let show = [
        "audit", "show", "--config", &config, "--kind", kind, "--json",
    ];
    let records = || -> Vec<Value> { serde_json::from_str(&success(show)).unwrap() };
    until("the rotation is recorded", || !records().is_empty());
    let records = records();
    assert_eq!(records.len(), 1);
    assert_eq!(
        records[0]["actor"],
        json!({"who": "deployer", "keys": ["alice", "bob"]})
    );
    assert_eq!(records[0]["details"]["new_signers"], "bob carol");
    assert_eq!(records[0]["details"]["keys"], "bob carol");
}

#[test]
fn a_rotation_by_commands() {
    let scene = scene(&["bob"], &[("alice", "*")], 1);
    let workspace = &scene.site.workspace;
    let path = |name: &str| workspace.path(name).display().to_string();
    let bob = format!("bob={}", path("bob.pub"));
    let (new, out) = (path("new.toml"), path("update.json"));
    success(["trust", "--key", &bob, "--version", "2", "--out", &new]);
    for signer in ["alice.key", "bob.key"] {
        success(["trust", "sign", &new, "--key", &path(signer), "--out", &out]);
    }
    let endpoint = scene.endpoint();
    success([
        "trust",
        "publish",
        &out,
        "--site",
        "lab",
        "--connect",
        &endpoint,
    ]);
    assert_eq!(scene.daemon.state()["trust_version"], 2);
    scene.is_unharmed();
}

#[test]
fn a_rotation_outlives_the_daemon() {
    let scene = scene(&["bob"], &[("alice", "*")], 1);
    let text = trust(
        &scene.site.workspace,
        2,
        1,
        &[("alice", "light"), ("bob", "*")],
        "",
    );
    rotate(
        &scene,
        &update(&scene.site.workspace, text, &["alice", "bob"]),
        2,
    );
    let mut scene = scene.restart();
    assert_eq!(scene.daemon.state()["trust_version"], 2);
    let second = scene.site.pack_by(&quick(2, ""), "bob");
    scene.site.publish(&second);
    scene.daemon.feed_until(settled_on(2));
}

#[test]
fn a_rotation_that_only_one_version_signed() {
    let scene = scene(&["bob"], &[("alice", "*")], 1);
    let workspace = &scene.site.workspace;
    let text = || trust(workspace, 2, 1, &[("bob", "*")], "");
    scene.keeps_its_keys(
        &update(workspace, text(), &["alice"]),
        "too_few_new_signatures",
    );
    scene.keeps_its_keys(
        &update(workspace, text(), &["bob"]),
        "too_few_old_signatures",
    );
    // Nobody's.
    workspace.key("mallory");
    let text = trust(workspace, 2, 1, &[("mallory", "*")], "");
    let theirs = update(workspace, text, &["mallory", "mallory"]);
    scene.keeps_its_keys(&theirs, "too_few_old_signatures");
}

#[test]
fn a_rotation_below_the_threshold() {
    let keys: Keys<'_> = &[("alice", "*"), ("bob", "*")];
    let scene = scene(&["bob", "carol"], keys, 2);
    let workspace = &scene.site.workspace;
    let text = || trust(workspace, 2, 2, &[("bob", "*"), ("carol", "*")], "");
    let too_few = update(workspace, text(), &["bob", "carol"]);
    scene.keeps_its_keys(&too_few, "too_few_old_signatures");
    let too_few = update(workspace, text(), &["alice", "bob"]);
    scene.keeps_its_keys(&too_few, "too_few_new_signatures");
    rotate(
        &scene,
        &update(workspace, text(), &["alice", "bob", "carol"]),
        2,
    );
    scene.is_unharmed();
}

#[test]
fn a_rotation_that_skips_a_version_or_goes_back() {
    let scene = scene(&["bob"], &[("alice", "*")], 1);
    let workspace = &scene.site.workspace;
    for version in [3, 1] {
        let text = trust(workspace, version, 1, &[("alice", "*"), ("bob", "*")], "");
        let signed = update(workspace, text, &["alice"]);
        scene.keeps_its_keys(&signed, "not_the_next_version");
    }
    scene.keeps_its_keys(b"rubbish", "malformed");
}

#[test]
fn a_stolen_key_that_signed_a_huge_generation() {
    // Alice's key signs releases of one name; only bob's may change the trust of all.
    let mut scene = scene(&["bob", "dora"], &[("alice", "light"), ("bob", "*")], 1);
    let huge = scene.site.pack(&quick(1 << 40, ""));
    let mut thief = scene.peer();
    thief.serve(Objects::of(&[&huge]));
    thief.state("light", &wanted(&huge));
    scene.daemon.feed_until(settled_on(1 << 40));
    // The thief cannot keep the others out.
    let text = trust(&scene.site.workspace, 2, 1, &[("alice", "*")], "");
    thief.update_trust(&update(&scene.site.workspace, text, &["alice"]));
    scene.says("too_few_old_signatures");

    let second = scene.site.pack_by(&quick(2, ""), "bob");
    refused(&scene, &second, "below_floor", 1 << 40);
    let reset = "[reset]\n\"light\" = 2\n";
    let text = trust(
        &scene.site.workspace,
        2,
        1,
        &[("bob", "*"), ("dora", "light")],
        reset,
    );
    rotate(&scene, &update(&scene.site.workspace, text, &["bob"]), 2);
    assert_eq!(scene.ledger()["floor"]["light"]["generation"], 2);
    drop(thief);
    scene.site.publish(&second);
    scene.daemon.feed_until(settled_on(2));
    // What the stolen key signed never comes back.
    refused(&scene, &huge, "unknown_signer", 2);
}
