//! Dynamic batching: runs of one model are joined into one, for models that are faster with several samples.
//!
//! Inputs are concatenated along the first dimension, and outputs are split along theirs. A batch is open from its first run until
//! it is full or its turn comes, so that runs gather while the model is busy, even without a wait.
//!
//! A model is batched only if each row of its outputs is known to depend on the same row of its inputs alone ([`rows`]). That is
//! derived from its graph; an input or output with a fixed first dimension excludes it. In addition, the first batch is compared
//! with separate runs. The reason of a refusal is logged and kept.
//!
//! Each number of rows is a combination of shapes of its own, with a plan of its own where the backend compiles plans. Models
//! with recurrent state are loaded without batching.

mod join;
mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_trust::Digest;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tract_onnx::pb::{GraphProto, ModelProto};

use self::join::BatchError;
pub(crate) use self::join::{cut, join, rows};
use crate::backend::{Session, Stop};
use crate::executor::{Lane, Outcome, Run, RunTracker};
use crate::guard::guard;
use crate::served::ServedFile;
use crate::{ElementType, ModelOptions, RunError, Tensor, TensorInfo};

/// Whether runs of a model are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batching {
    /// Not requested.
    Off,
    /// Runs are joined.
    On,
    /// The model does not allow it, for this reason.
    Refused(String),
}

/// Runs are joined if these are equal: types and shapes of the inputs, without the first dimension.
type BatchKey = Vec<(ElementType, Vec<usize>)>;

/// A run that is part of a batch.
struct Member {
    inputs: Vec<Tensor>,
    rows: usize,
    run: Arc<Run>,
}

/// A batch that has not started.
struct OpenBatch {
    id: u64,
    key: BatchKey,
    members: Vec<Member>,
    rows: usize,
    /// Latest end of its wait for further runs.
    close_at: Instant,
    /// Its ticket in the queue, after its wait has ended.
    ticket: Option<u64>,
    /// Notifies its first caller that the wait ends earlier.
    changed: Arc<Condvar>,
}

#[derive(Default)]
struct OpenBatches {
    open: Vec<OpenBatch>,
    last_id: u64,
}

/// Whether a model can be batched.
enum Eligibility {
    Unverified,
    Verified,
    Refused(String),
}

/// Batches the runs of one model.
pub(crate) struct Batcher {
    /// The digest of the model, for the log.
    digest: Digest,
    /// Most rows of a batch: the sum of the first dimensions of its runs.
    most: usize,
    wait: Duration,
    batches: Mutex<OpenBatches>,
    eligibility: Mutex<Eligibility>,
}

impl Batcher {
    /// `None` if batching is not requested.
    pub(crate) fn new(
        digest: Digest,
        options: &ModelOptions,
        inputs: &[TensorInfo],
        outputs: &[TensorInfo],
    ) -> Option<Arc<Self>> {
        if options.max_batch <= 1 {
            return None;
        }
        let eligibility = ineligible(inputs, outputs).map_or(Eligibility::Unverified, |reason| {
            tracing::warn!(%digest, reason, "model not batched");
            Eligibility::Refused(reason)
        });
        Some(Arc::new(Self {
            digest,
            most: options.max_batch,
            wait: options.max_wait,
            batches: Mutex::default(),
            eligibility: Mutex::new(eligibility),
        }))
    }

    /// Refuses a model whose rows may not be independent.
    pub(crate) fn check_graph(&self, model: &ModelProto, graph: &GraphProto) {
        let unverified = matches!(*self.eligibility(), Eligibility::Unverified);
        if unverified && let Some(reason) = rows::check_rows(model, graph) {
            self.refuse(reason);
        }
    }

    pub(crate) fn batching(&self) -> Batching {
        match &*self.eligibility() {
            Eligibility::Unverified | Eligibility::Verified => Batching::On,
            Eligibility::Refused(reason) => Batching::Refused(reason.clone()),
        }
    }

    /// Runs `inputs`, which fit the model, in a batch with others if there are any.
    ///
    /// # Errors
    /// As [`Lane::run`].
    pub(crate) fn run(
        self: &Arc<Self>,
        lane: &Lane,
        session: Arc<dyn Session>,
        inputs: Vec<Tensor>,
        deadline: Option<Instant>,
    ) -> Outcome {
        let rows = join::rows(&inputs).filter(|&rows| rows < self.most);
        let refused = matches!(*self.eligibility(), Eligibility::Refused(_));
        let Some(rows) = rows.filter(|_| !refused) else {
            return lane.run(deadline, move |stop| session.run(&inputs, stop));
        };
        let run = lane.tracker().arrive(deadline)?;
        let member = Member {
            inputs,
            rows,
            run: run.clone(),
        };
        let (id, first) = self.enter(member);
        if first && !self.gather(id) {
            let (batcher, tracker) = (self.clone(), lane.tracker().clone());
            let work = move || batcher.perform(id, &tracker, &*session);
            match lane.submit(Box::new(work), deadline) {
                Ok(ticket) => self.submitted(id, ticket),
                Err(error) => self.fail(id, lane.tracker(), &error),
            }
        }
        let outcome = lane.tracker().answer(&run);
        if matches!(outcome, Err(RunError::Deadline)) {
            self.leave(id, &run, lane);
        }
        outcome
    }

    /// Adds a run to an open batch, or to a new one, which the caller has to submit (returned as true). A run waits for others for at
    /// most half of the time until its deadline.
    fn enter(&self, member: Member) -> (u64, bool) {
        let now = Instant::now();
        let half = |deadline: Instant| deadline.saturating_duration_since(now) / 2;
        let wait = member
            .run
            .deadline()
            .map_or(self.wait, |deadline| self.wait.min(half(deadline)));
        let close_at = now + wait;
        let key = join::batch_key(&member.inputs);
        let mut batches = self.open_batches();
        for open in batches.open.iter_mut().filter(|open| open.key == key) {
            let fits = open.rows + member.rows <= self.most;
            if fits {
                open.rows += member.rows;
                open.members.push(member);
                open.close_at = open.close_at.min(close_at);
                open.changed.notify_one();
                return (open.id, false);
            }
            // Later runs belong to a later batch.
            open.close_at = now;
            open.changed.notify_one();
        }
        batches.last_id += 1;
        let id = batches.last_id;
        batches.open.push(OpenBatch {
            id,
            key,
            rows: member.rows,
            members: vec![member],
            close_at,
            ticket: None,
            changed: Arc::default(),
        });
        (id, true)
    }

    /// Waits until a batch is full or its wait ends. True if the batch no longer exists.
    fn gather(&self, id: u64) -> bool {
        let mut batches = self.open_batches();
        loop {
            let Some(open) = batches.open.iter().find(|open| open.id == id) else {
                return true;
            };
            let left = open.close_at.saturating_duration_since(Instant::now());
            if left.is_zero() || open.rows >= self.most {
                return false;
            }
            let changed = open.changed.clone();
            changed.wait_for(&mut batches, left);
        }
    }

    fn submitted(&self, id: u64, ticket: u64) {
        if let Some(open) = self
            .open_batches()
            .open
            .iter_mut()
            .find(|open| open.id == id)
        {
            open.ticket = Some(ticket);
        }
    }

    /// Fails a batch for which no thread could be started.
    fn fail(&self, id: u64, tracker: &RunTracker, error: &std::io::Error) {
        for member in self.take(id) {
            let source = std::io::Error::new(error.kind(), error.to_string()).into();
            tracker.cancel(&member.run, RunError::Failed { source });
        }
    }

    /// Removes a run whose deadline passed; an empty batch is removed from the queue.
    fn leave(&self, id: u64, run: &Arc<Run>, lane: &Lane) {
        let mut batches = self.open_batches();
        let Some(position) = batches.open.iter().position(|open| open.id == id) else {
            return;
        };
        let Some(open) = batches.open.get_mut(position) else {
            return;
        };
        open.members.retain(|member| !Arc::ptr_eq(&member.run, run));
        open.rows = open.members.iter().map(|member| member.rows).sum();
        // Without a ticket, its first caller is about to submit it.
        if let (true, Some(ticket)) = (open.members.is_empty(), open.ticket) {
            batches.open.remove(position);
            drop(batches);
            lane.withdraw(ticket);
        }
    }

    /// Closes a batch and returns its members.
    fn take(&self, id: u64) -> Vec<Member> {
        let mut batches = self.open_batches();
        let position = batches.open.iter().position(|open| open.id == id);
        position.map_or_else(Vec::new, |position| batches.open.remove(position).members)
    }

    /// Runs a batch when its turn comes.
    fn perform(&self, id: u64, tracker: &RunTracker, session: &dyn Session) {
        let mut members = self.take(id);
        let (group, begun) = tracker.begin(members.iter().map(|member| &member.run));
        let mut begun = begun.into_iter();
        members.retain(|_| begun.next() == Some(true));
        if let [member] = members.as_slice() {
            let outcome = attempt(session, &member.inputs, &group.stop);
            tracker.end(&member.run, outcome);
            return;
        }
        if members.is_empty() {
            return;
        }
        match joined(session, &members, &group.stop) {
            Ok(parts) if matches!(*self.eligibility(), Eligibility::Verified) => {
                for (member, outputs) in members.iter().zip(parts) {
                    tracker.end(&member.run, Ok(outputs));
                }
            }
            Ok(parts) => self.verify(tracker, session, &members, &parts),
            Err(error) => self.one_by_one(tracker, session, &members, &error),
        }
    }

    /// Compares the first batch with separate runs, whose outputs are the results.
    fn verify(
        &self,
        tracker: &RunTracker,
        session: &dyn Session,
        members: &[Member],
        parts: &[Vec<Tensor>],
    ) {
        let mut compared = 0;
        let mut problem = None;
        // The last run is answered when the verdict is known.
        let mut last = None;
        for (member, part) in members.iter().zip(parts) {
            let Some(outcome) = alone(tracker, session, member) else {
                continue;
            };
            if let Ok(outputs) = &outcome {
                compared += 1;
                problem = problem.or_else(|| join::disagreement(outputs, part));
            }
            if let Some((run, outcome)) = last.replace((&member.run, outcome)) {
                tracker.end(run, outcome);
            }
        }
        match problem {
            Some(problem) => self.refuse(problem),
            None if compared > 0 => {
                let mut eligibility = self.eligibility();
                if matches!(*eligibility, Eligibility::Unverified) {
                    *eligibility = Eligibility::Verified;
                }
            }
            None => {}
        }
        if let Some((run, outcome)) = last {
            tracker.end(run, outcome);
        }
    }

    /// Runs the members of a failed batch separately, so that one bad input fails one run. If all succeed, the model does not support
    /// batches.
    fn one_by_one(
        &self,
        tracker: &RunTracker,
        session: &dyn Session,
        members: &[Member],
        error: &BatchError,
    ) {
        let mut succeeded = 0;
        // The last run is answered when the verdict is known.
        let mut last = None;
        for member in members {
            if let Some(outcome) = alone(tracker, session, member) {
                succeeded += usize::from(outcome.is_ok());
                if let Some((run, outcome)) = last.replace((&member.run, outcome)) {
                    tracker.end(run, outcome);
                }
            }
        }
        if succeeded == members.len() {
            self.refuse(error.to_string());
        }
        if let Some((run, outcome)) = last {
            tracker.end(run, outcome);
        }
    }

    fn refuse(&self, reason: String) {
        let mut eligibility = self.eligibility();
        if !matches!(*eligibility, Eligibility::Refused(_)) {
            let digest = self.digest;
            tracing::warn!(%digest, reason, "model not batched");
            *eligibility = Eligibility::Refused(reason);
        }
    }

    fn open_batches(&self) -> MutexGuard<'_, OpenBatches> {
        self.batches.lock()
    }

    fn eligibility(&self) -> MutexGuard<'_, Eligibility> {
        self.eligibility.lock()
    }
}

impl std::fmt::Debug for Batcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batcher(up to {} in {:?})", self.most, self.wait)
    }
}

/// Whether each row of a file's outputs follows from the same rows of its inputs.
pub(crate) fn has_rows(file: &ServedFile<'_>, graph: &GraphProto) -> bool {
    ineligible(&file.inputs, &file.outputs).is_none()
        && rows::check_rows(&file.model, graph).is_none()
}

/// Why a model cannot be batched, according to its inputs and outputs.
fn ineligible(inputs: &[TensorInfo], outputs: &[TensorInfo]) -> Option<String> {
    if inputs.is_empty() {
        return Some("it has no input".to_owned());
    }
    let fixed = inputs
        .iter()
        .find(|info| !matches!(info.shape.first(), Some(None)));
    if let Some(info) = fixed {
        return Some(format!(
            "the first dimension of its input \"{}\" is not open",
            info.name
        ));
    }
    let fixed = outputs
        .iter()
        .find(|info| matches!(info.shape.first(), Some(Some(_))));
    fixed.map(|info| {
        format!(
            "the first dimension of its output \"{}\" does not follow the input's",
            info.name
        )
    })
}

fn attempt(session: &dyn Session, inputs: &[Tensor], stop: &Stop) -> Outcome {
    let panicked = |message| Err(RunError::Panicked { message });
    guard(|| session.run(inputs, stop)).unwrap_or_else(panicked)
}

/// A separate run of one member; `None` if its deadline has passed.
fn alone(tracker: &RunTracker, session: &dyn Session, member: &Member) -> Option<Outcome> {
    match tracker.single_out(&member.run) {
        Some(group) => Some(attempt(session, &member.inputs, &group.stop)),
        None => {
            tracker.end(&member.run, Err(RunError::Deadline));
            None
        }
    }
}

/// One run of all members; returns the outputs of each.
fn joined(
    session: &dyn Session,
    members: &[Member],
    stop: &Stop,
) -> Result<Vec<Vec<Tensor>>, BatchError> {
    let all: Vec<&[Tensor]> = members.iter().map(|m| m.inputs.as_slice()).collect();
    let rows: Vec<usize> = members.iter().map(|member| member.rows).collect();
    let inputs = join::join(&all)?;
    let outputs = attempt(session, &inputs, stop)?;
    join::part(&outputs, &rows)
}
