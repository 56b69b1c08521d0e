//! The last pictures, for as long as an open page needs to fetch them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Most pictures that are kept.
const MAX_PICTURES: usize = 4;
/// Time that a picture is kept: half of the shortest retention that a class of data can have, so that no picture outlives its class, and that a
/// release with a stricter contract shows no picture of the one before it for longer.
const KEPT: Duration = Duration::from_secs(30);

struct Picture {
    number: u64,
    came: Instant,
    content_type: &'static str,
    bytes: Bytes,
}

/// Pictures by number.
#[derive(Default)]
pub(crate) struct Pictures {
    kept: VecDeque<Picture>,
    next: u64,
}

impl Pictures {
    /// Keeps a picture, and returns its number.
    pub(crate) fn add(&mut self, content_type: &'static str, bytes: Bytes, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        if self.kept.len() >= MAX_PICTURES {
            self.kept.pop_front();
        }
        self.kept.push_back(Picture {
            number,
            came: now,
            content_type,
            bytes,
        });
        number
    }

    /// A picture with its media type, if it is still kept.
    pub(crate) fn find(&mut self, number: u64, now: Instant) -> Option<(&'static str, Bytes)> {
        self.expire(now);
        let found = self.kept.iter().find(|picture| picture.number == number);
        found.map(|picture| (picture.content_type, picture.bytes.clone()))
    }

    /// Removes those whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.kept
            .retain(|picture| now.saturating_duration_since(picture.came) < KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_kept_for_half_a_minute_and_four_at_most() {
        let (start, mut pictures) = (Instant::now(), Pictures::default());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        for (number, seconds) in [(0, 0), (1, 10), (2, 11), (3, 12), (4, 13)] {
            let bytes = Bytes::from(vec![number]);
            let given = pictures.add("image/png", bytes, at(seconds));
            assert_eq!(given, u64::from(number));
        }
        let first = ("image/png", Bytes::from(vec![1]));
        assert_eq!(pictures.find(0, at(13)), None);
        assert_eq!(pictures.find(1, at(39)), Some(first));
        assert_eq!(pictures.find(1, at(40)), None);
        pictures.expire(at(43));
        assert!(pictures.kept.is_empty());
        assert_eq!(pictures.add("image/png", Bytes::new(), at(43)), 5);
    }
}
