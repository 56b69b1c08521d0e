//! Requests and answers: who may write, for which device, and what cannot be read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use hotshoe_shared_data::{
    Action, Answer, Definition, JsonText, Replica, Request, Rule, SharedValue, SignedRequest,
    Writer, read_answer, read_request,
};
use hotshoe_trust::{Envelope, Signatures, SigningKey, TrustRoot};
use serde_json::{Value, json};

fn json_text(value: &Value) -> JsonText {
    JsonText::of(value).unwrap()
}

fn trust(key: &SigningKey, more: &str) -> TrustRoot {
    let entry = TrustRoot::key_entry("alice", &key.public_key().unwrap(), &["ocr"]);
    let entry = entry.replacen("releases = [\"ocr\"]\n", more, 1);
    TrustRoot::parse(&format!("version = 1\nthreshold = 1\n\n{entry}")).unwrap()
}

fn exchange(name: &str) -> Request {
    let mut replica = Replica::new(Writer::site("alice"));
    replica.define(name, Definition::new(Rule::LastWriterWins));
    let value = json_text(&json!({"text": "\"\\\n"}));
    replica.set(name, value, 1).unwrap();
    Request {
        site: "lab".to_owned(),
        device: "line-4".to_owned(),
        at_ms: 1,
        shared_data: Action::Exchange {
            name: name.to_owned(),
            state: replica.state(name).unwrap().clone(),
        },
    }
}

fn signed(request: &Request, key: &SigningKey) -> Vec<u8> {
    let mut signed = SignedRequest::new(request);
    signed.sign(key).unwrap();
    signed.to_bytes()
}

#[test]
fn a_write_is_taken_from_a_key_that_may_write_the_value() {
    let key = SigningKey::generate().unwrap();
    let request = exchange("settings-1");
    let (bytes, unsigned) = (
        signed(&request, &key),
        SignedRequest::new(&request).to_bytes(),
    );
    for (more, taken) in [
        ("releases = [\"*\"]\n", Ok(())),
        ("releases = [\"ocr\"]\n", Err("writer_not_allowed")),
        (
            "releases = [\"*\"]\nshared-data = []\n",
            Err("writer_not_allowed"),
        ),
        ("shared-data = [\"settings-*\"]\n", Ok(())),
        ("shared-data = [\"other\"]\n", Err("writer_not_allowed")),
    ] {
        let root = trust(&key, more);
        for signatures in [Signatures::Required(&root), Signatures::Optional(&root)] {
            let read = read_request(&bytes, "lab", "line-4", signatures);
            let read = read.map(|read| {
                assert_eq!(read.request, request);
                assert_eq!(read.signers, ["alice"]);
            });
            assert_eq!(read.map_err(|error| error.name()), taken, "{more}");
        }
        let read = |signatures| {
            let read = read_request(&unsigned, "lab", "line-4", signatures);
            read.map(|read| assert!(read.signers.is_empty()))
                .map_err(|error| error.name())
        };
        assert_eq!(read(Signatures::Required(&root)), Err("unsigned"));
        assert_eq!(read(Signatures::Optional(&root)), Ok(()));
    }
}

#[test]
fn another_s_signature_or_another_device_s_request_is_refused() {
    let [key, stranger] = [(); 2].map(|()| SigningKey::generate().unwrap());
    let root = trust(&key, "releases = [\"*\"]\n");
    let request = exchange("setting");
    let read = |bytes: &[u8], device: &str| {
        let read = read_request(bytes, "lab", device, Signatures::Optional(&root));
        read.map(drop).map_err(|error| error.name())
    };
    assert_eq!(read(&signed(&request, &key), "line-4"), Ok(()));
    assert_eq!(read(&signed(&request, &key), "line-5"), Err("other_device"));
    assert_eq!(
        read(&signed(&request, &stranger), "line-4"),
        Err("unknown_signer")
    );
    // The signed text is changed afterwards.
    let bytes = String::from_utf8(signed(&request, &key)).unwrap();
    let changed = bytes.replacen("\\\"at-ms\\\":1", "\\\"at-ms\\\":2", 1);
    assert_ne!(changed, bytes);
    assert_eq!(read(changed.as_bytes(), "line-4"), Err("bad_signature"));
    // A statement's envelope is not a request, and a request not a statement.
    assert_eq!(
        read(br#"{"statement":"{}","bundles":[]}"#, "line-4"),
        Err("unknown_key")
    );
    assert!(Envelope::parse(bytes.as_bytes()).is_err());
    assert_eq!(read(b"", "line-4"), Err("malformed"));
}

#[test]
fn reading_needs_no_signature() {
    let key = SigningKey::generate().unwrap();
    let root = trust(&key, "releases = [\"*\"]\n");
    let name = "setting".to_owned();
    for shared_data in [Action::List {}, Action::Get { name }] {
        let request = Request {
            shared_data,
            ..exchange("setting")
        };
        let bytes = SignedRequest::new(&request).to_bytes();
        let read = read_request(&bytes, "lab", "line-4", Signatures::Required(&root));
        assert_eq!(read.unwrap().request, request);
    }
}

#[test]
fn a_state_that_no_replica_can_have_is_refused() {
    let key = SigningKey::generate().unwrap();
    let root = trust(&key, "releases = [\"*\"]\n");
    let at = |wall_ms: u64| json!({"wall-ms": wall_ms, "counter": 0});
    let item = |wall_ms: u64, name: &str| json!({"at": at(wall_ms), "by": {"end": "site", "name": name}, "value": "1"});
    let many: Vec<_> = (0..257).map(|wall_ms| item(wall_ms, "a")).collect();
    let dropped = json!({"at": at(1), "by": {"end": "site", "name": "a"}, "digest":
        "sha256:0000000000000000000000000000000000000000000000000000000000000000"});
    for (state, is_valid) in [
        (
            json!({"append": {"items": [item(1, "a"), item(2, "a")]}}),
            true,
        ),
        (
            json!({"append": {"items": [item(2, "a"), item(1, "a")]}}),
            false,
        ),
        (
            json!({"append": {"items": [item(1, "a"), item(1, "a")]}}),
            false,
        ),
        (json!({"append": {"items": many}}), false),
        (
            json!({"append": {"dropped-to": dropped, "items": [item(0, "a")]}}),
            false,
        ),
        (
            json!({"append": {"dropped-to": dropped, "items": [item(2, "a")]}}),
            true,
        ),
        (
            json!({"last-writer-wins": {"entry": item(1, "a/b")}}),
            false,
        ),
        (json!({"last-writer-wins": {}}), true),
        (json!({"remote-wins": {"pending": item(1, "a")}}), false),
        (json!({"remote-wins": {"site": item(1, "a")}}), true),
    ] {
        let state: SharedValue = serde_json::from_value(state).unwrap();
        let definition = Definition::new(state.rule());
        let shared_data = Action::Exchange {
            name: "setting".to_owned(),
            state: state.clone(),
        };
        let request = Request {
            shared_data,
            ..exchange("setting")
        };
        let bytes = SignedRequest::new(&request).to_bytes();
        let read = read_request(&bytes, "lab", "line-4", Signatures::Optional(&root));
        let expected = if is_valid {
            Ok(())
        } else {
            Err("invalid_state")
        };
        assert_eq!(
            read.map(drop).map_err(|error| error.name()),
            expected,
            "{state:?}"
        );
        let answer = Answer::Value {
            at_ms: 1,
            definition,
            state,
            ahead: 0,
        };
        let bytes = serde_json::to_vec(&answer).unwrap();
        let read = read_answer(&bytes, "setting");
        assert_eq!(read.map(drop).map_err(|error| error.name()), expected);
    }
}

/// The site defines what a device lists: a name that no device can have would make its replica unreadable.
#[test]
fn a_list_with_names_that_no_value_can_have_is_refused() {
    let answer = |names: Vec<String>| {
        let summary = |name| json!({"name": name, "rule": "append"});
        let values: Vec<Value> = names.into_iter().map(summary).collect();
        let bytes = json!({"values": values}).to_string().into_bytes();
        read_answer(&bytes, "")
            .map(drop)
            .map_err(|error| error.name())
    };
    let invalid = Err("invalid_state");
    assert_eq!(answer(vec!["limit-1.5_a".to_owned()]), Ok(()));
    for name in ["", "..", "../x", "a/b", "\u{1b}[2J", &"x".repeat(65)] {
        assert_eq!(answer(vec![name.to_owned()]), invalid, "{name:?}");
    }
    let many = |count: usize| (0..count).map(|number| format!("v{number}")).collect();
    assert_eq!(answer(many(256)), Ok(()));
    assert_eq!(answer(many(257)), invalid);
}
