//! Statements: received by current and by late subscribers, and bounded under a flood.

use std::sync::mpsc::channel;
use std::time::Duration;

use hotshoe_delivery::DeliveryConfig;
use hotshoe_egress::Classifier;
use hotshoe_link::{Link, MAX_STATEMENT_MESSAGE, Notice, OrderError};
use serde_json::json;

use crate::support::{
    DEADLINE, Deployer, Device, SITE, connecting, listening, noise, publisher, until,
};

#[test]
fn a_late_joiner_hears_what_was_said_before() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(21, 1_000));
    let publisher = publisher(&listening(), &made);
    publisher
        .publish_statement("ocr", b"the statement".to_vec())
        .unwrap();
    publisher.update_trust(b"the update".to_vec()).unwrap();
    let late = Link::open(&connecting(&publisher.locators()), SITE, "camera").unwrap();
    let (sender, heard) = channel();
    let trusted = sender.clone();
    let _desired = late
        .desired(move |said| sender.send((said.name, said.bytes)).unwrap())
        .unwrap();
    assert_eq!(
        heard.recv_timeout(DEADLINE).unwrap(),
        ("ocr".to_owned(), b"the statement".to_vec())
    );
    let _trust = late
        .trust_updates(move |bytes| trusted.send((String::new(), bytes)).unwrap())
        .unwrap();
    until("the update is heard", || {
        heard.recv_timeout(DEADLINE).unwrap().1 == b"the update"
    });
    // And later messages.
    publisher
        .publish_statement("ocr", b"the next".to_vec())
        .unwrap();
    until("the next is heard", || {
        heard.recv_timeout(DEADLINE).unwrap().1 == b"the next"
    });
}

#[test]
fn a_publisher_that_comes_late_is_asked() {
    let device = Device::new("camera", &listening(), DeliveryConfig::default());
    let (sender, heard) = channel();
    let _watch = device
        .link
        .desired(move |said| sender.send(said.bytes).unwrap())
        .unwrap();
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(22, 1_000));
    let publisher = publisher(&connecting(&device.locators()), &made);
    publisher
        .publish_statement("ocr", b"late".to_vec())
        .unwrap();
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), b"late");
}

#[test]
fn a_flood_of_statements_is_bounded_and_counted() {
    let device = Device::new("camera", &listening(), DeliveryConfig::default());
    let (sender, heard) = channel();
    let (entered, busy) = channel();
    let (go, gate) = channel::<()>();
    let watch = device
        .link
        .desired(move |said| {
            let _ = entered.send(());
            // The first one blocks the thread until the flood is over.
            let _ = gate.recv_timeout(DEADLINE);
            let _ = sender.send(said.name);
        })
        .unwrap();
    // Dropped before the subscription, which waits for its thread.
    let go = go;
    let flood = hotshoe_link::Site::open(&connecting(&device.locators()), SITE).unwrap();
    let publish = |name: &str, bytes: &[u8]| flood.publish(Notice::Desired, name, bytes).unwrap();
    // Messages are lost until the sessions are connected.
    until("the watch is busy", || {
        publish("hello", b"{}");
        busy.try_recv().is_ok()
    });
    publish("large", &vec![b' '; MAX_STATEMENT_MESSAGE + 1]);
    for i in 0..400 {
        publish(&format!("n{i}"), b"{}");
    }
    for i in 0..20 {
        publish("n0", i.to_string().as_bytes());
    }
    // The large one, all names but 64, and of one name all but 16 of 21.
    until("the flood is thrown away", || {
        watch.dropped() >= 1 + 336 + 5
    });
    drop(go);
    let names: Vec<String> =
        std::iter::from_fn(|| heard.recv_timeout(Duration::from_secs(1)).ok()).collect();
    // The first, and 64 names, of one of which 16 statements waited.
    assert!((64..=1 + 63 + 16).contains(&names.len()), "{}", names.len());
    assert!(!names.contains(&"large".to_owned()));
    flood.close();
}

#[test]
fn devices_are_found_and_take_orders_and_tell() {
    let device = Device::new("camera", &listening(), DeliveryConfig::default());
    let _serving = device
        .link
        .serve(&[], |_, _| {}, || Classifier::host(&json!({})))
        .unwrap();
    let _orders = device
        .link
        .orders(|order| match order.as_slice() {
            b"go" => Ok(br#"{"gone":true}"#.to_vec()),
            _ => Err(br#"{"name":"unknown","message":"what?"}"#.to_vec()),
        })
        .unwrap();
    let client = hotshoe_link::Client::open(&connecting(&device.locators())).unwrap();
    let devices = client.devices(Some(SITE), DEADLINE).unwrap();
    assert_eq!(devices.len(), 1);
    assert_eq!(
        (devices[0].site.as_str(), devices[0].device.as_str()),
        (SITE, "camera")
    );
    let done = client.order(SITE, "camera", b"go", DEADLINE).unwrap();
    assert_eq!(done, json!({"gone": true}));
    let error = client.order(SITE, "camera", b"stay", DEADLINE).unwrap_err();
    assert_eq!(
        (error.name(), error.to_string().contains("what?")),
        ("unknown", true)
    );
    let error = client.order(SITE, "nobody", b"go", DEADLINE).unwrap_err();
    assert!(matches!(error, OrderError::NoReply { .. }), "{error}");
    let large = vec![b' '; 2 << 20];
    let error = client.order(SITE, "camera", &large, DEADLINE).unwrap_err();
    assert_eq!(error.name(), "too_large");
    let events = client.events(SITE, None, 16).unwrap();
    let mut number = 0;
    until("an event is heard", || {
        number += 1;
        let event = Classifier::host(&json!({"n": number}));
        device.link.publish_event(event).unwrap();
        events
            .next(Duration::from_millis(100))
            .is_some_and(|e| e["n"].is_u64())
    });
}
