//! What a hostile peer says in a device's name to those who publish and to those who ask.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hotshoe_trust::{Digest, Payload, PayloadKind, SigningKey, Time};
use serde_json::{Value, json};
use zenoh::Wait;

use super::peer::HostilePeer;
use crate::site::{Packed, light, read};
use crate::support::{Workspace, free_endpoint, hotshoe, json_lines};

/// A release, the keys of the devices `a` and `b` on a list, and an endpoint to publish at.
struct Stage {
    workspace: Workspace,
    release: Packed,
    endpoint: String,
    keys: [SigningKey; 2],
}

impl Stage {
    fn new() -> Self {
        let workspace = Workspace::new();
        let keys = [(); 2].map(|()| SigningKey::generate().expect("a key"));
        fs::create_dir(workspace.path("devices")).expect("a folder");
        for (name, key) in ["a", "b"].iter().zip(&keys) {
            let pem = key.public_key().expect("a public key").to_pem();
            fs::write(workspace.path(&format!("devices/{name}.pub")), pem).expect("a key");
        }
        let folder = workspace.release(&light(1, ""));
        Self {
            release: read(folder),
            endpoint: free_endpoint(),
            keys,
            workspace,
        }
    }

    fn list(&self) -> PathBuf {
        self.workspace.path("devices")
    }

    /// Publishes with the list, or without it; meanwhile a hostile peer does what `say` says, again and again. Returns the exit code and
    /// what was printed.
    fn publish(
        &self,
        with_list: bool,
        answer: impl Fn(&zenoh::query::Query) + Send + Sync + 'static,
        say: impl Fn(&HostilePeer) + Sync,
    ) -> (Option<i32>, String) {
        let folder = self.release.folder.display().to_string();
        let list = self.list().display().to_string();
        let mut arguments = vec![
            "publish",
            &folder,
            "--site",
            "lab",
            "--listen",
            &self.endpoint,
        ];
        arguments.extend(["--timeout", "60", "--json"]);
        if with_list {
            arguments.extend(["--device-keys", &list]);
        }
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let hostile = scope.spawn(|| {
                let mut peer = HostilePeer::at(std::slice::from_ref(&self.endpoint));
                peer.answer("a/status", answer);
                while !over.load(Ordering::Relaxed) {
                    say(&peer);
                    // The publisher's own rounds go on meanwhile.
                    thread::park_timeout(Duration::from_millis(100));
                }
            });
            let output = hotshoe(&arguments);
            over.store(true, Ordering::Relaxed);
            hostile.thread().unpark();
            hostile.join().expect("a peer");
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            (output.status.code(), text)
        })
    }

    /// An event of device `a` by which the release is live there.
    fn live(&self, statement: Option<Digest>) -> Vec<u8> {
        let event = json!({
            "site": "lab", "device": "a", "release": self.release.release, "name": "light", "generation": 1,
            "phase": "live", "fetched": 0, "total": 0, "cause": null, "statement": statement, "at": Time::now(),
        });
        event.to_string().into_bytes()
    }
}

/// A status of device `a` by which the release is live there.
fn live_status(release: Digest) -> Vec<u8> {
    let slot =
        json!({"release": release, "name": "light", "generation": 1, "installed": Time::now()});
    let status = json!({
        "site": "lab", "device": "a", "version": "0.1.0", "labels": {}, "release": null,
        "slots": {"live": slot, "previous": null, "staged": null, "trial": null},
        "deploy": {"phase": "live", "release": release, "name": "light", "generation": 1, "fetched": 0, "total": 0,
                   "cause": null, "waiting": null},
        "last_rollback": null, "health": null, "trust_version": 1, "swaps": 0, "rollbacks": 0, "refused": {}, "ignored": {},
        "last_swap_ns": null, "stale": false, "uptime_s": 1, "workers": 1,
        "queue": {"len": 0, "capacity": 16, "policy": "block"}, "counters": hotshoe_protocol::status::Counters::default(),
        "stages": [], "session": {"id": "x", "locators": [], "peers": 0},
    });
    status.to_string().into_bytes()
}

fn sign(key: &SigningKey, kind: PayloadKind, context: &[u8], body: &[u8]) -> Vec<u8> {
    let payload = Payload {
        kind,
        site: "lab",
        device: "a",
        context,
        body,
    };
    payload.sign(key).expect("a signature")
}

fn reply(query: &zenoh::query::Query, body: &[u8], signature: &[u8]) {
    let key = query.key_expr().clone();
    let key = if key.is_wild() {
        "hotshoe/lab/a/status".to_owned()
    } else {
        key.to_string()
    };
    let _ = query.reply(key, body).attachment(signature).wait();
}

/// The last line, which sums up.
fn summary(text: &str) -> Value {
    json_lines(text).pop().expect("a summary")["summary"].clone()
}

#[test]
fn forged_events_and_answers_confirm_nothing_where_devices_sign() {
    let stage = Stage::new();
    let [a, b] = &stage.keys;
    let earlier = stage.live(Some(Digest::of(b"an earlier statement")));
    let replayed = sign(a, PayloadKind::Event, &[], &earlier);
    let unbound = stage.live(None);
    let undone = sign(a, PayloadKind::Event, &[], &unbound);
    let now = stage.live(None);
    let by_another = sign(b, PayloadKind::Event, &[], &now);
    // A whole answer of the device, recorded when another nonce was asked with.
    let body = live_status(stage.release.release);
    let recorded = sign(a, PayloadKind::Status, b"an earlier question", &body);
    // And one that was signed as another kind of message.
    let mixed = sign(a, PayloadKind::Event, b"an earlier question", &body);
    let turns = Arc::new(AtomicBool::new(false));
    let turn = Arc::clone(&turns);
    let (code, text) = stage.publish(
        true,
        move |query| {
            let signature = if turn.fetch_xor(true, Ordering::Relaxed) {
                &recorded
            } else {
                &mixed
            };
            reply(query, &body, signature);
        },
        |peer| {
            peer.put("a/event", &now);
            peer.put_with("a/event", &earlier, &replayed);
            peer.put_with("a/event", &unbound, &undone);
            peer.put_with("a/event", &now, &by_another);
            peer.put_with("a/event", &now, b"no signature");
            // In the name of a device that is not on the list, and under another one's key.
            let stranger = String::from_utf8_lossy(&now).replace("\"a\"", "\"stranger\"");
            peer.put("stranger/event", stranger.as_bytes());
            peer.put("b/event", &now);
        },
    );
    assert_eq!(code, Some(1), "{text}");
    let summary = summary(&text);
    assert_eq!(summary["ok"], false, "{text}");
    let devices = summary["devices"].as_array().expect("devices");
    let names: Vec<&str> = devices
        .iter()
        .filter_map(|it| it["device"].as_str())
        .collect();
    assert_eq!(names, ["a", "stranger"], "{text}");
    for device in devices {
        assert_eq!(device["outcome"], "unverified", "{text}");
        assert_eq!(device["claimed"], true, "{text}");
    }
    assert_eq!(devices[1]["claim"]["why"], "unlisted_device", "{text}");
    assert!(!text.contains("confirmed"), "{text}");
}

#[test]
fn without_a_list_what_is_confirmed_is_called_a_claim() {
    let stage = Stage::new();
    let event = stage.live(None);
    let (code, text) = stage.publish(false, |_| {}, |peer| peer.put("a/event", &event));
    assert_eq!(code, Some(0), "{text}");
    let summary = summary(&text);
    assert_eq!(summary["devices"][0]["outcome"], "confirmed", "{text}");
    assert_eq!(summary["devices"][0]["claimed"], true, "{text}");
}

#[test]
fn a_forged_status_is_listed_as_a_claim() {
    let scene = super::scene::Scene::new();
    let mut peer = scene.peer();
    // The release is not one that the device has.
    let body = live_status(Digest::of(b"forged"));
    peer.answer("*/status", move |query| reply(query, &body, b""));
    let endpoint = scene.endpoint();
    let public = scene.site.workspace.path("a-data/device.pub");
    let list = scene.site.workspace.path("list");
    fs::create_dir(&list).expect("a folder");
    fs::copy(public, list.join("a.pub")).expect("the device's key");
    let list = list.display().to_string();
    let ask = |more: &[&str]| {
        let mut arguments = vec!["status", "--site", "lab", "--connect", &endpoint, "--json"];
        arguments.extend(more);
        let output = hotshoe(&arguments);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let all: Value = serde_json::from_str(&text).expect("JSON");
        (output.status.code(), all)
    };
    // The device's own answer comes before the forged one.
    let (code, all) = ask(&["--device-keys", &list]);
    assert_eq!(code, Some(0), "{all:#}");
    assert_eq!(all[0]["claimed"], false, "{all:#}");
    assert_eq!(all[0]["answers"], 2, "{all:#}");
    assert_eq!(all[0]["release"]["generation"], 1, "{all:#}");
    let (_, all) = ask(&[]);
    assert_eq!(all[0]["claimed"], true, "{all:#}");
    assert_eq!(all[0]["claim"], "no_device_list", "{all:#}");
    // By a list with another key for the device, neither answer is proved.
    let Stage { workspace, .. } = Stage::new();
    let others = workspace.path("devices").display().to_string();
    let (code, all) = ask(&["--device-keys", &others]);
    assert_eq!(code, Some(1), "{all:#}");
    assert_eq!(all[0]["claimed"], true, "{all:#}");
}
