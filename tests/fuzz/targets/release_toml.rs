//! `release.toml`, which `pack` reads.
#![no_main]

use hotshoe_trust::release_toml::ReleaseToml;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(release) = ReleaseToml::parse(text) {
        assert!(release.files().all(|file| text.len() >= file.name.len()));
    }
});
