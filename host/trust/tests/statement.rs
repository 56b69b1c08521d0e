//! Statements: what is followed, and each reason why not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{NOW, time, trust};
use hotshoe_trust::{
    Device, DeviceSelector, Digest, Envelope, MAX_ENVELOPE_BYTES, MAX_STATEMENT_BUNDLES,
    MAX_STATEMENT_BYTES, Order, ReadStatement, Signatures, SigningKey, Statement, StatementError,
    Time, TrustRoot, read_statement,
};
use proptest::prelude::*;

fn key() -> SigningKey {
    SigningKey::generate().unwrap()
}

fn statement() -> Statement {
    Statement {
        site: "lab".into(),
        devices: DeviceSelector {
            names: vec!["cam-*".into()],
            labels: [("line".into(), "a".into())].into(),
        },
        order: Order::Deploy {
            release: Digest::of(b"manifest"),
            name: "ocr".into(),
            generation: 7,
            bundles: vec![Digest::of(b"bundle")],
            activate: true,
        },
        issued: time("2026-05-30T00:00:00Z"),
        expires: time("2026-06-30T00:00:00Z"),
    }
}

fn signed(statement: &Statement, keys: &[&SigningKey]) -> Envelope {
    let mut envelope = Envelope::new(statement).unwrap();
    for key in keys {
        envelope.sign(key).unwrap();
    }
    // As it arrives.
    Envelope::parse(&envelope.to_bytes()).unwrap()
}

fn read(
    envelope: &Envelope,
    signatures: Signatures<'_>,
    clock_floor: Option<Time>,
) -> Result<ReadStatement, StatementError> {
    read_statement(envelope, "lab", signatures, clock_floor, time(NOW))
}

#[track_caller]
fn refused(envelope: &Envelope, signatures: Signatures<'_>, name: &str) -> StatementError {
    let error = read(envelope, signatures, None).unwrap_err();
    assert_eq!(error.name(), name, "{error}: {error:?}");
    error
}

/// A statement that is signed well, and still not followed.
#[track_caller]
fn refused_though_signed(change: impl FnOnce(&mut Statement), name: &str) {
    let key = key();
    let mut statement = statement();
    change(&mut statement);
    // Not by `Envelope::new`, which refuses to write some of them.
    let mut envelope = Envelope {
        statement: serde_json::to_string(&statement).unwrap(),
        bundles: vec![],
    };
    envelope.sign(&key).unwrap();
    refused(&envelope, Signatures::Required(&trust(1, &[&key])), name);
}

/// A trust root whose one key may only sign releases called `other`.
fn trust_for_another_name(key: &SigningKey) -> TrustRoot {
    let entry = TrustRoot::key_entry("o", &key.public_key().unwrap(), &["other"]);
    TrustRoot::parse(&format!("threshold = 1\n{entry}")).unwrap()
}

#[test]
fn a_signed_statement_is_followed_with_its_signers() {
    let (a, b) = (key(), key());
    // One key is enough, even where a release needs two.
    let trust = trust(2, &[&a, &b]);
    for (keys, names) in [(vec![&b], vec!["b"]), (vec![&b, &a, &a], vec!["a", "b"])] {
        let envelope = signed(&statement(), &keys);
        for signatures in [Signatures::Required(&trust), Signatures::Optional(&trust)] {
            let followed = read(&envelope, signatures, None).unwrap();
            assert_eq!(followed.signers(), names);
            assert_eq!(followed.order.name(), "ocr");
            assert_eq!(followed.into_inner(), statement());
        }
    }
}

#[test]
fn an_unsigned_statement_is_followed_where_that_is_enough() {
    let trust = trust(1, &[&key()]);
    let envelope = signed(&statement(), &[]);
    let followed = read(&envelope, Signatures::Optional(&trust), None).unwrap();
    assert!(followed.signers().is_empty());
    refused(
        &envelope,
        Signatures::Required(&trust),
        "unsigned_statement",
    );
}

#[test]
fn a_bad_signature_is_refused_even_where_none_is_needed() {
    let (own, stranger) = (key(), key());
    let trust = trust(1, &[&own]);
    for signatures in [Signatures::Required(&trust), Signatures::Optional(&trust)] {
        refused(
            &signed(&statement(), &[&stranger]),
            signatures,
            "unknown_signer",
        );
        let mut changed = signed(&statement(), &[&own]);
        changed.statement = changed
            .statement
            .replace("\"generation\":7", "\"generation\":8");
        refused(&changed, signatures, "bad_signature");
        let mut rubbish = signed(&statement(), &[]);
        rubbish.bundles.push("{}".into());
        refused(&rubbish, signatures, "unreadable_bundle");
        refused(
            &signed(&statement(), &[&own]),
            Signatures::Required(&trust_for_another_name(&own)),
            "signer_not_allowed",
        );
    }
    // A stranger's signature beside a good one takes nothing away.
    let both = signed(&statement(), &[&stranger, &own]);
    let followed = read(&both, Signatures::Required(&trust), None).unwrap();
    assert_eq!(followed.signers(), ["a"]);
}

#[test]
fn a_release_signed_by_a_key_is_no_statement_by_it() {
    let key = key();
    let package = common::unsigned(&common::release());
    let bundle = key.sign_bundle(&package.manifest).unwrap();
    let envelope = Envelope {
        statement: String::from_utf8(package.manifest).unwrap(),
        bundles: vec![String::from_utf8(bundle).unwrap()],
    };
    refused(
        &envelope,
        Signatures::Required(&trust(1, &[&key])),
        "unknown_key",
    );
}

#[test]
fn signed_statements_that_are_not_followed() {
    refused_though_signed(|s| s.site = "other".into(), "wrong_site");
    refused_though_signed(|s| s.expires = time(NOW), "statement_expired");
    refused_though_signed(
        |s| s.issued = time("2026-06-01T00:05:01Z"),
        "statement_from_future",
    );
    refused_though_signed(
        |s| s.expires = time("2026-08-28T00:00:01Z"),
        "statement_too_long_lived",
    );
    refused_though_signed(|s| s.expires = s.issued, "invalid_statement");
    refused_though_signed(|s| s.devices.names.push("[".into()), "invalid_statement");
    refused_though_signed(
        |s| s.devices.names.push("x".repeat(257)),
        "invalid_statement",
    );
    refused_though_signed(
        |s| s.devices.names = vec!["x".into(); 65],
        "invalid_statement",
    );
    let named = |name: &str| {
        let name = name.to_owned();
        move |s: &mut Statement| {
            let release = s.order.release();
            s.order = Order::Cancel { release, name };
        }
    };
    refused_though_signed(named("../ocr"), "invalid_statement");
    refused_though_signed(named("demo"), "signer_not_allowed");
    refused_though_signed(
        |s| match &mut s.order {
            Order::Deploy { bundles, .. } => *bundles = vec![Digest::of(b""); 33],
            _ => unreachable!(),
        },
        "too_many_bundles",
    );
}

#[test]
fn a_clock_that_is_a_little_behind_still_follows() {
    let trust = trust(1, &[&key()]);
    let mut late = statement();
    late.issued = time("2026-06-01T00:05:00Z");
    read(&signed(&late, &[]), Signatures::Optional(&trust), None).unwrap();
}

#[test]
fn a_clock_set_back_follows_nothing() {
    let trust = trust(1, &[&key()]);
    let envelope = signed(&statement(), &[]);
    let at = |floor| read(&envelope, Signatures::Optional(&trust), Some(time(floor)));
    at("2026-06-01T00:05:00Z").unwrap();
    let error = at("2026-06-01T00:05:01Z").unwrap_err();
    assert_eq!(error.name(), "clock_backwards");
}

#[test]
fn every_order_reads_back() {
    let (release, name) = (Digest::of(b"manifest"), "ocr".to_owned());
    let (n1, n2, n3) = (name.clone(), name.clone(), name.clone());
    let trust = trust(1, &[&key()]);
    for (order, kind) in [
        (statement().order, "deploy"),
        (Order::Activate { release, name }, "activate"),
        (Order::Cancel { release, name: n1 }, "cancel"),
        (Order::Rollback { release, name: n2 }, "rollback"),
        (Order::Retry { release, name: n3 }, "retry"),
    ] {
        let statement = Statement {
            order,
            ..statement()
        };
        let envelope = signed(&statement, &[]);
        assert!(
            envelope
                .statement
                .contains(&format!("\"order\":{{\"{kind}\":"))
        );
        let back = read(&envelope, Signatures::Optional(&trust), None).unwrap();
        assert_eq!((back.order.kind(), back.order.release()), (kind, release));
        assert_eq!(*back, statement);
    }
}

#[test]
fn what_is_too_large_or_too_open_is_refused() {
    let parse = |text: &str| Envelope::parse(text.as_bytes()).unwrap_err().name();
    assert_eq!(parse("{"), "malformed");
    assert_eq!(parse("[]"), "malformed");
    assert_eq!(parse(r#"{"statement":"","extra":1}"#), "unknown_key");
    assert_eq!(parse(r#"{"statement":"","statement":""}"#), "duplicate_key");
    assert_eq!(
        parse(&" ".repeat(MAX_ENVELOPE_BYTES as usize + 1)),
        "too_large"
    );
    let long = "x".repeat(MAX_STATEMENT_BYTES as usize + 1);
    assert_eq!(parse(&format!(r#"{{"statement":"{long}"}}"#)), "too_large");
    let bundles = vec!["{}"; MAX_STATEMENT_BUNDLES as usize + 1].join("\",\"");
    let many = format!(r#"{{"statement":"","bundles":["{bundles}"]}}"#);
    assert_eq!(parse(&many), "too_many_bundles");

    let trust = trust(1, &[&key()]);
    let text = |from: &str, to: &str| {
        let mut envelope = signed(&statement(), &[]);
        assert!(envelope.statement.contains(from), "{}", envelope.statement);
        envelope.statement = envelope.statement.replacen(from, to, 1);
        envelope
    };
    for (from, to, name) in [
        (
            "\"site\":\"lab\"",
            "\"site\":\"lab\",\"site\":\"lab\"",
            "duplicate_key",
        ),
        (
            "\"site\":\"lab\"",
            "\"site\":\"lab\",\"more\":1",
            "unknown_key",
        ),
        ("\"deploy\":{", "\"deploy\":{\"more\":1,", "unknown_key"),
        ("\"deploy\"", "\"destroy\"", "unknown_key"),
        ("\"generation\":7", "\"generation\":-7", "malformed"),
        ("sha256:", "sha512:", "malformed"),
    ] {
        refused(&text(from, to), Signatures::Optional(&trust), name);
    }
}

#[test]
fn a_selector_says_whom_it_means() {
    let device = |name: &str, line: Option<&str>| Device {
        name: name.into(),
        site: "lab".into(),
        labels: line
            .map(|line| ("line".into(), line.into()))
            .into_iter()
            .collect(),
    };
    let selector = statement().devices;
    selector.matches(&device("cam-1", Some("a"))).unwrap();
    for (device, why) in [
        (device("arm-1", Some("a")), "its name matches none of"),
        (device("cam-1", Some("b")), "label `line` is `b`, not `a`"),
        (device("cam-1", None), "it has no label `line`"),
    ] {
        let reason = selector.matches(&device).unwrap_err();
        assert!(reason.contains(why), "{reason}");
    }
    DeviceSelector::default()
        .matches(&device("x", None))
        .unwrap();
}

proptest! {
    #[test]
    fn any_envelope_is_read_or_refused(bytes: Vec<u8>, text: String, bundles: Vec<String>) {
        _ = Envelope::parse(&bytes);
        let envelope = Envelope { statement: text, bundles };
        let trust = trust(1, &[&key()]);
        prop_assert!(read(&envelope, Signatures::Optional(&trust), None).is_err());
        if envelope.bundles.len() as u64 <= MAX_STATEMENT_BUNDLES {
            prop_assert_eq!(Envelope::parse(&envelope.to_bytes()).unwrap(), envelope);
        }
    }

    #[test]
    fn a_statement_reads_back(
        site: String, names in prop::collection::vec("[a-z*?-]{1,8}", 0..4),
        labels in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
        name in "[a-z0-9]{1,20}", generation: u64, activate: bool, hours in 1..2160_i64
    ) {
        let issued = time("2026-05-30T00:00:00Z");
        let now = issued + jiff::SignedDuration::from_secs(1);
        let order = Order::Deploy { release: Digest::of(b"m"), name, generation, bundles: vec![], activate };
        let statement = Statement {
            devices: DeviceSelector { names, labels }, order, issued,
            expires: issued + jiff::SignedDuration::from_hours(hours), site: site.clone(),
        };
        let envelope = signed(&statement, &[]);
        let trust = trust(1, &[&key()]);
        let read = read_statement(&envelope, &site, Signatures::Optional(&trust), None, now);
        prop_assert_eq!(read.unwrap().into_inner(), statement);
    }
}
