//! Evictions that can be taken back.

use crate::record::{Loss, LossCause};

use super::{HeldLoss, Index, Live, trimmed};

/// A record that made room for others, as long as it is not known whether these can be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evicted {
    source: u32,
    sequence: u64,
    live: Live,
}

impl Index {
    /// Replaces a record by a loss that can be taken back.
    pub(crate) fn evict(&mut self, source: u32, sequence: u64) -> Option<Evicted> {
        let live = *self.source(source)?.live.get(&sequence)?;
        self.lose_record(source, sequence, LossCause::Evicted);
        Some(Evicted {
            source,
            sequence,
            live,
        })
    }

    /// Takes an eviction back. What is left of its loss is written again.
    pub(crate) fn put_back(&mut self, evicted: Evicted) {
        let Evicted {
            source,
            sequence,
            live,
        } = evicted;
        let Some(of) = self.sources.get_mut(source as usize) else {
            return;
        };
        let before = of.losses.range(..=sequence).next_back();
        let first = before.map_or(sequence, |(&first, _)| first);
        if let Some(HeldLoss { loss, .. }) = of.losses.remove(&first) {
            self.unwritten.remove(&(source, first));
            let left = Loss {
                count: loss.count.saturating_sub(1),
                bytes: loss.bytes.saturating_sub(u64::from(live.payload)),
                ..loss
            };
            let sides = [(left.from, sequence - 1), (sequence + 1, left.to)];
            for (from, to) in sides.into_iter().filter(|(from, to)| from <= to) {
                let side = Loss {
                    from,
                    to,
                    ..left.clone()
                };
                if let Some(loss) = trimmed(side, &of.acknowledged) {
                    self.unwritten.insert((source, loss.from));
                    let held = HeldLoss {
                        loss,
                        durable: false,
                        sent: false,
                    };
                    of.losses.insert(held.loss.from, held);
                }
            }
        }
        if let Some(lost) = self.lost.get_mut(&LossCause::Evicted) {
            *lost = lost.saturating_sub(1);
        }
        self.insert(source, sequence, live);
    }
}
