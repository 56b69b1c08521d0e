//! Runs of several large rows: each row is a run of its own, side by side on the threads of the run.
//!
//! Convolutions over a batch of large rows leave the caches of the processor: five lines of 48 x 1000 pixels take the label reader's
//! recogniser two thirds of the time one by one, on both backends. And rows side by side use several threads better than the operators
//! of one run do. A batch of small rows, or of a model that is mostly weights, is faster as one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use crate::backend::{Session, Stop};
use crate::batch::{cut, join, rows};
use crate::executor::Outcome;
use crate::guard::guard;
use crate::{RunError, Tensor};

/// Least bytes of the inputs of one row. An image of 48 x 192 pixels has 110,592, one of 32 x 32 has 12,288.
const ROW_BYTES: usize = 64 << 10;
/// Largest model file. A batch reads the weights of matrix products once, single rows read them again and again.
const FILE_BYTES: usize = 32 << 20;

/// Whether rows of a file of this size may be run one by one, if they are large.
pub(crate) const fn suits(file_bytes: usize) -> bool {
    file_bytes <= FILE_BYTES
}

/// The number of rows, if there are several large ones.
pub(crate) fn large_rows(inputs: &[Tensor]) -> Option<usize> {
    let rows = rows(inputs).filter(|&rows| rows > 1)?;
    let bytes = inputs.iter().map(Tensor::byte_len);
    let bytes = bytes.fold(0, usize::saturating_add);
    (bytes / rows >= ROW_BYTES).then_some(rows)
}

/// Runs each of the `rows` rows of `inputs` by itself, on at most `threads` threads, one of which is the caller's. A model whose outputs do
/// not have a row for each row of its inputs is run as a whole.
pub(crate) fn run(
    session: &dyn Session,
    inputs: &[Tensor],
    rows: usize,
    threads: usize,
    stop: &Stop,
) -> Outcome {
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::with_capacity(rows));
    let work = || {
        loop {
            let row = next.fetch_add(1, Ordering::Relaxed);
            if row >= rows {
                return;
            }
            let run = || {
                let of = |input| {
                    cut(input, row, 1, rows).map_err(|e| RunError::Failed { source: e.into() })
                };
                let inputs: Vec<Tensor> = inputs.iter().map(of).collect::<Result<_, _>>()?;
                session.run_part(&inputs, stop)
            };
            let outcome = guard(run).unwrap_or_else(|message| Err(RunError::Panicked { message }));
            if outcome.is_err() {
                // The run has failed: no further row begins.
                next.store(rows, Ordering::Relaxed);
            }
            outcomes.lock().push((row, outcome));
        }
    };
    thread::scope(|scope| {
        for number in 1..threads.min(rows) {
            let thread = thread::Builder::new().name(format!("infer-row-{number}"));
            if let Err(error) = thread.spawn_scoped(scope, work) {
                tracing::warn!(%error, "cannot start another thread for the rows of a run");
                break;
            }
        }
        work();
    });
    let mut outcomes = outcomes.into_inner();
    outcomes.sort_by_key(|(row, _)| *row);
    let outputs: Vec<Vec<Tensor>> = outcomes
        .into_iter()
        .map(|(_, outcome)| outcome)
        .collect::<Result<_, _>>()?;
    let has_row = |output: &Tensor| output.shape().first() == Some(&1);
    let same_shapes = |outputs: &Vec<Tensor>, first: &Vec<Tensor>| {
        outputs
            .iter()
            .map(Tensor::shape)
            .eq(first.iter().map(Tensor::shape))
    };
    let joins = outputs
        .first()
        .is_some_and(|first| outputs.iter().all(|it| same_shapes(it, first)))
        && outputs.iter().flatten().all(has_row);
    if !joins {
        return session.run(inputs, stop);
    }
    let parts: Vec<&[Tensor]> = outputs.iter().map(Vec::as_slice).collect();
    join(&parts)
}
