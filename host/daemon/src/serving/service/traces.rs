//! The end of samples, as their traces see it.

use hotshoe_protocol::trace_context::attachment;

use super::{Job, Service};
use crate::serving::ServingRelease;

use crate::serving::sample_trace::Times;
use crate::serving::tally::{Reply, Settlement};

impl Job {
    /// The attachment of what is made of the sample: its id, and its place in a trace.
    pub(super) fn attachment(&self) -> String {
        attachment(&self.sample.id, self.trace.context())
    }
}

impl Service {
    /// Settles a sample, and records it where its trace is recorded. Only the first call counts, and returns the [`Reply`].
    pub(super) fn settle(
        &self,
        job: &Job,
        served: Option<&ServingRelease>,
        settlement: Settlement<'_>,
    ) -> Option<Reply> {
        let answer = job.ticket.settle(settlement)?;
        let release = || {
            let release = served?.release();
            Some((release.name.clone(), release.generation))
        };
        if job.trace.is_recorded() {
            let times = Times {
                arrived: job.arrived,
                now: self.clock.now(),
                wall: self.clock.wall(),
            };
            let (id, source) = (&job.sample.id, &job.sample.source);
            let ended = job.trace.end(id, source, release(), settlement, times);
            if let Some(sample) = ended {
                self.trace_tap.record(sample);
            }
        }
        Some(answer)
    }
}
