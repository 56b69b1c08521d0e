//! `trust.toml`: a new one travels as a statement of rotation.
#![no_main]

use hotshoe_trust::TrustRoot;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(root) = TrustRoot::parse(text) {
        assert!((1..=root.keys().count()).contains(&root.threshold()));
    }
});
