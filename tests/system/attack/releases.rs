//! Releases that no device may take, from a peer that serves them well.

use std::fs;

use hotshoe_trust::{DeviceSelector, Digest, Order};
use serde_json::{Value, json};

use super::peer::Objects;
use super::scene::{Scene, deploy, quick, trust, wanted};
use crate::bad_release::edit;
use crate::site::{Packed, Site, envelope, light, read, settled_on};

/// What a statement says that wants `packed`, with another manifest or with other bundles.
fn forged(packed: &Packed, manifest: Digest, their_bundles: &[Digest]) -> Vec<u8> {
    let Order::Deploy {
        name,
        generation,
        activate,
        ..
    } = deploy(packed)
    else {
        panic!("it is no deployment");
    };
    let order = Order::Deploy {
        release: manifest,
        name,
        generation,
        bundles: their_bundles.to_vec(),
        activate,
    };
    envelope(order, DeviceSelector::default())
}

/// A release whose configuration was changed before it was signed.
fn edited(site: &Site, recipe: &str, change: impl FnOnce(&mut Value)) -> Packed {
    let folder = site.workspace.pack(recipe);
    edit(&folder, change);
    site.workspace.sign(&folder, "alice");
    read(folder)
}

#[test]
fn an_arbitrary_release_signed_by_a_stranger() {
    let scene = Scene::new();
    scene.site.workspace.key("mallory");
    let forged = scene.site.pack_by(&light(2, ""), "mallory");
    scene.refuses(&forged, "unknown_signer");
}

#[test]
fn an_arbitrary_release_that_nobody_signed() {
    let scene = Scene::new();
    let folder = scene.site.workspace.pack(&light(2, ""));
    scene.refuses(&read(folder), "no_bundle");
}

#[test]
fn a_rollback_to_a_lower_generation() {
    let scene = Scene::prepared(Site::new(), 5, "");
    let older = scene.site.pack(&light(4, ""));
    scene.refuses(&older, "below_floor");
}

#[test]
fn the_same_generation_with_other_content() {
    let scene = Scene::new();
    let other = scene.site.pack(&quick(1, ""));
    scene.refuses(&other, "same_generation");
}

#[test]
fn a_release_whose_time_is_over() {
    let scene = Scene::new();
    let old = edited(&scene.site, &light(2, ""), |config| {
        config["issued"] = "2020-01-01T00:00:00Z".into();
        config["expires"] = "2021-01-01T00:00:00Z".into();
    });
    scene.refuses(&old, "expired");
}

#[test]
fn a_release_for_another_device() {
    let scene = Scene::new();
    let theirs = scene
        .site
        .pack(&light(2, "[devices]\nnames = [\"line-*\"]\n"));
    scene.refuses(&theirs, "wrong_device");
}

#[test]
fn a_release_signed_by_a_key_for_other_names() {
    let site = Site::new();
    site.workspace.key("bob");
    let keys = [("alice", "*"), ("bob", "other-*")];
    fs::write(
        site.workspace.trust_file(),
        trust(&site.workspace, 1, 1, &keys, ""),
    )
    .unwrap();
    let scene = Scene::prepared(site, 1, "");
    let forged = scene.site.pack_by(&light(2, ""), "bob");
    scene.refuses(&forged, "signer_not_allowed");
}

#[test]
fn a_release_with_too_few_signatures() {
    let site = Site::new();
    site.workspace.key("bob");
    site.workspace.trust(&["alice", "bob"], 2);
    let first = site.pack(&light(1, ""));
    site.workspace.sign(&first.folder, "bob");
    let first = read(first.folder);
    let device = site.device("a", &first, "");
    let scene = Scene::start(site, device, first);
    let second = scene.site.pack(&light(2, ""));
    scene.refuses(&second, "too_few_signatures");
    // The same signature twice is one signature.
    let third = scene.site.pack(&light(3, ""));
    let twice = Packed {
        bundles: vec![third.bundles[0]; 2],
        ..third
    };
    let mut peer = scene.peer();
    peer.serve(Objects::of(&[&twice]));
    peer.state("light", &wanted(&twice));
    scene
        .daemon
        .wait_until(|state| state["refused"]["too_few_signatures"] == 2);
    scene.is_unharmed();
}

#[test]
fn mix_and_match_of_a_manifest_and_of_another_signature() {
    let scene = Scene::new();
    let (second, third) = (
        scene.site.pack(&light(2, "")),
        scene.site.pack(&light(3, "")),
    );
    let mixed = Packed {
        bundles: second.bundles.clone(),
        ..third.clone()
    };
    let mut peer = scene.peer();
    peer.serve(Objects::of(&[&second, &third]));
    peer.state("light", &wanted(&mixed));
    scene.says("bad_signature");
    scene.is_unharmed();
}

#[test]
fn mix_and_match_of_a_manifest_and_of_another_configuration() {
    let scene = Scene::new();
    let (second, third) = (
        scene.site.pack(&light(2, "")),
        scene.site.pack(&light(3, "")),
    );
    let mut objects = Objects::of(&[&second, &third]);
    let manifest = |packed: &Packed| -> Value {
        serde_json::from_slice(&objects.get(packed.release).unwrap()).unwrap()
    };
    let mut mixed = manifest(&second);
    mixed["config"] = manifest(&third)["config"].clone();
    let mixed = objects.put(serde_json::to_vec(&mixed).unwrap());
    let mut peer = scene.peer();
    peer.serve(objects);
    peer.state("light", &forged(&third, mixed, &second.bundles));
    scene.says("bad_signature");
    scene.is_unharmed();
}

#[test]
fn a_manifest_that_is_none_or_claims_too_much() {
    let scene = Scene::new();
    let second = scene.site.pack(&light(2, ""));
    let mut objects = Objects::of(&[&second]);
    let mut greedy: Value = serde_json::from_slice(&objects.get(second.release).unwrap()).unwrap();
    greedy["config"]["size"] = json!(1_u64 << 40);
    let greedy = objects.put(serde_json::to_vec(&greedy).unwrap());
    let none = objects.put("no manifest at all");
    let mut peer = scene.peer();
    peer.serve(objects);
    peer.state("light", &forged(&second, none, &second.bundles));
    scene.says("bad_manifest");
    peer.state("light", &forged(&second, greedy, &second.bundles));
    scene.says("too_large");
    scene.is_unharmed();
}

#[test]
fn a_lie_about_a_good_release_does_not_keep_it_away() {
    let mut scene = Scene::new();
    let second = scene.site.pack(&quick(2, ""));
    let order = Order::Deploy {
        release: second.release,
        name: "light".to_owned(),
        generation: 1_000,
        bundles: second.bundles.clone(),
        activate: true,
    };
    let mut peer = scene.peer();
    peer.serve(Objects::of(&[&second]));
    peer.state("light", &envelope(order, DeviceSelector::default()));
    scene.says("statement_mismatch");
    // Nor does a signature that is kept back.
    peer.state("light", &forged(&second, second.release, &[]));
    scene.says("no_bundle");
    scene.is_unharmed();
    scene.site.publish(&second);
    scene.daemon.feed_until(settled_on(2));
    scene.serves(2);
}
