//! From one `trust.toml` to the next.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use hotshoe_trust::{
    MAX_TRUST_BYTES, NewTrust, RotationError, SigningKey, TrustError, TrustRoot, TrustUpdate,
    rotate,
};
use proptest::prelude::*;

fn key() -> SigningKey {
    SigningKey::generate().unwrap()
}

/// A `trust.toml` with these keys under the names a, b, c, ..., each of which may sign anything.
fn text(version: u64, threshold: usize, keys: &[&SigningKey]) -> String {
    let entry = |(key, name): (&&SigningKey, char)| {
        TrustRoot::key_entry(&name.to_string(), &key.public_key().unwrap(), &["*"])
    };
    let entries: String = keys.iter().zip('a'..).map(entry).collect();
    format!("version = {version}\nthreshold = {threshold}\n{entries}")
}

fn root(version: u64, threshold: usize, keys: &[&SigningKey]) -> TrustRoot {
    TrustRoot::parse(&text(version, threshold, keys)).unwrap()
}

fn signed(text: impl Into<String>, keys: &[&SigningKey]) -> TrustUpdate {
    let mut update = TrustUpdate::new(text);
    for key in keys {
        update.sign(key).unwrap();
    }
    // As it arrives.
    TrustUpdate::parse(&update.to_bytes()).unwrap()
}

#[track_caller]
fn refused(result: Result<NewTrust, RotationError>, name: &str) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.name(), name, "{error}: {error:?}");
    let source = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}; {}", source.unwrap_or_default())
}

#[test]
fn the_old_keys_and_the_new_ones_agree() {
    let (old, kept, new) = (key(), key(), key());
    let current = root(1, 2, &[&old, &kept]);
    let next = text(2, 2, &[&kept, &new]);
    // The kept key counts for both sides.
    let update = signed(next.as_str(), &[&old, &kept, &new]);
    let taken = rotate(&current, &update).unwrap();
    assert_eq!((taken.root.version(), taken.root.threshold()), (2, 2));
    assert_eq!(taken.text, next);
    assert!(taken.resets.is_empty());
    // `kept` is `b` in the current version, and `a` in the new one.
    assert_eq!(taken.signers, ["a", "b"]);
    assert_eq!(taken.new_signers, ["a", "b"]);
    for (keys, name) in [
        (vec![], "too_few_old_signatures"),
        (vec![&new], "too_few_old_signatures"),
        (vec![&kept, &new], "too_few_old_signatures"),
        (vec![&kept, &kept, &new], "too_few_old_signatures"),
        (vec![&old, &kept], "too_few_new_signatures"),
    ] {
        let result = rotate(&current, &signed(next.as_str(), &keys));
        let shown = refused(result, name);
        assert!(shown.contains("of the 2 keys needed"), "{shown}");
    }
}

#[test]
fn only_the_next_version_follows() {
    let key = key();
    for (current, next, follows) in [
        (1, 2, true),
        (7, 8, true),
        (1, 1, false),
        (2, 1, false),
        (1, 3, false),
        (u64::MAX >> 1, 1, false),
    ] {
        let update = signed(text(next, 1, &[&key]), &[&key]);
        let result = rotate(&root(current, 1, &[&key]), &update);
        if follows {
            assert_eq!(result.unwrap().root.version(), next);
        } else {
            refused(result, "not_the_next_version");
        }
    }
}

#[test]
fn a_file_without_a_version_is_the_first() {
    let key = key();
    let text = text(1, 1, &[&key]).replace("version = 1\n", "");
    let root = TrustRoot::parse(&text).unwrap();
    assert_eq!(root.version(), 1);
    assert!(root.resets().is_empty());
}

#[test]
fn a_stolen_key_is_left_out_and_its_floor_is_reset() {
    let (stolen, own) = (key(), key());
    let current = root(1, 1, &[&stolen, &own]);
    let next = text(2, 1, &[&own]) + "[reset]\nocr = 12\n\"demo.2\" = 0\n";
    let taken = rotate(&current, &signed(next.as_str(), &[&own])).unwrap();
    let resets: Vec<_> = taken.resets.into_iter().collect();
    assert_eq!(resets, [("demo.2".to_owned(), 0), ("ocr".to_owned(), 12)]);
    assert_eq!(taken.root.keys().count(), 1);

    let wrong = text(2, 1, &[&own]) + "[reset]\n\"../ocr\" = 12\n";
    assert!(matches!(
        TrustRoot::parse(&wrong),
        Err(TrustError::Reset(_))
    ));
    refused(rotate(&current, &signed(wrong, &[&own])), "invalid_trust");
}

#[test]
fn a_key_for_some_releases_changes_no_trust() {
    let (all, demo) = (key(), key());
    let demo_entry = TrustRoot::key_entry("demo", &demo.public_key().unwrap(), &["demo-*"]);
    let with = |version: u64, entry: &str| text(version, 1, &[&all]) + entry;
    let current = TrustRoot::parse(&with(1, &demo_entry)).unwrap();
    let shown = refused(
        rotate(&current, &signed(with(2, &demo_entry), &[&demo])),
        "too_few_old_signatures",
    );
    assert!(
        shown.contains("key `demo` may not change trust.toml"),
        "{shown}"
    );
    rotate(&current, &signed(with(2, &demo_entry), &[&all])).unwrap();

    // Said otherwise, it may; and a key may do nothing else.
    let root_only = demo_entry.replace("releases = [\"demo-*\"]", "releases = []\nrotates = true");
    let current = TrustRoot::parse(&with(1, &root_only)).unwrap();
    rotate(&current, &signed(with(2, &root_only), &[&demo])).unwrap();
    let signer = current.keys().find(|key| key.name() == "demo").unwrap();
    assert!(signer.rotates() && !signer.may_sign("demo-1"));
    let nothing = demo_entry.replace("releases = [\"demo-*\"]", "releases = []");
    assert!(matches!(
        TrustRoot::parse(&with(1, &nothing)),
        Err(TrustError::NoReleases { .. })
    ));
    let never = demo_entry.replace("[\"demo-*\"]", "[\"*\"]\nrotates = false");
    let current = TrustRoot::parse(&with(1, &never)).unwrap();
    let update = signed(with(2, &never), &[&demo]);
    refused(rotate(&current, &update), "too_few_old_signatures");
}

#[test]
fn a_changed_or_foreign_update_is_refused() {
    let (own, stranger) = (key(), key());
    let current = root(1, 1, &[&own]);
    let mut changed = signed(text(2, 1, &[&own]), &[&own]);
    changed.trust.push_str("\n# more");
    let shown = refused(rotate(&current, &changed), "too_few_old_signatures");
    assert!(shown.contains("does not sign these bytes"), "{shown}");
    let foreign = signed(text(2, 1, &[&stranger]), &[&stranger]);
    refused(rotate(&current, &foreign), "too_few_old_signatures");
    refused(
        rotate(&current, &signed("threshold = ", &[&own])),
        "invalid_trust",
    );
}

#[test]
fn what_is_too_large_or_too_open_is_refused() {
    let parse = |text: &str| TrustUpdate::parse(text.as_bytes()).unwrap_err().name();
    assert_eq!(parse("{"), "malformed");
    assert_eq!(parse(r#"{"trust":"","more":""}"#), "unknown_key");
    assert_eq!(parse(r#"{"trust":"","trust":""}"#), "duplicate_key");
    assert_eq!(parse(&" ".repeat((1 << 20) + 1)), "too_large");
    let long = "#".repeat(MAX_TRUST_BYTES as usize + 1);
    assert_eq!(parse(&format!(r#"{{"trust":"{long}"}}"#)), "too_large");
    let bundles = ["{}"; 33].join("\",\"");
    assert_eq!(
        parse(&format!(r#"{{"trust":"","bundles":["{bundles}"]}}"#)),
        "too_many_bundles"
    );
    let refused = TrustRoot::parse("version = 0\nthreshold = 1\n[keys]\n").unwrap_err();
    assert!(matches!(refused, TrustError::Toml(_)), "{refused}");
}

proptest! {
    #[test]
    fn any_update_is_read_or_refused(
        bytes: Vec<u8>, trust: String, bundles in prop::collection::vec(any::<String>(), 0..9)
    ) {
        _ = TrustUpdate::parse(&bytes);
        _ = TrustRoot::parse(&trust);
        let update = TrustUpdate { trust, bundles };
        prop_assert_eq!(&TrustUpdate::parse(&update.to_bytes()).unwrap(), &update);
        let name = rotate(&root(1, 1, &[&key()]), &update).unwrap_err().name();
        prop_assert_eq!(name, "too_few_old_signatures");
    }
}
