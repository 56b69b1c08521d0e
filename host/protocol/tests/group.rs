//! Several objects in one reply: what is written is read, and anything else is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use hotshoe_protocol::group::{MAX_HEADER_BYTES, header, parse};
use hotshoe_protocol::wire::MAX_ASKED;
use hotshoe_trust::Digest;
use proptest::prelude::*;

/// A reply with these objects, some of them marked as compressed.
fn reply(objects: &[(bool, Vec<u8>)]) -> Vec<u8> {
    let list: Vec<_> = objects
        .iter()
        .map(|(zstd, bytes)| (Digest::of(bytes), *zstd, bytes.len()))
        .collect();
    let mut reply = header(&list);
    for (_, bytes) in objects {
        reply.extend(bytes);
    }
    reply
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        objects in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..99)), 0..=MAX_ASKED)
    ) {
        let reply = reply(&objects);
        let parts = parse(&reply).unwrap();
        prop_assert_eq!(parts.len(), objects.len());
        for (part, (zstd, bytes)) in parts.iter().zip(&objects) {
            prop_assert_eq!(part.digest, Digest::of(bytes));
            prop_assert_eq!(part.zstd, *zstd);
            prop_assert_eq!(&reply[part.range.clone()], bytes);
        }
    }

    #[test]
    fn a_reply_of_another_length_is_refused(
        objects in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..99)), 1..9),
        cut in any::<prop::sample::Index>()
    ) {
        let mut reply = reply(&objects);
        prop_assert_eq!(parse(&reply[..cut.index(reply.len())]), None);
        reply.push(0);
        prop_assert_eq!(parse(&reply), None);
    }

    #[test]
    fn any_bytes_are_refused_or_within_the_reply(bytes in prop::collection::vec(any::<u8>(), 0..999)) {
        for mut bytes in [bytes.clone(), [vec![1, 1], bytes].concat()] {
            if let Some(form) = bytes.get_mut(34) {
                *form &= 1;
            }
            let mut at = None;
            for part in parse(&bytes).into_iter().flatten() {
                prop_assert!(at.is_none_or(|at| at == part.range.start));
                prop_assert!(part.range.start <= part.range.end && part.range.end <= bytes.len());
                at = Some(part.range.end);
            }
            prop_assert!(at.is_none_or(|at| at == bytes.len()));
        }
    }
}

#[test]
fn no_header_lists_more_objects_than_a_request() {
    let many = vec![(Digest::of(b""), false, 0); MAX_ASKED + 1];
    let most = header(&many);
    assert_eq!(most.len(), MAX_HEADER_BYTES);
    assert_eq!(parse(&most).unwrap().len(), MAX_ASKED);
    let mut beyond = most;
    beyond[1] += 1;
    beyond.extend([0; 37]);
    assert_eq!(parse(&beyond), None);
}
