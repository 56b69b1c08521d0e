//! Samples as parts of distributed traces.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use hotshoe_pipeline::StageTime;
use hotshoe_protocol::status::TelemetryStatus;
use hotshoe_protocol::trace_context::TraceContext;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::serving::answer::ReplyTo;
use crate::serving::tally::Settlement;

/// How a sample arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It was published.
    Message,
    /// Its sender waits for an answer.
    Request,
    /// It is a file of the watched folder.
    File,
}

impl Arrival {
    pub(crate) const fn of(answer: &ReplyTo) -> Self {
        match answer {
            ReplyTo::None => Self::Message,
            ReplyTo::Query(_) | ReplyTo::Call(_) => Self::Request,
            ReplyTo::File(_) => Self::File,
        }
    }
}

/// How a traced sample ended: names and no texts, since texts may be of components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedEnd {
    /// `result`, `skipped`, `dropped` or `failed`.
    pub outcome: &'static str,
    /// The stable name of the reason or fault.
    pub reason: Option<String>,
    /// The component, model or part of the daemon that failed.
    pub stage: Option<String>,
}

impl TracedEnd {
    fn of(settlement: Settlement<'_>) -> Self {
        let (outcome, reason, stage) = match settlement {
            Settlement::Result => ("result", None, None),
            Settlement::Skipped(reason) => ("skipped", Some(reason.name()), None),
            Settlement::Dropped(reason) => ("dropped", Some(reason.name()), None),
            Settlement::Failed { stage, fault } => ("failed", Some(fault), Some(stage)),
        };
        Self {
            outcome,
            reason: reason.map(str::to_owned),
            stage: stage.map(str::to_owned),
        }
    }
}

/// A sample of a recorded trace, at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct TracedSample {
    /// The trace, and the span of the sample.
    pub context: TraceContext,
    /// The sender's span.
    pub parent: Option<[u8; 8]>,
    /// The sample's id.
    pub id: String,
    /// Its key or path.
    pub source: String,
    /// How it arrived.
    pub arrival: Arrival,
    /// The name and generation of the release that processed it.
    pub release: Option<(String, u64)>,
    /// When it arrived.
    pub arrived: SystemTime,
    /// From its arrival to the first stage. `None` if it was not processed.
    pub queued: Option<Duration>,
    /// The stages, one after the other from then on.
    pub stages: Vec<StageTime>,
    /// From its arrival to its end.
    pub total: Duration,
    /// How it ended.
    pub end: TracedEnd,
}

/// Whether a trace that begins with a sample, by its id, is recorded.
pub type RecordsTrace = dyn Fn(&[u8; 16]) -> bool + Send + Sync;

/// What records traces. Workers call it, so it must neither block nor take long.
pub struct Tracer {
    /// Chooses among the traces that begin here.
    pub records: Box<RecordsTrace>,
    /// Gets a sample of a recorded trace.
    pub record: Box<dyn Fn(TracedSample) + Send + Sync>,
    /// Counts of what was sent and dropped.
    pub status: Box<dyn Fn() -> TelemetryStatus + Send + Sync>,
}

/// The tracer, if there is one.
#[derive(Default)]
pub(crate) struct TraceTap(OnceLock<Tracer>);

impl fmt::Debug for TraceTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceTap")
            .field("records", &self.0.get().is_some())
            .finish()
    }
}

impl TraceTap {
    /// Sets the tracer. There is one in a process; a second one gets nothing.
    pub(crate) fn set(&self, tracer: Tracer) {
        if self.0.set(tracer).is_err() {
            tracing::warn!("the samples of this daemon are traced already");
        }
    }

    pub(crate) fn status(&self) -> Option<TelemetryStatus> {
        self.0.get().map(|tracer| (tracer.status)())
    }

    pub(crate) fn record(&self, sample: TracedSample) {
        if let Some(tracer) = self.0.get() {
            (tracer.record)(sample);
        }
    }

    /// The trace of a sample that arrives with this context. The sender decides for its trace; the tracer, for one that begins here.
    pub(crate) fn begin(&self, parent: Option<TraceContext>, arrival: Arrival) -> SampleTrace {
        let own = self.0.get().and_then(|tracer| match &parent {
            Some(parent) => parent.is_sampled().then(|| parent.child(new_span_id())),
            None => {
                let trace_id = Uuid::new_v4().into_bytes();
                (tracer.records)(&trace_id).then(|| TraceContext::root(trace_id, new_span_id()))
            }
        });
        SampleTrace {
            parent,
            own,
            arrival,
            run: Mutex::default(),
        }
    }
}

/// The id of a new span, which is not all zeros.
pub fn new_span_id() -> [u8; 8] {
    let mut id = [0; 8];
    // A version 4 UUID has random bits at both ends of its bytes, and its version between them.
    for (to, from) in id.iter_mut().zip(Uuid::new_v4().into_bytes()) {
        *to = from;
    }
    id
}

/// The place of one sample in a trace.
#[derive(Debug)]
pub(crate) struct SampleTrace {
    parent: Option<TraceContext>,
    /// `Some` if it is recorded.
    own: Option<TraceContext>,
    arrival: Arrival,
    run: Mutex<Option<(Instant, Vec<StageTime>)>>,
}

impl SampleTrace {
    /// The context of what is made of the sample. A trace that is not recorded is passed on as it came.
    pub(crate) fn context(&self) -> Option<&TraceContext> {
        self.own.as_ref().or(self.parent.as_ref())
    }

    pub(crate) const fn is_recorded(&self) -> bool {
        self.own.is_some()
    }

    /// Notes the stages, where the sample is recorded.
    pub(crate) fn ran(&self, started: Instant, stages: &[StageTime]) {
        if self.own.is_some() {
            *self.run.lock() = Some((started, stages.to_vec()));
        }
    }

    /// The recorded sample at its end; `None` if it is not recorded. `now` is by the clock of `arrived`, `wall` the same time.
    pub(crate) fn end(
        &self,
        id: &str,
        source: &str,
        release: Option<(String, u64)>,
        settlement: Settlement<'_>,
        times: Times,
    ) -> Option<TracedSample> {
        let context = self.own.clone()?;
        let run = self.run.lock().take();
        let total = times.now.saturating_duration_since(times.arrived);
        let queued = run
            .as_ref()
            .map(|(started, _)| started.saturating_duration_since(times.arrived));
        Some(TracedSample {
            context,
            parent: self.parent.as_ref().map(|parent| parent.span_id),
            id: id.to_owned(),
            source: source.to_owned(),
            arrival: self.arrival,
            release,
            arrived: times.wall.checked_sub(total).unwrap_or(times.wall),
            queued,
            stages: run.map(|(_, stages)| stages).unwrap_or_default(),
            total,
            end: TracedEnd::of(settlement),
        })
    }
}

/// The times of a sample's end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) arrived: Instant,
    pub(crate) now: Instant,
    /// The same as `now`.
    pub(crate) wall: SystemTime,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::UNIX_EPOCH;

    use super::*;

    fn tap(records: bool) -> TraceTap {
        let tap = TraceTap::default();
        tap.set(Tracer {
            records: Box::new(move |_| records),
            record: Box::new(|_| ()),
            status: Box::new(TelemetryStatus::default),
        });
        tap
    }

    fn parent(flags: &str) -> TraceContext {
        let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        text.parse().unwrap()
    }

    fn end_of(trace: &SampleTrace) -> Option<TracedSample> {
        let arrived = Instant::now();
        let times = Times {
            arrived,
            now: arrived + Duration::from_millis(5),
            wall: UNIX_EPOCH + Duration::from_secs(9),
        };
        trace.ran(arrived + Duration::from_millis(2), &[]);
        trace.end("a", "b", None, Settlement::Result, times)
    }

    #[test]
    fn the_sender_decides_for_its_trace() {
        let parent = parent("01");
        let trace = tap(false).begin(Some(parent.clone()), Arrival::Message);
        let context = trace.context().unwrap().clone();
        assert_eq!(context.trace_id, parent.trace_id);
        assert_ne!(context.span_id, parent.span_id);
        let traced = end_of(&trace).unwrap();
        assert_eq!(traced.parent, Some(parent.span_id));
        assert_eq!(traced.queued, Some(Duration::from_millis(2)));
        assert_eq!(traced.total, Duration::from_millis(5));
        assert_eq!(traced.arrived, UNIX_EPOCH + Duration::from_millis(8_995));
    }

    #[test]
    fn a_trace_that_is_not_recorded_is_passed_on() {
        let parent = parent("00");
        let trace = tap(true).begin(Some(parent.clone()), Arrival::Message);
        assert_eq!(trace.context(), Some(&parent));
        assert_eq!(end_of(&trace), None);
        // Without a tracer, as well.
        let trace = TraceTap::default().begin(Some(parent.clone()), Arrival::Message);
        assert_eq!(trace.context(), Some(&parent));
    }

    #[test]
    fn the_tracer_decides_for_what_begins_here() {
        let trace = tap(true).begin(None, Arrival::File);
        assert!(trace.context().unwrap().is_sampled());
        assert_eq!(end_of(&trace).unwrap().parent, None);
        let trace = tap(false).begin(None, Arrival::File);
        assert_eq!(trace.context(), None);
        assert_eq!(end_of(&trace), None);
    }
}
