//! NumPy archives, which samples of tensors come in, and which recordings and self-tests are kept in.
#![no_main]

use hotshoe_infer::npz::{self, Limits};
use libfuzzer_sys::fuzz_target;

/// Small, so that an archive that inflates is seen to stop.
const LIMITS: Limits = Limits {
    arrays: 16,
    bytes: 1 << 20,
};

fuzz_target!(|data: &[u8]| {
    if let Ok(array) = npz::read_array(data) {
        assert!(array.byte_len() <= data.len());
    }
    let Ok(arrays) = npz::read(data, LIMITS) else {
        return;
    };
    assert!(arrays.len() <= LIMITS.arrays);
    let bytes: usize = arrays.iter().map(|(_, array)| array.byte_len()).sum();
    assert!(bytes as u64 <= LIMITS.bytes);
    let written = npz::to_bytes(&arrays).expect("what was read can be written");
    let again = npz::read(&written, LIMITS).expect("what was written can be read");
    assert_eq!(arrays.len(), again.len());
    for ((name, array), (same_name, same)) in arrays.iter().zip(&again) {
        assert_eq!(name, same_name);
        assert_eq!((array.shape(), array.bytes()), (same.shape(), same.bytes()));
    }
});
