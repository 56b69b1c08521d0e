//! A stream of samples at a steady rate from several sources, and a record of the results.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use hotshoe_link::{Client, FeedError, FeedReply, Feeder, Outputs};
use hotshoe_protocol::status::Status;
use serde_json::Value;

/// Samples per second.
pub(crate) const PACE: u32 = 200;
/// Sources, which send alternately.
const SOURCES: u64 = 4;
/// Bytes of one sample.
const SAMPLE_BYTES: usize = 4096;
/// Longest time to an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// Far more samples than are ever in flight: the rate does not depend on the answers.
const IN_FLIGHT: usize = 4096;
/// The end of the key of results.
const INSIGHT: &str = "/output/insight";
/// Capacity of the message queue.
const MESSAGES: usize = 65_536;
/// After this time without a message following the last sample, no more messages are expected.
const SILENCE: Duration = Duration::from_secs(1);

/// The results of a stream.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Samples sent.
    pub samples: u64,
    /// Samples that the daemon dropped or that failed.
    pub failed: u64,
    /// Samples that a component or the plan in force left out.
    pub skipped: u64,
    /// Samples without an answer.
    unanswered: u64,
    /// When each result arrived.
    arrivals: Vec<Instant>,
    /// Sources and numbers of the published results, in order of arrival.
    published: Vec<(u64, u64)>,
}

/// A time span.
pub(crate) type Span = (Instant, Instant);

/// A running stream and a subscriber to the device's messages.
pub(crate) struct Stream<'s> {
    sending: ScopedJoinHandle<'s, anyhow::Result<Record>>,
    listening: ScopedJoinHandle<'s, Vec<(u64, u64)>>,
}

impl<'s> Stream<'s> {
    /// Starts the stream, which runs until `over` is set.
    pub(crate) fn start(
        scope: &'s Scope<'s, '_>,
        client: &'s Client,
        device: &Status,
        over: &'s AtomicBool,
    ) -> anyhow::Result<Self> {
        let (site, name) = (device.site.clone(), device.device.clone());
        let outputs = client.outputs(Some(&site), Some(&name), MESSAGES)?;
        let feeder = client.feeder(&site, &name, IN_FLIGHT, ANSWER_DEADLINE);
        Ok(Self {
            sending: scope.spawn(move || send(&feeder, over)),
            listening: scope.spawn(move || listen(&outputs, over)),
        })
    }

    /// Waits for all results after `over` was set.
    pub(crate) fn finish(self) -> anyhow::Result<Record> {
        let sent = self
            .sending
            .join()
            .map_err(|_| anyhow!("the sender panicked"))?;
        let published = self.listening.join();
        let published = published.map_err(|_| anyhow!("the subscriber panicked"))?;
        Ok(Record { published, ..sent? })
    }
}

/// Sends at a fixed rate, however long the answers take.
fn send(feeder: &Feeder, over: &AtomicBool) -> anyhow::Result<Record> {
    let mut record = Record::default();
    let mut sent: BTreeMap<String, Instant> = BTreeMap::new();
    let payload: Vec<u8> = (0..SAMPLE_BYTES).map(|at| at.to_le_bytes()[0]).collect();
    let interval = Duration::from_secs(1) / PACE;
    let mut due = Instant::now();
    while !over.load(Ordering::Acquire) {
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            if let Some(fed) = feeder.next(left) {
                record.take(&fed, sent.remove(&fed.id));
            }
            continue;
        }
        let (source, number) = (record.samples % SOURCES, record.samples / SOURCES);
        let id = format!("{source}-{number}");
        sent.insert(id.clone(), Instant::now());
        let name = format!("source-{source}");
        feeder
            .send(&name, "application/octet-stream", &id, payload.clone())
            .context("cannot feed the daemon")?;
        record.samples += 1;
        due += interval;
    }
    while feeder.outstanding() > 0
        && let Some(fed) = feeder.next(ANSWER_DEADLINE)
    {
        record.take(&fed, sent.remove(&fed.id));
    }
    while let Some(fed) = feeder.next(Duration::ZERO) {
        record.take(&fed, sent.remove(&fed.id));
    }
    Ok(record)
}

/// Reads the ids of published results, which contain the source and the number.
fn listen(outputs: &Outputs, over: &AtomicBool) -> Vec<(u64, u64)> {
    let mut results = Vec::new();
    loop {
        match outputs.next(SILENCE) {
            // Actions have the ids of their samples, too.
            Some(message) if !message.key.ends_with(INSIGHT) => {}
            Some(message) => {
                let id = message.body.get("id").and_then(Value::as_str);
                let parts = id.and_then(|id| id.split_once('-'));
                let parsed = parts.and_then(|(source, number)| {
                    Some((source.parse().ok()?, number.parse().ok()?))
                });
                results.extend(parsed);
            }
            None if over.load(Ordering::Acquire) => return results,
            None => {}
        }
    }
}

impl Record {
    fn take(&mut self, fed: &FeedReply, sent: Option<Instant>) {
        match &fed.result {
            Ok(_) => self
                .arrivals
                .push(sent.map_or_else(Instant::now, |sent| sent + fed.elapsed)),
            Err(FeedError::Refused(body)) if body.get("fault") == Some(&"skipped".into()) => {
                self.skipped += 1;
            }
            Err(FeedError::Refused(_)) => self.failed += 1,
            Err(FeedError::NoReply) => self.unanswered += 1,
        }
    }

    /// The number of samples without an answer and of results that were not published.
    pub(crate) fn lost(&self) -> u64 {
        let distinct: BTreeSet<_> = self.published.iter().collect();
        let answered = self.arrivals.len() as u64;
        let unpublished = answered.saturating_sub(distinct.len() as u64);
        let ended = answered + self.failed + self.skipped;
        (self.samples - ended).max(self.unanswered) + unpublished
    }

    /// The number of results that were published more than once.
    pub(crate) fn duplicated(&self) -> u64 {
        let distinct: BTreeSet<_> = self.published.iter().collect();
        (self.published.len() - distinct.len()) as u64
    }

    /// Whether the results of each source were published in the order in which its samples were sent.
    pub(crate) fn order_kept(&self) -> BTreeMap<String, bool> {
        let mut last: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
        for (source, number) in &self.published {
            let (newest, kept) = last.entry(*source).or_insert((*number, true));
            *kept &= *number >= *newest;
            *newest = *number;
        }
        last.into_iter()
            .map(|(source, (_, kept))| (format!("source-{source}"), kept))
            .collect()
    }

    /// The longest time between two results that both arrived within one of these spans.
    pub(crate) fn largest_gap(&self, spans: &[Span]) -> Duration {
        let mut arrivals = self.arrivals.clone();
        arrivals.sort_unstable();
        let within = |at: &Instant, (from, to): &Span| from <= at && at <= to;
        arrivals
            .iter()
            .zip(arrivals.iter().skip(1))
            .filter(|(one, next)| spans.iter().any(|s| within(one, s) && within(next, s)))
            .map(|(one, next)| next.duration_since(*one))
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_was_published_twice_or_in_another_order_is_seen() {
        let now = Instant::now();
        let record = Record {
            samples: 6,
            failed: 1,
            skipped: 0,
            unanswered: 0,
            arrivals: vec![now; 5],
            published: vec![(0, 1), (1, 2), (1, 1), (0, 2), (0, 2)],
        };
        assert_eq!(record.duplicated(), 1);
        let kept: Vec<bool> = record.order_kept().into_values().collect();
        assert_eq!(kept, [true, false]);
        // Five results, of which one was never published.
        assert_eq!(record.lost(), 1);
    }

    #[test]
    fn gaps_count_within_spans_only() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let record = Record {
            arrivals: [0, 5, 50, 56, 70].map(at).to_vec(),
            ..Record::default()
        };
        let gap = |spans: &[Span]| record.largest_gap(spans).as_millis();
        assert_eq!(gap(&[(at(0), at(10)), (at(50), at(60))]), 6);
        assert_eq!(gap(&[(at(0), at(70))]), 45);
        assert_eq!(gap(&[]), 0);
    }
}
