//! The thread that delivers: a batch at a time, by priority, at a bounded rate, as soon as a collector is there. Or to a broker, as soon as it can be
//! reached.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use arc_swap::ArcSwap;
use hotshoe_base::{Clock, chain};
use hotshoe_config::{Config, Statements};
use hotshoe_link::{Collectors, DeliverError, Link, LinkError};
use hotshoe_mqtt::MqttError;
use hotshoe_outbox::{Item, Outbox, Rate, Stats, TokenBucket};
use hotshoe_protocol::outbox::{
    Acknowledgement, AcknowledgementError, BATCH_FORMAT, Batch, BatchItem, LossItem, RecordItem,
    encode_payload,
};
use hotshoe_protocol::status::OutletState;
use hotshoe_sealing::SecretSource;
use hotshoe_trust::TrustRoot;
use uuid::Uuid;

use super::Wake;
use super::figures::Figures;
use super::mqtt::Mqtt;

/// The names of the outlets in the status.
const ZENOH: &str = "zenoh";
const MQTT: &str = "mqtt";
/// Most records of a batch.
const BATCH_RECORDS: usize = 256;
/// Bytes of the payloads of a batch: 256 KiB, or one record.
const BATCH_BYTES: usize = 256 << 10;
/// How long a collector may take to store a batch.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Interval at which the figures are looked at while nothing happens.
const REFRESH: Duration = Duration::from_secs(1);
/// Pause after a batch that was not taken; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Delivers to collectors.
pub(super) struct Delivery {
    site: String,
    device: String,
    /// Of this run.
    session: String,
    is_enabled: bool,
    /// In place of collectors.
    mqtt: Option<Mqtt>,
    statements: Statements,
    outbox: Outbox,
    trust: Arc<ArcSwap<TrustRoot>>,
    link: Arc<Link>,
    wake: Arc<Wake>,
    figures: Arc<Figures>,
    /// The collector that took the last batch. It is asked first, so that others that take nothing do not hold every batch up.
    preferred: Option<String>,
    bucket: TokenBucket,
    clock: Clock,
}

/// A batch that is to be sent.
struct Next {
    batch: Batch,
    /// The batch on the wire.
    body: Vec<u8>,
    items: Vec<Item>,
}

/// Why a batch was not delivered.
#[derive(Debug, thiserror::Error)]
enum BatchError {
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    #[error(transparent)]
    Acknowledgement(#[from] AcknowledgementError),
    #[error("the collector acknowledged nothing of the batch")]
    Nothing,
}

impl BatchError {
    fn name(&self) -> &str {
        match self {
            Self::Deliver(error) => error.name(),
            Self::Acknowledgement(error) => error.name(),
            Self::Nothing => "nothing_acknowledged",
        }
    }
}

impl Delivery {
    pub(super) fn new(
        (config, secrets): (&Config, SecretSource),
        outbox: &Outbox,
        trust: Arc<ArcSwap<TrustRoot>>,
        link: &Arc<Link>,
        wake: &Arc<Wake>,
        figures: &Arc<Figures>,
    ) -> Self {
        let clock = link.parts().clock().clone();
        #[expect(clippy::cast_precision_loss, reason = "a rate has at most 33 bits")]
        let rate = Rate {
            records: config.outbox.records_per_second as f64,
            bytes: config.outbox.bytes_per_second as f64,
        };
        Self {
            site: config.site.clone(),
            device: config.device.clone(),
            session: Uuid::new_v4().simple().to_string(),
            is_enabled: config.outbox.zenoh.enabled,
            mqtt: Mqtt::of(config, secrets),
            statements: config.deploy.statements,
            outbox: outbox.clone(),
            trust,
            link: Arc::clone(link),
            wake: Arc::clone(wake),
            figures: Arc::clone(figures),
            preferred: None,
            bucket: TokenBucket::new(rate, clock.now()),
            clock,
        }
    }

    /// Delivers until the daemon stops.
    ///
    /// # Errors
    /// [`LinkError`] if collectors cannot be followed.
    pub(super) fn run(&mut self, woken: &Receiver<()>) -> Result<(), LinkError> {
        if self.mqtt.is_some() {
            self.run_mqtt(woken);
            return Ok(());
        }
        if !self.is_enabled {
            while !self.wake.is_stopping() {
                self.figures.refresh(&self.outbox.stats());
                self.pause(woken, REFRESH);
            }
            return Ok(());
        }
        self.figures.set_name(ZENOH);
        let wake = Arc::clone(&self.wake);
        let collectors = self.link.collectors(move || wake.wake())?;
        let mut pause = FIRST_PAUSE;
        while !self.wake.is_stopping() {
            self.figures.refresh(&self.outbox.stats());
            let Some(collector) = collectors.names().into_iter().next() else {
                self.figures.set_outlet(OutletState::Waiting, None);
                self.pause(woken, REFRESH);
                pause = FIRST_PAUSE;
                continue;
            };
            if !self.outbox.wait(self.clock.deadline(REFRESH)) {
                self.figures.set_outlet(OutletState::Idle, Some(&collector));
                continue;
            }
            let appeared = collectors.appeared();
            if self.deliver(&collectors, woken) {
                pause = FIRST_PAUSE;
                continue;
            }
            // A collector that appears ends the pause, also one that comes back.
            let until = self.clock.deadline(pause);
            while !self.wake.is_stopping()
                && self.clock.now() < until
                && collectors.appeared() == appeared
            {
                self.pause(woken, until.saturating_duration_since(self.clock.now()));
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// Waits to be woken.
    fn pause(&self, woken: &Receiver<()>, time: Duration) {
        let _ = self.clock.recv_until(woken, self.clock.deadline(time));
    }

    /// Delivers to the broker until the daemon stops.
    fn run_mqtt(&mut self, woken: &Receiver<()>) {
        self.figures.set_name(MQTT);
        let mut pause = FIRST_PAUSE;
        while !self.wake.is_stopping() {
            self.figures.refresh(&self.outbox.stats());
            if !self.outbox.wait(self.clock.deadline(REFRESH)) {
                let broker = self.mqtt.as_ref().filter(|broker| broker.is_connected());
                let peer = broker.map(Mqtt::peer);
                self.figures.set_outlet(OutletState::Idle, peer.as_deref());
                continue;
            }
            if self.publish(woken) {
                pause = FIRST_PAUSE;
            } else {
                self.pause(woken, pause);
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Publishes the next batch to the broker. False if it did not take all of it.
    fn publish(&mut self, woken: &Receiver<()>) -> bool {
        let Next { batch, items, .. } = match self.next(woken) {
            Ok(Some(next)) => next,
            Ok(None) => return true,
            Err(()) => return false,
        };
        let Some(broker) = &mut self.mqtt else {
            return false;
        };
        let peer = broker.peer();
        let (taken, error) = broker.publish(&batch);
        let records = self.acknowledge(items.iter().take(taken));
        self.figures.delivered(records);
        match error {
            None => {
                self.figures
                    .set_outlet(OutletState::Delivering, Some(&peer));
                true
            }
            Some(error) => {
                self.figures.refresh(&self.outbox.stats());
                self.note_failure(Some(&peer), error.name(), chain(&error));
                // It would hold up all that is behind it.
                matches!(error, MqttError::TooLarge { .. })
                    && items.get(taken).is_some_and(|item| self.give_up(item))
            }
        }
    }

    /// Loses a record that can never be delivered. False for a loss.
    fn give_up(&self, item: &Item) -> bool {
        let Item::Record(record) = item else {
            return false;
        };
        let (source, sequence) = (&record.id.source, record.id.sequence);
        self.outbox.give_up(source, sequence).is_ok()
    }

    fn note_failure(&self, peer: Option<&str>, name: &str, cause: String) {
        if self.figures.set_failure(peer, name, cause.clone()) {
            tracing::warn!(name, cause, "a batch of the outbox was not delivered");
        }
    }

    /// The next batch with its bytes, once the rate allows it. `None` if there is nothing, or the daemon stops.
    fn next(&mut self, woken: &Receiver<()>) -> Result<Option<Next>, ()> {
        let items = match self.outbox.next_batch(BATCH_RECORDS, BATCH_BYTES) {
            Ok(items) => items,
            Err(error) => {
                self.note_failure(None, error.name(), chain(&error));
                return Err(());
            }
        };
        if items.is_empty() {
            return Ok(None);
        }
        let stats = self.outbox.stats();
        self.figures.refresh(&stats);
        let batch = self.batch(&items, &stats);
        let body = serde_json::to_vec(&batch).unwrap_or_default();
        while let Err(wait) = self.bucket.take(self.clock.now(), items.len(), body.len()) {
            self.pause(woken, wait);
            if self.wake.is_stopping() {
                return Ok(None);
            }
        }
        Ok(Some(Next { batch, body, items }))
    }

    /// Delivers the next batch to the first collector that takes it. False if none does.
    fn deliver(&mut self, collectors: &Collectors, woken: &Receiver<()>) -> bool {
        let Next { batch, body, items } = match self.next(woken) {
            Ok(Some(next)) => next,
            Ok(None) => return true,
            Err(()) => return false,
        };
        let mut names = collectors.names();
        names.sort_by_key(|name| Some(name) != self.preferred.as_ref());
        for collector in names {
            let peer = Some(collector.as_str());
            self.figures.set_outlet(OutletState::Delivering, peer);
            match self.send(&collector, &batch, &body, &items) {
                Ok(records) => {
                    self.figures.delivered(records);
                    self.preferred = Some(collector);
                    return true;
                }
                Err(error) => self.note_failure(peer, error.name(), chain(&error)),
            }
        }
        false
    }

    /// Sends a batch, and acknowledges what the collector has of it. Returns the number of records.
    fn send(
        &self,
        collector: &str,
        batch: &Batch,
        body: &[u8],
        items: &[Item],
    ) -> Result<u64, BatchError> {
        let answer = self.link.deliver(collector, body, TIMEOUT)?;
        let trust = self.trust.load_full();
        let signatures = self.statements.signatures(&trust);
        let answer = Acknowledgement::read(&answer, body, batch, signatures)?;
        let is_stored = |item: &&Item| {
            let (source, from, to) = item.range();
            let of_source = answer
                .acknowledged
                .iter()
                .filter(|it| it.source == **source);
            let mut ranges = of_source.flat_map(|it| &it.ranges);
            ranges.any(|(first, last)| *first <= from && to <= *last)
        };
        let stored: Vec<&Item> = items.iter().filter(is_stored).collect();
        if stored.is_empty() {
            return Err(BatchError::Nothing);
        }
        Ok(self.acknowledge(stored))
    }

    /// Takes items out of the outbox, those of a source at once. Returns the number of records.
    fn acknowledge<'a>(&self, items: impl IntoIterator<Item = &'a Item>) -> u64 {
        let mut by_source: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
        for item in items {
            let (source, ..) = item.range();
            by_source.entry(source).or_default().push(item);
        }
        let mut records = 0;
        for (source, items) in by_source {
            let ranges = items.iter().map(|item| item.range());
            let ranges: Vec<_> = ranges.map(|(_, from, to)| (from, to)).collect();
            if self.outbox.acknowledge(source, &ranges).is_ok() {
                let taken = items.iter().filter(|it| matches!(it, Item::Record(_)));
                records += taken.count() as u64;
            }
        }
        records
    }

    fn batch(&self, items: &[Item], stats: &Stats) -> Batch {
        let records = items.iter().filter(|it| matches!(it, Item::Record(_)));
        let left = stats.records.saturating_sub(records.count());
        Batch {
            format: BATCH_FORMAT,
            site: self.site.clone(),
            device: self.device.clone(),
            instance: format!("{:032x}", stats.instance),
            session: self.session.clone(),
            left: left as u64,
            items: items.iter().map(on_wire).collect(),
        }
    }
}

fn on_wire(item: &Item) -> BatchItem {
    match item {
        Item::Record(record) => {
            let (payload, payload_base64) = encode_payload(&record.payload);
            BatchItem::Record(RecordItem {
                source: record.id.source.to_string(),
                epoch: record.id.epoch,
                sequence: record.id.sequence,
                digest: hotshoe_trust::Digest::from_bytes(record.id.digest).hex(),
                class: record.class.clone(),
                priority: record.priority.name().to_owned(),
                wall_ms: record.wall_ms,
                payload,
                payload_base64,
            })
        }
        Item::Loss(loss) => BatchItem::Loss(LossItem {
            source: loss.source.to_string(),
            epoch: loss.epoch,
            from: loss.from,
            to: loss.to,
            count: loss.count,
            bytes: loss.bytes,
            cause: loss.cause.name().to_owned(),
        }),
    }
}
