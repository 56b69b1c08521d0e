//! Two sessions over loopback: samples in, answers and messages out. No component runs here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use hotshoe_base::Clock;
use hotshoe_config::ZenohConfig;
use hotshoe_egress::{Classifier, Egress, HashKeys};
use hotshoe_link::{Client, FeedError, Incoming, Link, LinkError, Responder, Serving, Topic};
use hotshoe_protocol::status::Status;
use hotshoe_tests::DEADLINE;
use hotshoe_trust::{DataBounds, EffectiveContract};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;
use zenoh::Wait;
use zenoh::bytes::Encoding;

fn device(namespace: Option<&str>) -> (Arc<Link>, ZenohConfig) {
    let config = ZenohConfig {
        listen: vec!["tcp/127.0.0.1:0".to_owned()],
        namespace: namespace.map(str::to_owned),
        ..ZenohConfig::default()
    };
    let link = Link::open(&config, "lab", "camera").unwrap();
    let locators = link.status().locators;
    assert!(!locators[0].ends_with(":0"), "{locators:?}");
    let client = ZenohConfig {
        connect: locators,
        listen: Vec::new(),
        ..config
    };
    (Arc::new(link), client)
}

/// A message of a device without a contract.
fn message(content_type: &str, payload: Vec<u8>) -> Egress {
    let keys = HashKeys::new([0; 32], 1, Clock::system());
    let contract = EffectiveContract::of(None, &DataBounds::default());
    let classifier = Classifier::new(contract, None, keys);
    classifier.custom("topic", content_type, &payload).unwrap()
}

fn status() -> Egress {
    let status = json!({
        "site": "lab", "device": "camera", "version": "0.1.0",
        "release": {"name": "r", "digest": format!("sha256:{}", "0".repeat(64)), "generation": 1, "signers": ["alice"]},
        "labels": {}, "slots": {"live": null, "previous": null, "staged": null, "trial": null},
        "deploy": {"phase": "live", "release": null, "name": null, "generation": null, "fetched": 0, "total": 0, "cause": null, "waiting": null},
        "last_rollback": null, "health": null, "trust_version": 1, "swaps": 0, "rollbacks": 0, "refused": {}, "ignored": {},
        "last_swap_ns": null, "stale": false,
        "uptime_s": 1, "workers": 1, "queue": {"len": 0, "capacity": 16, "policy": "block"},
        "counters": {"accepted": 3, "results": 1, "dropped": {"block_timeout": 1}, "failed": 1, "faults": {"trap": 1},
                     "failed_at": {"page": 1}, "in_flight": 0, "unpublished": 0, "tolerated": {}},
        "stages": [], "session": {"id": "x", "locators": [], "peers": 0}
    });
    Classifier::host(&status)
}

/// Replies with the sample's fields; refuses samples with an empty payload.
fn echo(incoming: &Incoming<'_>, responder: Option<Responder>) {
    let body = json!({
        "id": incoming.id.as_deref().map(String::from_utf8_lossy),
        "source": incoming.source,
        "content_type": incoming.content_type,
        "size": incoming.payload.len(),
    });
    let body = Classifier::host(&body);
    match responder {
        None => {}
        Some(responder) if incoming.payload.is_empty() => responder.refuse(body),
        Some(responder) => responder.reply(body),
    }
}

fn serve(link: &Link) -> Serving {
    link.serve(
        &[],
        |incoming, responder| echo(&incoming, responder),
        status,
    )
    .unwrap()
}

#[test]
fn a_feeder_gets_an_answer_to_each_sample() {
    let (link, client) = device(None);
    let serving = serve(&link);
    let client = Client::open(&client).unwrap();
    let feeder = client.feeder("lab", "camera", 2, DEADLINE);
    for i in 0..20 {
        feeder
            .send("page", "image/png", &format!("s{i}"), vec![7; 100_000 + i])
            .unwrap();
    }
    for _ in 0..20 {
        let fed = feeder.next(DEADLINE).unwrap();
        let body = fed.result.unwrap();
        let number: usize = fed.id[1..].parse().unwrap();
        assert_eq!(body["id"], fed.id);
        assert_eq!(body["source"], "hotshoe/lab/camera/input/page");
        assert_eq!(body["content_type"], "image/png");
        assert_eq!(body["size"], 100_000 + number);
    }
    assert_eq!(feeder.outstanding(), 0);
    feeder.send("empty", "image/png", "e", Vec::new()).unwrap();
    let fed = feeder.next(DEADLINE).unwrap();
    let Err(FeedError::Refused(body)) = fed.result else {
        panic!("an empty sample was answered");
    };
    assert_eq!(body["size"], 0);
    drop(serving);
    client.close();
    link.close();
}

#[test]
fn without_a_daemon_there_is_an_error() {
    let (link, client) = device(None);
    let serving = serve(&link);
    let client = Client::open(&client).unwrap();
    let feeder = client.feeder("lab", "another", 1, DEADLINE);
    feeder.send("page", "image/png", "s", vec![1]).unwrap();
    assert_eq!(
        feeder.next(DEADLINE).unwrap().result,
        Err(FeedError::NoReply)
    );
    assert!(matches!(
        feeder.send("a//b", "image/png", "s", vec![1]),
        Err(LinkError::Key { .. })
    ));
    let large = feeder.send("page", "image/png", "s", vec![0; 8 << 20]);
    assert!(matches!(large, Err(LinkError::TooLarge { .. })));
    assert_eq!(feeder.outstanding(), 0);
    drop(serving);
}

#[test]
fn a_published_sample_arrives_and_its_messages_leave() {
    let (link, client) = device(None);
    let (sender, arrived) = channel();
    let publisher = Arc::clone(&link);
    let serving = link
        .serve(
            &[],
            move |incoming, responder| {
                assert!(responder.is_none());
                publisher
                    .publish(Topic::Insight, "s", Classifier::host(&json!({"id": "s"})))
                    .unwrap();
                let id = incoming.id.map(|id| id.into_owned());
                sender
                    .send((
                        incoming.source,
                        id,
                        incoming.content_type,
                        incoming.payload.to_vec(),
                    ))
                    .unwrap();
            },
            status,
        )
        .unwrap();
    let client = Client::open(&client).unwrap();
    let outputs = client.outputs(Some("lab"), None, 8).unwrap();
    client
        .put(
            "lab",
            "camera",
            "gate/1",
            "text/plain",
            Some("s"),
            b"hello".to_vec(),
        )
        .unwrap();
    let got = arrived.recv_timeout(DEADLINE).unwrap();
    assert_eq!(got.0, "hotshoe/lab/camera/input/gate/1");
    assert_eq!(
        (got.1.as_deref(), got.2.as_deref(), got.3.as_slice()),
        (Some(&b"s"[..]), Some("text/plain"), &b"hello"[..])
    );
    let message = outputs.next(DEADLINE).unwrap();
    assert_eq!(message.key, "hotshoe/lab/camera/output/insight");
    assert_eq!(message.body, json!({"id": "s"}));
    drop(serving);
}

#[test]
fn status_is_asked_for_by_name_or_for_all() {
    let (link, client) = device(None);
    let serving = serve(&link);
    let client = Client::open(&client).unwrap();
    let expected: Status = serde_json::from_slice(status().bytes()).unwrap();
    assert!(expected.counters.add_up());
    for (site, name, found) in [
        (None, None, 1),
        (Some("lab"), Some("camera"), 1),
        (Some("lab"), Some("other"), 0),
    ] {
        let statuses = client.statuses(site, name, DEADLINE).unwrap();
        assert_eq!(statuses, vec![expected.clone(); found]);
    }
    drop(serving);
}

#[test]
fn namespaces_keep_devices_of_one_name_apart() {
    let (link_a, client_a) = device(Some("a"));
    let (link_b, client_b) = device(Some("b"));
    let serving = (serve(&link_a), serve(&link_b));
    // One session in namespace `a` that is connected to both devices sees its own alone.
    let both = ZenohConfig {
        connect: [client_a.connect.clone(), client_b.connect.clone()].concat(),
        ..client_a
    };
    let client = Client::open(&both).unwrap();
    assert_eq!(client.statuses(None, None, DEADLINE).unwrap().len(), 1);
    drop(serving);
}

#[test]
fn a_sample_that_was_not_sent_has_one_end() {
    let (_link, client) = device(None);
    let client = Client::open(&client).unwrap();
    let feeder = client.feeder("lab", "camera", 1, DEADLINE);
    client.close();
    for _ in 0..2 {
        let error = feeder
            .send("page", "image/png", "1", b"abc".to_vec())
            .unwrap_err();
        assert!(matches!(error, LinkError::Use { .. }), "{error}");
    }
    assert_eq!(feeder.outstanding(), 0);
    assert!(feeder.next(Duration::ZERO).is_none());
}

#[test]
fn a_daemon_that_is_not_there_is_named() {
    let nowhere = ZenohConfig::default();
    assert!(matches!(Client::open(&nowhere), Err(LinkError::NoEndpoint)));
    let gone = ZenohConfig {
        connect: vec!["tcp/127.0.0.1:1".to_owned()],
        ..ZenohConfig::default()
    };
    let error = Client::open(&gone).unwrap_err();
    assert!(matches!(error, LinkError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_device_without_a_network_opens_its_session() {
    let offline = ZenohConfig {
        connect: vec!["tcp/127.0.0.1:1".to_owned()],
        ..ZenohConfig::default()
    };
    let link = Link::open(&offline, "lab", "camera").unwrap();
    let serving = serve(&link);
    link.publish(Topic::Error, "s", Classifier::host(&json!({})))
        .unwrap();
    assert_eq!(link.status().peers, 0);
    drop(serving);
    link.close();
}

#[test]
fn a_setting_that_zenoh_refuses_is_named() {
    let config = ZenohConfig {
        listen: vec!["not an endpoint".to_owned()],
        ..ZenohConfig::default()
    };
    let error = Link::open(&config, "lab", "camera").unwrap_err();
    assert!(
        matches!(
            error,
            LinkError::Setting {
                key: "listen/endpoints",
                ..
            }
        ),
        "{error}"
    );
}

/// The longest content type, attachment and key that are sent.
const LONGEST: [usize; 3] = [255, 4 << 10, 4 << 10];

/// Lengths around every limit, Hotshoe's and Zenoh's.
fn lengths() -> impl Strategy<Value = usize> {
    let borders = [
        0, 127, 128, 255, 256, 511, 512, 1_024, 4_096, 16_383, 16_384, 65_535, 65_536,
    ];
    let near = (proptest::sample::select(borders.to_vec()), 0_usize..3)
        .prop_map(|(border, more)| (border + more).saturating_sub(1));
    prop_oneof![3 => near, 1 => 0_usize..70_000]
}

/// A text of this length.
fn text(length: usize) -> String {
    "x".repeat(length)
}

/// Sent if it is short enough, and refused with a stable name if not.
fn check_length(
    sent: Result<(), LinkError>,
    bytes: usize,
    most: usize,
) -> Result<(), TestCaseError> {
    match sent {
        Ok(()) => prop_assert!(bytes <= most, "{bytes} bytes were sent"),
        Err(LinkError::TooLong { .. }) => prop_assert!(bytes > most, "{bytes} bytes were refused"),
        // A key has no empty part.
        Err(LinkError::Key { .. }) => prop_assert_eq!(bytes, 0),
        Err(error) => prop_assert!(false, "{error}"),
    }
    Ok(())
}

#[test]
fn every_header_field_is_sent_or_refused() {
    let (link, client) = device(None);
    let (sender, arrived) = channel();
    let serving = link
        .serve(
            &[],
            move |incoming, answer| {
                sender.send(incoming.source.clone()).unwrap();
                echo(&incoming, answer);
            },
            status,
        )
        .unwrap();
    let client = Client::open(&client).unwrap();
    let outputs = client.outputs(None, None, 64).unwrap();
    let feeder = client.feeder("lab", "camera", 64, DEADLINE);
    let [content_type, id, key] = LONGEST;
    let config = ProptestConfig::with_cases(96);
    proptest!(config, |(length in lengths())| {
        let long = text(length);
        let payload = || b"payload".to_vec();
        let root = "hotshoe/lab/camera/".len();
        check_length(link.send("type", "s", message(&long, payload())), length, content_type)?;
        check_length(link.send("id", &long, message("text/plain", payload())), length, id)?;
        let topic = root + "output/custom/".len() + length;
        check_length(link.send(&long, "s", message("text/plain", payload())), if length == 0 { 0 } else { topic }, key)?;
        check_length(link.publish(Topic::Insight, &long, message("text/plain", payload())), length, id)?;
        let name = if length == 0 { 0 } else { root + "input/".len() + length };
        check_length(client.put("lab", "camera", "type", &long, Some("s"), payload()), length, content_type)?;
        check_length(client.put("lab", "camera", "id", "text/plain", Some(&long), payload()), length, id)?;
        check_length(client.put("lab", "camera", &long, "text/plain", None, payload()), name, key)?;
        check_length(feeder.send("type", &long, "s", payload()), length, content_type)?;
        check_length(feeder.send("id", "text/plain", &long, payload()), length, id)?;
        check_length(feeder.send(&long, "text/plain", "s", payload()), name, key)?;
        while feeder.outstanding() > 0 {
            let fed = feeder.next(DEADLINE).expect("an answer");
            prop_assert!(fed.result.is_ok(), "{:?}", fed.result);
        }
        while feeder.next(Duration::ZERO).is_some() || arrived.try_recv().is_ok() {}
        // All messages are sent or refused: both sessions still work.
        link.send("mark", "s", message("text/plain", payload())).unwrap();
        while let Some(message) = outputs.next(DEADLINE) {
            if message.key.ends_with("/mark") {
                break;
            }
        }
    });
    assert_eq!(hotshoe_link::panics(), 0);
    drop(serving);
    client.close();
    link.close();
}

#[test]
fn a_peer_may_say_what_it_likes_in_a_header() {
    let (link, connect) = device(None);
    let serving = serve(&link);
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("connect/endpoints", json!(connect.connect)),
        ("listen/endpoints", json!([])),
        ("scouting/multicast/enabled", json!(false)),
    ] {
        config.insert_json5(key, &value.to_string()).unwrap();
    }
    let peer = zenoh::open(config).wait().unwrap();
    let client = Client::open(&connect).unwrap();
    let root = "hotshoe/lab/camera";
    for length in [255, 4_096, 16_384, 65_000] {
        let long = text(length);
        let keys = [
            format!("{root}/input/{long}"),
            format!("{root}/input/{}", "a/".repeat(length / 2) + "a"),
            format!("{root}/input/p"),
            format!("{root}/status"),
            "hotshoe/*/**/status".to_owned(),
        ];
        for key in keys {
            let schema = format!("image/png;{}", text(length.min(255)));
            let put = peer
                .put(&key, "payload")
                .encoding(Encoding::from(schema.as_str()))
                .attachment(long.as_str());
            put.wait().unwrap();
            let selector = format!("{key}?{long}");
            let replies = peer
                .get(selector)
                .payload("payload")
                .encoding(Encoding::from(schema.as_str()))
                .attachment(long.as_str())
                .timeout(DEADLINE)
                .wait()
                .unwrap();
            // What is refused ends without an answer.
            assert!(replies.iter().count() <= 1, "{key}");
        }
        let feeder = client.feeder("lab", "camera", 1, DEADLINE);
        feeder.send("page", "image/png", "after", vec![1]).unwrap();
        assert!(feeder.next(DEADLINE).unwrap().result.is_ok());
    }
    assert_eq!(hotshoe_link::panics(), 0);
    drop(serving);
}
