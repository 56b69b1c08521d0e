//! One side of the comparison: samples that are put to a process, and the messages that come back.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hotshoe_config::ZenohConfig;
use hotshoe_link::{RawPublisher, RawSession, RawSubscription};
use parking_lot::{Condvar, Mutex};

use crate::process::processor_time;

/// Longest wait for a message.
const DEADLINE: Duration = Duration::from_secs(20);
/// Interval of the first samples, which are lost until the subscription is known.
const POLL: Duration = Duration::from_millis(50);
/// Samples between which the sender looks at the time.
const LOOK_EVERY: u64 = 16;

/// A session that puts samples to a process, and receives what comes back.
pub(super) struct Side {
    process: u32,
    session: RawSession,
    publishers: Vec<RawPublisher>,
    arrivals: Arc<Arrivals>,
    _subscription: RawSubscription,
}

/// What was measured at a steady rate.
pub(super) struct Paced {
    pub p50: Duration,
    pub p99: Duration,
    /// Processor time of the process, per sample.
    pub processor: Duration,
}

/// The messages that came back.
struct Arrivals {
    /// Samples have the time since then as their ids.
    epoch: Instant,
    arrived: Mutex<Arrived>,
    changed: Condvar,
}

#[derive(Default)]
struct Arrived {
    count: u64,
    /// Since the last call of [`Arrivals::take`].
    latencies: Vec<Duration>,
}

impl Side {
    /// Connects to the process. `sources` samples with one payload are put in turn under `input/source-N`; what comes back is under `output`.
    pub(super) fn connect(
        process: u32,
        endpoint: &str,
        (input, output): (&str, &str),
        sources: usize,
        payload: &[u8],
    ) -> anyhow::Result<Self> {
        let session = RawSession::open(&ZenohConfig {
            connect: vec![endpoint.to_owned()],
            ..ZenohConfig::default()
        })?;
        let arrivals = Arc::new(Arrivals {
            epoch: Instant::now(),
            arrived: Mutex::default(),
            changed: Condvar::new(),
        });
        let heard = Arc::clone(&arrivals);
        let subscription = session.listen(output, move |id| heard.add(id))?;
        let publishers = (0..sources)
            .map(|source| session.publisher(&format!("{input}/source-{source}"), payload.to_vec()))
            .collect::<Result<_, _>>()?;
        let side = Self {
            process,
            session,
            publishers,
            arrivals,
            _subscription: subscription,
        };
        side.wait_for_first()?;
        Ok(side)
    }

    /// Sends one sample after another until one comes back, and then waits for the others.
    fn wait_for_first(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.arrivals.count() == 0 {
            ensure!(started.elapsed() < DEADLINE, "no sample comes back");
            self.put(0)?;
            thread::sleep(POLL);
        }
        let mut count = 0;
        while count != self.arrivals.count() {
            count = self.arrivals.count();
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// The id of a sample is the time at which it is put.
    fn put(&self, number: u64) -> anyhow::Result<()> {
        let sources = self.publishers.len() as u64;
        let publisher = usize::try_from(number % sources.max(1))
            .ok()
            .and_then(|source| self.publishers.get(source));
        let id = self.arrivals.epoch.elapsed().as_nanos().to_string();
        publisher.context("a side has a source")?.put(&id)?;
        Ok(())
    }

    /// Sends for so long with at most `window` samples on the way. Returns the samples per second.
    pub(super) fn rate(&self, time: Duration, window: u64) -> anyhow::Result<f64> {
        let before = self.arrivals.take();
        let started = Instant::now();
        let mut sent = 0;
        while sent % LOOK_EVERY != 0 || started.elapsed() < time {
            // The sender waits for half a window at once, so that it is not woken for each sample.
            if sent >= self.arrivals.count() - before + window {
                self.arrivals.wait(before + sent - window / 2)?;
            }
            self.put(sent)?;
            sent += 1;
        }
        self.arrivals.wait(before + sent)?;
        Ok(sent as f64 / started.elapsed().as_secs_f64())
    }

    /// Sends so many samples per second for so long, however late they come back.
    pub(super) fn pace(&self, rate: f64, time: Duration) -> anyhow::Result<Paced> {
        let before = self.arrivals.take();
        let processor = processor_time(self.process)?;
        let started = Instant::now();
        let mut sent = 0_u64;
        loop {
            let due = Duration::from_secs_f64(sent as f64 / rate);
            if due >= time {
                break;
            }
            if let Some(left) = due.checked_sub(started.elapsed()) {
                thread::sleep(left);
            }
            self.put(sent)?;
            sent += 1;
        }
        self.arrivals.wait(before + sent)?;
        let processor = processor_time(self.process)?.saturating_sub(processor);
        let mut latencies = self.arrivals.latencies();
        latencies.sort_unstable();
        let part = |percent: usize| latencies.get(latencies.len() * percent / 100).copied();
        Ok(Paced {
            p50: part(50).context("no sample came back")?,
            p99: part(99).context("no sample came back")?,
            processor: processor.div_f64(sent as f64),
        })
    }

    /// Sends so many samples with at most `window` on the way.
    pub(super) fn send(&self, samples: u64, window: u64) -> anyhow::Result<()> {
        let before = self.arrivals.take();
        for number in 0..samples {
            self.arrivals
                .wait((before + number + 1).saturating_sub(window))?;
            self.put(number)?;
        }
        self.arrivals.wait(before + samples)
    }

    pub(super) fn close(self) {
        self.session.close();
    }
}

impl Arrivals {
    fn add(&self, id: &[u8]) {
        let now = self.epoch.elapsed();
        let sent = str::from_utf8(id).ok().and_then(|id| id.parse().ok());
        let latency = sent.map(|sent| now.saturating_sub(Duration::from_nanos(sent)));
        let mut arrived = self.arrived.lock();
        arrived.count += 1;
        arrived.latencies.extend(latency);
        drop(arrived);
        self.changed.notify_one();
    }

    fn count(&self) -> u64 {
        self.arrived.lock().count
    }

    /// Forgets the latencies, and returns the number of messages so far.
    fn take(&self) -> u64 {
        let mut arrived = self.arrived.lock();
        arrived.latencies.clear();
        arrived.count
    }

    fn latencies(&self) -> Vec<Duration> {
        std::mem::take(&mut self.arrived.lock().latencies)
    }

    /// Waits until so many messages came back.
    fn wait(&self, count: u64) -> anyhow::Result<()> {
        let mut arrived = self.arrived.lock();
        while arrived.count < count {
            let missing = count - arrived.count;
            let is_late = self.changed.wait_for(&mut arrived, DEADLINE).timed_out();
            ensure!(!is_late, "{missing} samples did not come back");
        }
        Ok(())
    }
}
