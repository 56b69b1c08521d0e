//! The thread that sends metrics and traces.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use hotshoe_base::{Clock, chain};
use hotshoe_config::{Config, TelemetryConfig};
use hotshoe_daemon::{LocalClient, TracedSample, Tracer};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Mutex, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::collector::Collector;
use crate::error::{SendError, TelemetryError};
use crate::figures::{DropCause, Figures};
use crate::{metric_points, points, spans};

/// The name of the thread.
const NAME: &str = "telemetry";
/// Most samples that wait. Further ones are dropped and counted.
const MAX_WAITING: usize = 1_024;
/// Most samples of a request.
const MAX_BATCH: usize = 128;
/// How long a batch waits for further samples.
const BATCH_WAIT: Duration = Duration::from_millis(500);
/// Pause after the first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The time for the last metrics and traces when the daemon ends.
const LAST: Duration = Duration::from_secs(2);

/// A collector whose files are read.
pub struct Prepared {
    config: TelemetryConfig,
    collector: Collector,
}

/// The running export.
pub struct Exporter {
    stop: watch::Sender<bool>,
    /// Closed when the thread has ended.
    ended: mpsc::Receiver<Infallible>,
    clock: Clock,
}

impl Prepared {
    /// Reads the files of `[telemetry]`. `None` without it. Does not connect.
    ///
    /// # Errors
    /// [`TelemetryError`] names what is wrong.
    pub fn new(config: &Config) -> Result<Option<Self>, TelemetryError> {
        let Some(telemetry) = &config.telemetry else {
            return Ok(None);
        };
        let secret = config.named_secret(telemetry.headers_secret.as_deref())?;
        let secret = secret.map(|secret| secret.read()).transpose()?;
        Ok(Some(Self {
            config: telemetry.clone(),
            collector: Collector::new(telemetry, secret.as_ref())?,
        }))
    }

    /// Begins to trace samples, and to send. Where no thread can be started, nothing is sent.
    pub fn start(self, client: LocalClient) -> Exporter {
        let (queue, receiver) = channel(MAX_WAITING);
        let figures = Arc::new(Figures::default());
        client.trace(tracer(&self.config, queue, &figures));
        let (stop, stopped) = watch::channel(false);
        let (runs, ended) = mpsc::channel::<Infallible>();
        let (parts, clock) = (client.parts().clone(), client.clock().clone());
        tracing::info!(endpoint = self.config.endpoint, "sending telemetry");
        let uptime = Duration::from_secs(client.status().uptime_s);
        let work = Work {
            started: clock.wall().checked_sub(uptime).unwrap_or(clock.wall()),
            client,
            collector: self.collector,
            every: self.config.interval(),
            queue: Mutex::new(Waiting {
                receiver,
                batch: Vec::new(),
            }),
            figures,
            stopped,
        };
        let started = parts.restarted(NAME, move || {
            // Moved into the closure, so that it is dropped with the thread.
            let _ = &runs;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                // The status asks Zenoh, which refuses to run below a current-thread runtime.
                .worker_threads(1)
                .enable_all()
                .thread_name("hotshoe-telemetry")
                .max_blocking_threads(1)
                .build()
                .map_err(|error| error.to_string())?;
            runtime.block_on(work.run());
            // A name that is being looked up must not hold up the end.
            runtime.shutdown_background();
            Ok(())
        });
        if let Err(error) = started {
            tracing::error!(%error, "cannot start a thread; no telemetry is sent");
        }
        Exporter { stop, ended, clock }
    }
}

impl Exporter {
    /// Sends the last metrics and traces, for at most 2 s, and ends.
    pub fn join(self, deadline: Duration) {
        self.stop.send_replace(true);
        let until = self.clock.deadline(deadline.min(LAST * 2));
        // It is closed, or the time is over.
        let _ = self.clock.recv_until(&self.ended, until);
    }
}

/// Puts samples of recorded traces into the queue, and never waits.
fn tracer(config: &TelemetryConfig, queue: Sender<TracedSample>, figures: &Arc<Figures>) -> Tracer {
    let (one_in, dropped, shown) = (
        config.sample_one_in,
        Arc::clone(figures),
        Arc::clone(figures),
    );
    Tracer {
        records: Box::new(move |trace_id| is_chosen(trace_id, one_in)),
        record: Box::new(move |sample| {
            if queue.try_send(sample).is_err() {
                dropped.dropped(DropCause::QueueFull, 1);
            }
        }),
        status: Box::new(move || shown.status()),
    }
}

/// Whether a trace is one of so many, by the bytes of its id that are random: the last seven. Every device decides alike.
fn is_chosen(trace_id: &[u8; 16], one_in: u32) -> bool {
    let random = trace_id
        .iter()
        .skip(9)
        .fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
    match one_in {
        0 => false,
        one_in => random < (1 << 56) / u64::from(one_in),
    }
}

struct Work {
    /// When counting began.
    started: SystemTime,
    client: LocalClient,
    collector: Collector,
    every: Duration,
    queue: Mutex<Waiting>,
    figures: Arc<Figures>,
    stopped: watch::Receiver<bool>,
}

struct Waiting {
    receiver: Receiver<TracedSample>,
    /// Samples on their way. They stay here until the collector has them.
    batch: Vec<TracedSample>,
}

impl Work {
    /// Sends until it is told to stop, then what is left.
    async fn run(&self) {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            () = self.send_metrics_always() => {}
            () = self.send_traces_always() => {}
            // Without a sender, the exporter is gone.
            _ = stopped.wait_for(|it| *it) => {}
        }
        // The collector may be away, and the daemon ends all the same.
        let _ = timeout(LAST, async {
            let _ = self.send_metrics().await;
            self.send_rest().await;
        })
        .await;
        let mut queue = self.queue.lock().await;
        let left = queue.batch.len() + queue.receiver.len();
        queue.batch.clear();
        self.figures.dropped(DropCause::Stopped, left);
    }

    async fn send_metrics_always(&self) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // The next ones have the same counts and more, so that nothing is lost.
            let _ = self.send_metrics().await;
        }
    }

    async fn send_metrics(&self) -> Result<(), SendError> {
        let (status, now) = (self.client.status(), self.client.clock().wall());
        let request = metric_points::request(&status, self.started, now);
        let sent = self.collector.send("v1/metrics", &request).await;
        let answer: ExportMetricsServiceResponse = self.checked(sent)?;
        let partial = answer.partial_success.unwrap_or_default();
        self.figures.rejected(partial.rejected_data_points);
        self.figures.sent_metrics();
        Ok(())
    }

    async fn send_traces_always(&self) {
        let mut pause = FIRST_PAUSE;
        let mut queue = self.queue.lock().await;
        loop {
            let Waiting { receiver, batch } = &mut *queue;
            if batch.is_empty() {
                if receiver.recv_many(batch, MAX_BATCH).await == 0 {
                    // The daemon is gone.
                    return pending().await;
                }
                sleep(BATCH_WAIT).await;
            }
            fill(receiver, batch);
            pause = match self.send_traces(batch).await {
                Ok(()) => FIRST_PAUSE,
                Err(_) => {
                    sleep(pause).await;
                    pause.saturating_mul(2).min(LONGEST_PAUSE)
                }
            };
        }
    }

    /// Sends what waits, until a request fails.
    async fn send_rest(&self) {
        let mut queue = self.queue.lock().await;
        let Waiting { receiver, batch } = &mut *queue;
        loop {
            fill(receiver, batch);
            if batch.is_empty() || self.send_traces(batch).await.is_err() {
                return;
            }
        }
    }

    /// Sends a batch, and empties it unless it may be taken later.
    async fn send_traces(&self, batch: &mut Vec<TracedSample>) -> Result<(), SendError> {
        let resource = points::resource(&self.client.status());
        let request = spans::request(resource, batch);
        let sent = self.collector.send("v1/traces", &request).await;
        let answer: ExportTraceServiceResponse = match self.checked(sent) {
            Err(error) if !error.is_temporary() => {
                self.figures.dropped(DropCause::Refused, batch.len());
                batch.clear();
                return Err(error);
            }
            checked => checked?,
        };
        let partial = answer.partial_success.unwrap_or_default();
        self.figures.rejected(partial.rejected_spans);
        self.figures.sent(batch.len());
        batch.clear();
        Ok(())
    }

    /// Counts a failure. The log has the first one after a success.
    fn checked<A>(&self, sent: Result<A, SendError>) -> Result<A, SendError> {
        sent.inspect_err(|error| {
            if self.figures.failed(error) {
                let (name, cause) = (error.name(), chain(error));
                tracing::warn!(name, cause, "the collector does not take telemetry");
            }
        })
    }
}

/// Takes what waits into the batch, as far as there is room.
fn fill(receiver: &mut Receiver<TracedSample>, batch: &mut Vec<TracedSample>) {
    while batch.len() < MAX_BATCH
        && let Ok(sample) = receiver.try_recv()
    {
        batch.push(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_so_many_traces_is_chosen_by_its_id() {
        let mut id = [0xff; 16];
        assert!(!is_chosen(&id, 0));
        assert!(is_chosen(&id, 1));
        assert!(!is_chosen(&id, 2));
        // Bytes before the last seven do not count.
        id[9] = 0x7f;
        assert!(is_chosen(&id, 2));
        assert!(!is_chosen(&id, 3));
        assert!(!is_chosen(&[0; 16], 0));
        assert!(is_chosen(&[0; 16], u32::MAX));
    }
}
