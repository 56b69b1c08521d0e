//! Sealed files, which who can write the disk may have changed: nothing opens that was not sealed with the key.
#![no_main]

use std::sync::LazyLock;

use hotshoe_sealing::{DeviceKey, read_log, unseal};
use libfuzzer_sys::fuzz_target;

/// A key that no file is sealed with.
static KEY: LazyLock<DeviceKey> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("hotshoe-fuzz-{}.key", std::process::id()));
    let key = DeviceKey::create(&path).expect("a key");
    let _ = std::fs::remove_file(path);
    key
});

fuzz_target!(|data: &[u8]| {
    assert!(unseal(&KEY, "file", data).is_err());
    assert!(read_log(&KEY, "file", data).is_err());
});
