//! A release's manifest and its JSON, as a device reads them once the signatures are good.
#![no_main]

use hotshoe_trust::manifest::Manifest;
use hotshoe_trust::{Release, ReleaseLimits, strict_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::parse(data) {
        let written = manifest.to_bytes().expect("what was read can be written");
        let again = Manifest::parse(&written).expect("what was written can be read");
        assert_eq!(again.to_bytes().expect("as before"), written);
        // Of itself it says the wrong thing, but it must say it without a panic.
        let _ = manifest.check_config(data);
    }
    let Ok(release) = strict_json::parse::<Release>(data, ReleaseLimits::CONFIG_BYTES) else {
        return;
    };
    if release.validate().is_ok() {
        let manifest = Manifest::of(&release, data);
        manifest.check_config(data).expect("its own config");
        manifest.check_layers(&release).expect("its own layers");
    }
});
