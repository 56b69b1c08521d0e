//! A Sigstore bundle, before anything is known of its signer.
#![no_main]

use std::sync::LazyLock;

use hotshoe_trust::{SigningKey, check_bundle, verify_blob};
use libfuzzer_sys::fuzz_target;

const BLOB: &[u8] = b"what is signed";
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("a key"));

fuzz_target!(|data: &[u8]| {
    let _ = check_bundle(BLOB, data);
    assert!(
        verify_blob(BLOB, data, &KEY.public_key().expect("a key")).is_err(),
        "no signer has that key"
    );
});
