//! The gate, refusal by refusal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{Case, case, release, sign, time, trust, unsigned};
use hotshoe_trust::{
    Blob, Device, Digest, Floor, Package, Release, ReleaseLimits, SigningKey, Step, TrustRoot,
    VerifyError, manifest::Manifest, verify_installed,
};

fn key() -> SigningKey {
    SigningKey::generate().unwrap()
}

/// Changes the passing case, and expects the refusal of this name.
#[track_caller]
fn check(name: &str, change: impl FnOnce(&mut Case, &SigningKey)) -> VerifyError {
    let key = key();
    let mut case = case(&release(), &key);
    change(&mut case, &key);
    let error = case.verify().expect_err(name);
    assert_eq!(error.name(), name, "{error}: {error:?}");
    error
}

/// Signs what `change` makes of the release itself.
fn repacked(change: impl FnOnce(&mut Release)) -> impl FnOnce(&mut Case, &SigningKey) {
    |case, key| {
        let mut release = release();
        change(&mut release);
        case.package = unsigned(&release);
        sign(&mut case.package, &[key]);
    }
}

/// Signs what `change` makes of the config's text, with a manifest that fits it.
fn config_text(from: &'static str, to: &'static str) -> impl FnOnce(&mut Case, &SigningKey) {
    move |case, key| {
        let text = String::from_utf8(case.package.config.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        case.package.config = text.replacen(from, to, 1).into_bytes();
        case.package.manifest = Manifest::of(&release(), &case.package.config)
            .to_bytes()
            .unwrap();
        sign(&mut case.package, &[key]);
    }
}

/// Signs what `change` makes of the manifest's text.
fn manifest_text(from: &'static str, to: &'static str) -> impl FnOnce(&mut Case, &SigningKey) {
    move |case, key| {
        let text = String::from_utf8(case.package.manifest.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        case.package.manifest = text.replacen(from, to, 1).into_bytes();
        sign(&mut case.package, &[key]);
    }
}

#[test]
fn a_good_release_passes() {
    let key = key();
    let case = case(&release(), &key);
    let verified = case.verify().unwrap();
    assert_eq!(*verified, release());
    assert_eq!(verified.digest(), Digest::of(&case.package.manifest));
    assert_eq!(*verified.package(), case.package);
    assert_eq!(verified.signers(), ["a"]);
}

#[test]
fn signatures() {
    check("no_bundle", |case, _| case.package.bundles.clear());
    check("unreadable_bundle", |case, _| {
        case.package.bundles[0].truncate(40)
    });
    check("unreadable_bundle", |case, _| {
        case.package.bundles[0].resize(ReleaseLimits::BUNDLE_BYTES as usize + 1, b' ')
    });
    check("unknown_signer", |case, _| {
        sign(&mut case.package, &[&key()])
    });
    check("too_many_bundles", |case, _| {
        let bundle = case.package.bundles[0].clone();
        case.package.bundles = vec![bundle; ReleaseLimits::BUNDLES as usize + 1];
    });
    check("bad_signature", |case, key| {
        case.package.bundles = vec![key.sign_bundle(b"other").unwrap()]
    });
    check("bad_signature", |case, key| {
        // The hint of the trusted key on another key's signature.
        let other = self::key();
        let bundle = String::from_utf8(other.sign_bundle(&case.package.manifest).unwrap()).unwrap();
        let hint = |key: &SigningKey| key.public_key().unwrap().hint();
        case.package.bundles = vec![bundle.replace(&hint(&other), &hint(key)).into_bytes()];
    });
    check("bad_signature", |case, _| case.package.manifest.push(b' '));
}

#[test]
fn junk_beside_a_good_signature_blocks_nothing() {
    let (owner, stranger) = (key(), key());
    let mut case = case(&release(), &owner);
    let good = case.package.bundles[0].clone();
    let hint = |key: &SigningKey| key.public_key().unwrap().hint();
    let by_stranger = stranger.sign_bundle(&case.package.manifest).unwrap();
    let text = String::from_utf8(by_stranger.clone()).unwrap();
    let forged = text.replace(&hint(&stranger), &hint(&owner)).into_bytes();
    for junk in [b"junk".to_vec(), by_stranger, forged] {
        case.package.bundles = vec![junk; ReleaseLimits::BUNDLES as usize + 1];
        case.package.bundles.push(good.clone());
        let verified = case.verify().unwrap();
        assert_eq!(verified.signers(), ["a"]);
        assert_eq!(verified.package().bundles, std::slice::from_ref(&good));
    }
    case.package.bundles = vec![b"junk".to_vec(); ReleaseLimits::BUNDLES_READ as usize + 1];
    assert_eq!(case.verify().unwrap_err().name(), "too_many_bundles");
}

#[test]
fn a_threshold_counts_keys_and_names_who_signed() {
    let keys = [key(), key(), key()];
    let mut case = case(&release(), &keys[0]);
    case.trust = trust(3, &[&keys[0], &keys[1], &keys[2]]);
    sign(&mut case.package, &[&keys[0], &keys[2]]);
    match case.verify().unwrap_err() {
        VerifyError::TooFewSignatures {
            found: 2,
            needed: 3,
            mut signers,
            refused,
        } => {
            signers.sort();
            assert_eq!(
                (signers, refused),
                (vec!["a".to_owned(), "c".to_owned()], vec![])
            );
        }
        other => panic!("{other:?}"),
    }
    // The same key again, even in a bundle that reads otherwise, counts once.
    sign(&mut case.package, &[&keys[0], &keys[2], &keys[2]]);
    case.package.bundles[2].push(b'\n');
    assert_eq!(case.verify().unwrap_err().name(), "too_few_signatures");
    // A stranger's bundle does not help, and is named.
    sign(&mut case.package, &[&keys[0], &keys[2], &key()]);
    let error = case.verify().unwrap_err();
    assert!(
        error.to_string().contains("2 of the 3") && error.to_string().contains("bundle 3"),
        "{error}"
    );
    sign(&mut case.package, &[&keys[0], &keys[1], &keys[2]]);
    assert_eq!(case.verify().unwrap().signers(), ["a", "b", "c"]);
}

#[test]
fn a_spoilt_bundle_beside_enough_good_ones_does_no_harm() {
    let key = key();
    let mut case = case(&release(), &key);
    case.package.bundles.insert(0, b"junk".to_vec());
    let verified = case.verify().unwrap();
    assert_eq!(verified.signers(), ["a"]);
    assert_eq!(
        verified.package().bundles,
        &case.package.bundles[1..],
        "the spoilt one is not kept"
    );
}

#[test]
fn a_key_signs_only_the_names_it_may() {
    let error = check("signer_not_allowed", |case, key| {
        let entry = TrustRoot::key_entry("a", &key.public_key().unwrap(), &["demo-*", "x"]);
        case.trust = TrustRoot::parse(&format!("threshold = 1\n{entry}")).unwrap();
    });
    assert!(
        error.to_string().contains("`a`") && error.to_string().contains("`ocr`"),
        "{error}"
    );
}

#[test]
fn floor_and_clock() {
    let digest = Digest::of(b"another manifest");
    check("below_floor", |case, _| {
        case.floor = Floor::none().with("ocr", 8, None)
    });
    check("same_generation", |case, _| {
        case.floor = Floor::none().with("ocr", 7, Some(digest))
    });
    check("expired", |case, _| case.now = time("2026-08-01T00:00:00Z"));
    check("not_yet_valid", |case, _| {
        case.now = time("2026-04-30T23:54:59Z")
    });
    check("clock_backwards", |case, _| {
        case.floor = Floor::none().with_clock(Some(time("2026-06-01T00:05:01Z")))
    });
}

#[test]
fn what_floor_and_clock_allow() {
    let key = key();
    let mut case = case(&release(), &key);
    let digest = Digest::of(&case.package.manifest);
    for floor in [
        Floor::none().with("ocr", 7, Some(digest)),
        Floor::none().with("ocr", 7, None),
        Floor::none().with("ocr", 6, Some(Digest::of(b"another manifest"))),
        Floor::none().with("another", 99, None),
        Floor::none().with_clock(Some(time("2026-06-01T00:05:00Z"))),
    ] {
        case.floor = floor;
        case.verify().unwrap();
    }
    case.floor = Floor::none();
    for now in ["2026-04-30T23:55:00Z", "2026-07-31T23:59:59Z"] {
        case.now = time(now);
        case.verify().unwrap();
    }
}

#[test]
fn device_and_host() {
    check("wrong_device", |case, _| {
        case.device.name = "press-1".into()
    });
    check("wrong_device", |case, _| {
        drop(case.device.labels.insert("line".into(), "b".into()))
    });
    check("wrong_device", |case, _| case.device.labels.clear());
    check("wrong_host_version", |case, _| {
        case.host = "0.0.9".parse().unwrap()
    });
}

#[test]
fn parts_of_two_releases_do_not_mix() {
    check("manifest_mismatch", |case, _| {
        let mut other = release();
        other.generation += 1;
        case.package.config = unsigned(&other).config;
    });
    // A layer too few, one too many, twice, of another size, of another kind.
    let layers: [fn(&mut Manifest, Blob); 5] = [
        |manifest, _| drop(manifest.layers.pop()),
        |manifest, more| manifest.layers[0].digest = more.digest,
        |manifest, _| manifest.layers.push(manifest.layers[0].clone()),
        |manifest, _| manifest.layers[0].size += 1,
        |manifest, _| manifest.layers[0].media_type = "text/plain".into(),
    ];
    for change in layers {
        check("manifest_mismatch", |case, key| {
            let mut manifest = Manifest::parse(&case.package.manifest).unwrap();
            change(&mut manifest, Blob::of(b"more"));
            case.package.manifest = manifest.to_bytes().unwrap();
            sign(&mut case.package, &[key]);
        });
    }
    check(
        "manifest_mismatch",
        manifest_text("hotshoe.release.v1", "hotshoe.release.v2"),
    );
    check(
        "manifest_mismatch",
        manifest_text(r#""schemaVersion":2"#, r#""schemaVersion":3"#),
    );
}

#[test]
fn text_that_could_be_read_in_two_ways() {
    let unknown = check(
        "unknown_key",
        config_text(r#""generation":7"#, r#""generation":7,"genration":8"#),
    );
    let source = std::error::Error::source(&unknown).unwrap().to_string();
    assert!(
        source.contains("`genration`") && source.contains("`generation`"),
        "{source}"
    );
    for (from, to) in [
        (r#""memory-mib""#, r#""memory-mb""#),
        (r#""world":"stage""#, r#""world":"stage","wrold":"stage""#),
        (r#""names""#, r#""name":"x","names""#),
        (r#""media-type""#, r#""mediatype":"x","media-type""#),
        (r#"{"stage":{"#, r#"{"stage":{"x":1,"#),
        (r#"{"stage":{"#, r#"{"stagee":{"#),
        (r#""grants":["#, r#""grants":["root","#),
        (r#""size":"#, r#""sizes":1,"size":"#),
    ] {
        check("unknown_key", config_text(from, to));
    }
    check(
        "unknown_key",
        manifest_text(r#""layers""#, r#""subject":{},"layers""#),
    );
    check(
        "unknown_key",
        manifest_text(r#""digest""#, r#""urls":[],"digest""#),
    );
    check(
        "duplicate_key",
        config_text(r#""generation":7"#, r#""generation":6,"generation":7"#),
    );
    check(
        "duplicate_key",
        config_text(r#""language""#, r#""lang\u0075age":"de","language""#),
    );
    check(
        "duplicate_key",
        manifest_text(r#""layers""#, r#""layers":[],"layers""#),
    );
    check(
        "malformed",
        config_text(r#""generation":7"#, r#""generation":-7"#),
    );
    check("malformed", config_text(r#""name":"ocr","#, ""));
    check("malformed", manifest_text("}]", "}]]"));
    check(
        "invalid_release",
        repacked(|release| release.pipeline.reverse()),
    );
    check(
        "invalid_release",
        repacked(|release| {
            release.pipeline.push(Step::Infer {
                model: "detect".into(),
            })
        }),
    );
}

#[test]
fn oversized_parts_are_refused_before_any_signature_is_looked_at() {
    check("too_large", |case, _| {
        case.package.bundles.clear();
        case.package
            .manifest
            .resize(ReleaseLimits::MANIFEST_BYTES as usize + 1, b' ');
    });
    check("too_large", |case, _| {
        case.package.bundles.clear();
        case.package
            .config
            .resize(ReleaseLimits::CONFIG_BYTES as usize + 1, b' ');
    });
}

#[test]
fn nothing_is_parsed_before_it_is_known_to_be_signed() {
    check("bad_signature", |case, _| {
        case.package.manifest = b"{{{".to_vec()
    });
    check("no_bundle", |case, _| {
        case.package = Package {
            manifest: b"{{{".to_vec(),
            config: b"{{{".to_vec(),
            bundles: vec![],
        };
    });
}

#[test]
fn an_installed_release_starts_offline_after_its_time() {
    let key = key();
    let case = case(&release(), &key);
    let again = |package: &Package, device: &Device, slot| {
        verify_installed(package, &case.trust, slot, device, &case.host)
            .map(|verified| verified.generation)
    };
    let slot = Digest::of(&case.package.manifest);
    assert_eq!(again(&case.package, &case.device, slot).unwrap(), 7);
    let refused = again(&case.package, &case.device, Digest::of(b"x")).unwrap_err();
    assert_eq!(refused.name(), "not_the_slot");
    let mut package = case.package.clone();
    package.bundles.clear();
    assert_eq!(
        again(&package, &case.device, slot).unwrap_err().name(),
        "no_bundle"
    );
    assert_eq!(
        again(&case.package, &Device::default(), slot)
            .unwrap_err()
            .name(),
        "wrong_device"
    );
}
