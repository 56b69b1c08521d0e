//! The work of one thread: it takes jobs, and processes each with the release that serves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use hotshoe_base::micros;
use hotshoe_engine::Fault;
use hotshoe_pipeline::{MaskedSample, StageTime, Worker};
use hotshoe_trust::InstanceMode;
use parking_lot::MutexGuard;

use super::worker_slot::{Running, Seat, WorkerSlot, time_limits};
use super::{Job, Service};
use crate::in_force::InForce;
use crate::serving::latency::TOTAL;
use crate::serving::observed::mode_of;
use crate::serving::tally::{DropReason, SkipReason};
use crate::serving::{SampleOutcome, ServingRelease};

/// Stage of samples that fail in the daemon itself.
pub(super) const SERVICE: &str = "service";
/// Fault of a sample whose processing panicked: a defect of the host that affects only this sample.
const HOST_PANIC: &str = "host_panic";
/// Message of this fault.
const HOST_PANICKED: &str = "the daemon itself panicked on this sample; please report it";

impl Service {
    /// Processes jobs until the queue is closed and empty.
    pub(super) fn work(&self, seat: Seat) {
        let mut worker: Option<Worker> = None;
        self.clear_slot(seat);
        while let Some(job) = self.take(seat) {
            self.gauge_queue();
            // The sample keeps this release to its end, also across a swap.
            match self.serving.load_full() {
                Some(served) => {
                    self.note_release(seat, &served);
                    self.process(&job, &served, &mut worker);
                }
                None => {
                    self.drop_job(&job, DropReason::NoRelease);
                }
            }
            if !self.leave_job(seat) {
                // Another thread has taken its place.
                self.came_back(seat);
                return;
            }
            if self.needs_source_order() {
                self.queue.notify_ready();
            }
        }
    }

    /// Processes one sample. A panic is caught: if the thread ended, its slot would stay occupied, and other samples of this source
    /// would wait for it.
    fn process(&self, job: &Job, served: &Arc<ServingRelease>, worker: &mut Option<Worker>) {
        job.ticket.begin();
        let began = self.clock.now();
        let run = AssertUnwindSafe(|| self.run(job, served, worker));
        if catch_unwind(run).is_err() {
            *worker = None;
            let time = micros(self.clock.elapsed(began));
            self.observe(served, &self.in_force.load(), SampleOutcome::Trap, time);
            self.fail(job, Some(served), SERVICE, HOST_PANIC, HOST_PANICKED);
        }
    }

    /// Processes one sample, with a new worker if the release has changed.
    fn run(&self, job: &Job, served: &Arc<ServingRelease>, worker: &mut Option<Worker>) {
        // As the release, it stays the same to the end of the sample.
        let in_force = self.in_force.load_full();
        if self.rests(job, served, &in_force) {
            return;
        }
        if worker
            .as_ref()
            .is_none_or(|w| !Arc::ptr_eq(w.pipeline(), served.pipeline()))
        {
            // The old one is dropped first, so that memory for one is enough.
            *worker = None;
        }
        let ready = worker.get_or_insert_with(|| served.worker());
        let started = self.clock.now();
        // From here on, nothing sees the sample as it was taken.
        let masked = served.pipeline().mask(&job.sample);
        if let Ok(masked) = &masked
            && self.is_still(job, masked, served, &in_force)
        {
            return;
        }
        let mode = in_force.mode.as_deref();
        let mode = served.pipeline().run_mode(mode, in_force.skip_variants);
        let outcome = self.run_pipeline(ready, masked, served, &mode, &in_force);
        let time = micros(self.clock.elapsed(started));
        // A release proves nothing by the samples that it leaves out.
        let ended = outcome.result.as_ref().err().map(|error| error.fault);
        if ended != Some(Fault::Skipped) {
            self.observe(served, &in_force, SampleOutcome::of(&outcome), time);
        }
        for failure in &outcome.tolerated {
            self.tally.tolerated(&failure.stage);
        }
        self.record(job, started, &outcome.stages);
        self.meter.update(served.pipeline().models());
        let is_full = in_force.mode.is_none() && in_force.skip_variants == 0;
        self.finish(job, served, outcome, &mode, is_full);
    }

    /// Ends a sample if the device rests: the rest began while it was queued.
    fn rests(&self, job: &Job, served: &ServingRelease, in_force: &InForce) -> bool {
        let Some(message) = in_force.rest_message(self.clock.now()) else {
            return false;
        };
        self.skip(job, Some(served), SkipReason::Rest, SERVICE, &message);
        true
    }

    /// Ends a sample in which nothing moves, if the rate in force leaves those out.
    fn is_still(
        &self,
        job: &Job,
        masked: &MaskedSample<'_>,
        served: &ServingRelease,
        in_force: &InForce,
    ) -> bool {
        if !in_force.rate.on_motion || self.motion_gate.moves(job.feed(), masked, &self.clock) {
            return false;
        }
        let why = in_force.rate_reason();
        let message = format!("it does not differ from the picture before it: {why}");
        self.skip(job, Some(served), SkipReason::Motion, SERVICE, &message);
        true
    }

    /// Counts a processed sample with the mode that it ran in.
    pub(super) fn observe(
        &self,
        served: &ServingRelease,
        in_force: &InForce,
        outcome: SampleOutcome,
        micros: u64,
    ) {
        let mode = mode_of(served.release(), in_force.mode.as_deref());
        served
            .observer()
            .add(mode, in_force.skip_variants, outcome, micros);
        self.tally.observed(outcome);
    }

    /// Takes the next job. It is always in the queue or in a slot, so that a drain finds it.
    fn take(&self, seat: Seat) -> Option<Arc<Job>> {
        self.queue.pop_ready(
            || {
                let busy = if self.needs_source_order() {
                    self.running_jobs()
                } else {
                    Vec::new()
                };
                move |job| {
                    busy.iter()
                        .all(|other| other.sample.source != job.sample.source)
                }
            },
            |job| {
                let job = Arc::new(job);
                if let Some(mut slot) = self.slot_of(seat) {
                    slot.taken += 1;
                    slot.running = Some(Running {
                        job: Arc::clone(&job),
                        served: None,
                    });
                }
                job
            },
        )
    }

    /// Whether samples of one source must be processed in order: a model or an instance keeps state per source.
    fn needs_source_order(&self) -> bool {
        let serving = self.serving.load();
        serving.as_ref().is_some_and(|served| {
            let release = served.release();
            let mut models = release.models.values();
            let mut components = release.components.values();
            models.any(|model| !model.state.is_empty())
                || components.any(|component| component.instance == InstanceMode::PerSource)
        })
    }

    /// The current jobs of all workers.
    fn running_jobs(&self) -> Vec<Arc<Job>> {
        let worker_slots = self.worker_slots.iter();
        worker_slots
            .filter_map(|slot| slot.lock().running.as_ref().map(|it| Arc::clone(&it.job)))
            .collect()
    }

    fn record(&self, job: &Job, started: Instant, stages: &[StageTime]) {
        job.trace.ran(started, stages);
        let queued = ("queue", micros(started - job.arrived));
        let total = (TOTAL, micros(self.clock.elapsed(job.arrived)));
        let stages = stages.iter().map(|it| (it.name.as_str(), it.micros));
        self.latency
            .record_all([queued].into_iter().chain(stages).chain([total]));
    }

    /// Fails the job that is still in the slot because this thread panicked and was restarted.
    fn clear_slot(&self, seat: Seat) {
        let left = self.slot_of(seat).and_then(|mut slot| slot.running.take());
        if let Some(Running { job, .. }) = left {
            let serving = self.serving.load();
            let served = serving.as_deref();
            self.fail(&job, served, SERVICE, HOST_PANIC, HOST_PANICKED);
        }
    }

    /// Empties the slot. False if another thread has it now.
    fn leave_job(&self, seat: Seat) -> bool {
        let slot = self.slot_of(seat);
        slot.map(|mut slot| slot.running = None).is_some()
    }

    /// Records which release processes the job.
    fn note_release(&self, seat: Seat, served: &Arc<ServingRelease>) {
        let limit = time_limits(served.release());
        if let Some(mut slot) = self.slot_of(seat)
            && let Some(running) = &mut slot.running
        {
            running.served = Some((Arc::clone(served), limit));
        }
    }

    /// The slot of a thread. `None` if another thread has it now.
    pub(super) fn slot_of(&self, seat: Seat) -> Option<MutexGuard<'_, WorkerSlot>> {
        let slot = self.worker_slots.get(seat.slot)?.lock();
        (slot.thread == seat.thread).then_some(slot)
    }
}
