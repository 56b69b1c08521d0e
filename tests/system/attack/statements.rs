//! Statements that no device may follow: frozen, replayed, forged, or for somebody else.

use std::fs;

use hotshoe_trust::{DeviceSelector, Envelope, Order, Statement, Time};
use serde_json::Value;

use super::peer::Objects;
use super::scene::{ORDER_TIMEOUT, Scene, hours, key, quick, trust, wanted, wish};
use crate::site::{Packed, Site, envelope, light, settled_on, signed, statement};

const SIGNED: &str = "[deploy]\nstatements = \"signed\"\n";

/// A statement that wants `packed`, changed before it was put into its envelope, by somebody who checks nothing.
fn altered(packed: &Packed, change: impl FnOnce(&mut Statement)) -> Vec<u8> {
    let mut statement = wish(packed);
    change(&mut statement);
    let envelope = Envelope {
        statement: serde_json::to_string(&statement).unwrap(),
        bundles: Vec::new(),
    };
    envelope.to_bytes()
}

/// A device on generation 1, and a good release of generation 2 that the attacker's statement names.
fn scene(more: &str) -> (Scene, Packed) {
    let scene = Scene::with(more);
    let second = scene.site.pack(&light(2, ""));
    (scene, second)
}

#[test]
fn freeze_by_an_expired_statement() {
    let (scene, second) = scene("");
    let expired = altered(&second, |statement| {
        statement.issued = Time::now() - hours(2);
        statement.expires = Time::now() - hours(1);
    });
    scene.ignores(&expired, "statement_expired");
}

#[test]
fn freeze_by_a_replayed_statement() {
    let mut scene = Scene::new();
    let (second, third) = (
        scene.site.pack(&quick(2, "")),
        scene.site.pack(&quick(3, "")),
    );
    let recorded = altered(&second, |statement| statement.issued -= hours(1));
    scene.site.publish(&third);
    scene.daemon.feed_until(settled_on(3));
    let mut peer = scene.peer();
    peer.serve(Objects::of(&[&second]));
    peer.state("light", &recorded);
    scene.says("replayed");
    scene.serves(3);
    assert_eq!(scene.ledger()["floor"]["light"]["generation"], 3);
}

#[test]
fn freeze_by_keeping_newer_statements_away() {
    let mut scene = Scene::with("[deploy]\nfresh-within-hours = 1\n");
    let mut old = wish(&scene.first);
    old.issued = Time::now() - hours(2);
    let alice = key(&scene.site.workspace, "alice");
    let peer = scene.peer();
    peer.state("light", &signed(&old, &alice));
    scene.daemon.wait_until(|state| state["stale"] == true);
    scene.is_unharmed();
    // A fresh one ends it.
    let fresh = signed(&wish(&scene.first), &alice);
    scene
        .site
        .publisher()
        .publish_statement("light", fresh)
        .unwrap();
    scene.daemon.wait_until(|state| state["stale"] == false);
}

#[test]
fn a_statement_from_the_future() {
    let (scene, second) = scene("");
    let future = altered(&second, |statement| {
        statement.issued = Time::now() + hours(1);
        statement.expires = Time::now() + hours(2);
    });
    scene.ignores(&future, "statement_from_future");
}

#[test]
fn a_statement_that_never_ends() {
    let (scene, second) = scene("");
    let eternal = altered(&second, |statement| {
        statement.expires = Time::now() + hours(24 * 365)
    });
    scene.ignores(&eternal, "statement_too_long_lived");
}

#[test]
fn a_statement_for_another_site() {
    let (scene, second) = scene("");
    let theirs = altered(&second, |statement| statement.site = "elsewhere".to_owned());
    scene.ignores(&theirs, "wrong_site");
}

#[test]
fn a_statement_for_another_device() {
    let (scene, second) = scene("");
    let theirs = altered(&second, |statement| {
        statement.devices = DeviceSelector {
            names: vec!["line-*".to_owned()],
            ..DeviceSelector::default()
        };
    });
    scene.ignores(&theirs, "other_device");
}

#[test]
fn a_statement_that_is_none() {
    let (scene, second) = scene("");
    scene.ignores(b"rubbish", "malformed");
    let text = String::from_utf8(wanted(&second)).unwrap();
    let more = text.replacen('{', "{\"surprise\":1,", 1);
    scene.ignores(more.as_bytes(), "unknown_key");
    // Too much to be looked at.
    scene.ignores(&vec![b' '; 1 << 20], "too_large");
}

#[test]
fn an_unsigned_statement_where_signatures_are_needed() {
    let (mut scene, _) = scene(SIGNED);
    let second = scene.site.pack(&quick(2, ""));
    scene.ignores(&wanted(&second), "unsigned_statement");
    // The same statement with a signature is followed.
    scene.site.publish(&second);
    let alice = key(&scene.site.workspace, "alice");
    let good = signed(&wish(&second), &alice);
    scene
        .site
        .publisher()
        .publish_statement("light", good)
        .unwrap();
    scene.daemon.feed_until(settled_on(2));
}

#[test]
fn a_statement_signed_by_a_stranger() {
    for more in ["", SIGNED] {
        let (scene, second) = scene(more);
        scene.site.workspace.key("mallory");
        let mallory = key(&scene.site.workspace, "mallory");
        scene.ignores(&signed(&wish(&second), &mallory), "unknown_signer");
    }
}

#[test]
fn a_statement_that_was_changed_after_it_was_signed() {
    let (scene, second) = scene(SIGNED);
    let alice = key(&scene.site.workspace, "alice");
    let mut envelope = Envelope::new(&wish(&second)).unwrap();
    envelope.sign(&alice).unwrap();
    envelope.statement = Envelope::new(&wish(&scene.first)).unwrap().statement;
    scene.ignores(&envelope.to_bytes(), "bad_signature");
}

#[test]
fn a_statement_by_a_key_for_other_names() {
    let site = Site::new();
    site.workspace.key("bob");
    let keys = [("alice", "*"), ("bob", "other-*")];
    fs::write(
        site.workspace.trust_file(),
        trust(&site.workspace, 1, 1, &keys, ""),
    )
    .unwrap();
    let scene = Scene::prepared(site, 1, SIGNED);
    let second = scene.site.pack(&light(2, ""));
    let bob = key(&scene.site.workspace, "bob");
    scene.ignores(&signed(&wish(&second), &bob), "signer_not_allowed");
}

#[test]
fn an_order_that_is_replayed_or_forged() {
    let mut scene = Scene::with(SIGNED);
    let second = scene.site.pack(&quick(2, ""));
    let alice = key(&scene.site.workspace, "alice");
    scene.site.publish(&second);
    let good = signed(&wish(&second), &alice);
    scene
        .site
        .publisher()
        .publish_statement("light", good)
        .unwrap();
    scene.daemon.feed_until(settled_on(2));

    let back = Order::Rollback {
        release: second.release,
        name: "light".to_owned(),
    };
    let forged = envelope(back.clone(), DeviceSelector::default());
    assert_eq!(scene.refusal_of(&forged), "unsigned_statement");
    let mut elsewhere = statement(back, DeviceSelector::default());
    elsewhere.site = "elsewhere".to_owned();
    assert_eq!(scene.refusal_of(&signed(&elsewhere, &alice)), "wrong_site");
    assert_eq!(scene.refusal_of(b"rubbish"), "malformed");
    scene.serves(2);

    // An order is followed once.
    let third = scene.site.pack(&quick(3, ""));
    scene.site.state(&third, false, DeviceSelector::default());
    let mut stage = wish(&third);
    if let Order::Deploy { activate, .. } = &mut stage.order {
        *activate = false;
    }
    let stage = signed(&stage, &alice);
    scene
        .site
        .publisher()
        .publish_statement("light", stage)
        .unwrap();
    let staged = |state: &Value| state["slots"]["staged"]["generation"] == 3;
    scene.daemon.wait_until(staged);
    let cancel = Order::Cancel {
        release: third.release,
        name: "light".to_owned(),
    };
    let cancel = statement(cancel, DeviceSelector::default());
    let cancel = signed(&cancel, &alice);
    let client = scene.daemon.client();
    client.order("lab", "a", &cancel, ORDER_TIMEOUT).unwrap();
    assert_eq!(scene.refusal_of(&cancel), "replayed");
    scene.daemon.wait_until(|state| !staged(state));
    scene.serves(2);
}
