//! Thread pools for parallel runs.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tract_onnx::prelude::multithread::Executor;

use crate::LoadError;

/// Pools by number of threads, shared by all models.
static POOLS: Mutex<Option<HashMap<usize, Weak<ThreadPool>>>> = Mutex::new(None);

/// The pool with this number of threads; `None` for one, which is the calling thread.
pub(super) fn pool(threads: usize) -> Result<Option<Executor>, LoadError> {
    if threads <= 1 {
        return Ok(None);
    }
    let mut pools = POOLS.lock();
    let pools = pools.get_or_insert_default();
    if let Some(pool) = pools.get(&threads).and_then(Weak::upgrade) {
        return Ok(Some(Executor::MultiThread(pool)));
    }
    let builder = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|at| format!("tract-{at}"));
    let pool = builder.build().map_err(|e| LoadError::Threads {
        threads,
        source: e.into(),
    })?;
    let pool = Arc::new(pool);
    pools.insert(threads, Arc::downgrade(&pool));
    Ok(Some(Executor::MultiThread(pool)))
}
