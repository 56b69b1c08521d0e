//! A file of the audit log, as another machine may have changed it.
#![no_main]

use hotshoe_audit::{Expected, Segment, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let segment = Segment {
        name: "00000000000000000001.jsonl".to_owned(),
        bytes: bytes.to_vec(),
    };
    let checked = check(&[segment], None, &Expected::default());
    assert!(checked.findings.len() as u64 <= checked.found);
    if let (0, Some(first), Some(head)) = (checked.found, checked.first, checked.head) {
        assert_eq!(head.sequence - first + 1, checked.records);
    }
});
