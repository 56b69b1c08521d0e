//! Sets of sequences, as ranges.

use std::collections::BTreeMap;

/// A set of sequences, as ranges that neither touch nor overlap, first to last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `from..=to`.
    pub fn insert(&mut self, mut from: u64, mut to: u64) {
        if from > to {
            return;
        }
        if let Some((&before, &end)) = self.0.range(..=from).next_back()
            && end.saturating_add(1) >= from
        {
            from = before;
            to = to.max(end);
        }
        while let Some((&next, &end)) = self.0.range(from..=to.saturating_add(1)).next() {
            self.0.remove(&next);
            to = to.max(end);
        }
        self.0.insert(from, to);
    }

    /// Whether all of `from..=to` is in it.
    pub(crate) fn covers(&self, from: u64, to: u64) -> bool {
        let found = self.0.range(..=from).next_back();
        found.is_some_and(|(_, &end)| end >= to)
    }

    pub(crate) fn contains(&self, at: u64) -> bool {
        self.covers(at, at)
    }

    /// What of `from..=to` is not in it.
    pub fn missing(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let (mut at, mut missing) = (from, Vec::new());
        let first = self
            .0
            .range(..=from)
            .next_back()
            .map_or(from, |(&it, _)| it);
        for (&start, &end) in self.0.range(first..) {
            if start > to || at > to {
                break;
            }
            if start > at {
                missing.push((at, start - 1));
            }
            at = at.max(end.saturating_add(1));
        }
        if at <= to {
            missing.push((at, to));
        }
        missing
    }

    /// First and last sequences, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(&from, &to)| (from, to))
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut all = Self::default();
        for (from, to) in ranges {
            all.insert(from, to);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let all: Ranges = [(5, 6), (1, 2), (3, 4), (9, 8), (10, 12)]
            .into_iter()
            .collect();
        assert_eq!(all.iter().collect::<Vec<_>>(), [(1, 6), (10, 12)]);
        assert_eq!(all.missing(4, 14), [(7, 9), (13, 14)]);
        assert_eq!(all.missing(2, 5), []);
        assert!(all.covers(1, 6) && !all.covers(6, 7) && all.contains(12) && !all.contains(9));
    }

    proptest! {
        #[test]
        fn they_are_what_a_set_of_numbers_is(
            given in prop::collection::vec((0u64..60, 0u64..6), 0..20), from in 0u64..70, more in 0u64..20
        ) {
            let numbers: BTreeSet<u64> = given.iter().flat_map(|&(at, len)| at..=at + len).collect();
            let all: Ranges = given.iter().map(|&(at, len)| (at, at + len)).collect();
            let listed: Vec<(u64, u64)> = all.iter().collect();
            prop_assert!(listed.windows(2).all(|pair| matches!(pair, [a, b] if a.1 + 1 < b.0)));
            let of_ranges: BTreeSet<u64> = listed.iter().flat_map(|&(from, to)| from..=to).collect();
            prop_assert_eq!(&of_ranges, &numbers);
            let to = from + more;
            let within = numbers.range(from..=to).count() as u64;
            let missing: Vec<u64> = all.missing(from, to).into_iter().flat_map(|(a, b)| a..=b).collect();
            let expected: Vec<u64> = (from..=to).filter(|it| !numbers.contains(it)).collect();
            prop_assert_eq!(missing, expected);
            prop_assert_eq!(all.covers(from, to), within == more + 1);
        }
    }
}
