//! Batches of outboxes, which any device of a site can send to a collector, and the acknowledgements that come back.
#![no_main]

use std::sync::LazyLock;

// The files alone: with their crates, Zenoh and SQLite would be built with instrumentation.
extern crate self as hotshoe_protocol;

#[allow(dead_code, reason = "it uses a part of it")]
#[path = "../../../host/collect/src/batch.rs"]
mod batch;
#[path = "../../../host/protocol/src/outbox.rs"]
pub mod outbox;

use batch::{ReceivedBatch, ReceivedItem};
use hotshoe_trust::{Digest, Signatures, SigningKey, TrustRoot};
use libfuzzer_sys::fuzz_target;
use outbox::{Acknowledgement, Batch};

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

/// What a store relies on.
fn check(batch: &ReceivedBatch) {
    assert_eq!(batch.instance.len(), 32);
    assert!(batch.items.len() <= 65_536);
    for item in &batch.items {
        let (source, from, to) = item.range();
        assert!((1..=128).contains(&source.len()) && !source.contains('\n'));
        assert!(1 <= from && from <= to && i64::try_from(to).is_ok());
        if let ReceivedItem::Record(record) = item {
            assert_eq!(record.digest, Digest::of(&record.payload));
            assert!(i64::try_from(record.wall_ms).is_ok());
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(batch) = serde_json::from_slice::<Batch>(data) else {
        return;
    };
    if let Ok(received) = ReceivedBatch::try_from(&batch) {
        check(&received);
        // What goes back over the wire is the same.
        let again = serde_json::to_vec(&batch).expect("JSON");
        let again = serde_json::from_slice::<Batch>(&again).expect("a batch");
        assert_eq!(ReceivedBatch::try_from(&again).as_ref(), Ok(&received));
    }
    // Its own bytes in the place of an answer, and an answer to it.
    let read = |answer: &[u8], signatures| Acknowledgement::read(answer, data, &batch, signatures);
    assert!(read(data, Signatures::Optional(&ROOT)).is_err());
    let own = Acknowledgement {
        site: batch.site.clone(),
        device: batch.device.clone(),
        instance: batch.instance.clone(),
        batch: Digest::of(data).hex(),
        acknowledged: Vec::new(),
    };
    let bytes = own.to_bytes(None).expect("no key is needed");
    assert!(
        read(&bytes, Signatures::Required(&ROOT)).is_err(),
        "unsigned"
    );
    if bytes.len() < 1 << 16 {
        let answer = read(&bytes, Signatures::Optional(&ROOT));
        assert_eq!(answer.ok(), Some(own));
    }
});
