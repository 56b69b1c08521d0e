//! Statements of a site: what devices should run, and trust.
#![no_main]

use std::sync::LazyLock;

use hotshoe_trust::{Envelope, Signatures, SigningKey, Time, TrustRoot, read_statement};
use libfuzzer_sys::fuzz_target;

static ROOT: LazyLock<TrustRoot> = LazyLock::new(|| {
    let key = SigningKey::generate()
        .and_then(|key| key.public_key())
        .expect("a key");
    let text = format!(
        "version = 1\nthreshold = 1\n\n{}",
        TrustRoot::key_entry("a", &key, &["*"])
    );
    TrustRoot::parse(&text).expect("a root")
});

fuzz_target!(|data: &[u8]| {
    let now: Time = "2026-01-01T00:00:00Z".parse().expect("a time");
    let envelope = match Envelope::parse(data) {
        Ok(envelope) => {
            let again =
                Envelope::parse(&envelope.to_bytes()).expect("what was written can be read");
            assert_eq!(again, envelope);
            envelope
        }
        // The statement alone, which the fuzzer would seldom wrap into an envelope.
        Err(_) => Envelope {
            statement: String::from_utf8_lossy(data).into_owned(),
            bundles: Vec::new(),
        },
    };
    let required = read_statement(&envelope, "site", Signatures::Required(&ROOT), None, now);
    assert!(required.is_err(), "no signer has that key");
    let _ = read_statement(&envelope, "site", Signatures::Optional(&ROOT), None, now);
});
