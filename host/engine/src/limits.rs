//! Enforcement of the memory limits of one instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hotshoe_trust::Limits;
use wasmtime::ResourceLimiter;

use crate::memory::{MEMORIES_PER_COMPONENT, TABLES_PER_COMPONENT};
use crate::units::mib;

/// Handles of any kind (samples, models, graphs, streams) per tensor or image of the limit `handles`.
const HANDLES_A_TENSOR: usize = 4;

/// Share of `memory-mib`, in percent. An instance whose memory grows beyond it in a call is replaced, unless that is its first call: what the
/// first call takes is what the component works with.
const REPLACE_AT_PERCENT: u64 = 75;

/// Most handles of any kind of an instance with these limits.
pub(crate) const fn all_handles(limits: &Limits) -> usize {
    (limits.handles as usize).saturating_mul(HANDLES_A_TENSOR)
}

/// An allocation of WebAssembly that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Linear memory.
    Memory,
    /// Linear memory within the limit, which the system refused.
    NoMemory,
    /// Elements of a table.
    Table,
}

/// Why an instance is replaced after a call, whatever the call's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wear {
    /// Its linear memory is used up, or nearly.
    Memory,
    /// It has served the calls of its limit `calls`.
    Calls,
}

impl Wear {
    /// The stable name, a metric's label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Calls => "calls",
        }
    }
}

/// Limits the allocations of WebAssembly itself: all linear memories of an instance by `memory-mib`, all tables by `table-elements`.
/// wasmtime counts the core instances.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    max_bytes: usize,
    held_bytes: usize,
    /// Last growth of `held_bytes`, to undo it if the growth fails.
    grown_bytes: usize,
    max_elements: usize,
    held_elements: usize,
    instances: usize,
    /// The last refused allocation of the current call.
    pub(crate) refused: Option<Refused>,
}

impl MemoryLimiter {
    pub(crate) const fn new(limits: &Limits) -> Self {
        Self {
            max_bytes: mib(limits.memory_mib),
            held_bytes: 0,
            grown_bytes: 0,
            max_elements: limits.table_elements as usize,
            held_elements: 0,
            instances: limits.instances as usize,
            refused: None,
        }
    }

    /// Bytes of all linear memories. They never shrink, so that this is also the peak.
    pub(crate) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether `memory-mib` is nearly used up.
    pub(crate) const fn is_nearly_full(&self) -> bool {
        self.held_bytes as u64 * 100 > self.max_bytes as u64 * REPLACE_AT_PERCENT
    }

    /// Whether linear memory was refused during the current call.
    pub(crate) const fn ran_out(&self) -> bool {
        matches!(self.refused, Some(Refused::Memory | Refused::NoMemory))
    }
}

/// Adds a growth, if the sum stays within the limit.
fn grow(held: &mut usize, most: usize, current: usize, desired: usize) -> bool {
    let after = held.saturating_add(desired.saturating_sub(current));
    let allowed = after <= most;
    if allowed {
        *held = after;
    }
    allowed
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let before = self.held_bytes;
        let allowed = grow(&mut self.held_bytes, self.max_bytes, current, desired);
        self.grown_bytes = self.held_bytes - before;
        if !allowed {
            self.refused = Some(Refused::Memory);
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.held_bytes -= std::mem::take(&mut self.grown_bytes);
        // Otherwise the declared maximum of the memory is the reason, which the component knows.
        if is_out_of_memory(&error) {
            self.refused = Some(Refused::NoMemory);
        }
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = grow(&mut self.held_elements, self.max_elements, current, desired);
        if !allowed {
            self.refused = Some(Refused::Table);
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        MEMORIES_PER_COMPONENT as usize
    }

    fn tables(&self) -> usize {
        TABLES_PER_COMPONENT as usize
    }
}

/// Whether the system is out of memory or addresses.
pub(crate) fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    error.root_cause().downcast_ref() == Some(&rustix::io::Errno::NOMEM)
}

/// Limits host tensors and images, which are outside of the linear memory: their number by `handles`, their bytes by `tensor-mib`.
#[derive(Debug)]
pub(crate) struct TensorBudget {
    held: AtomicU64,
    held_bytes: AtomicU64,
    /// Peak of `held_bytes`.
    peak_bytes: AtomicU64,
    max: u64,
    max_bytes: u64,
}

/// A value that counts against a [`TensorBudget`] while it exists.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "`bindgen!` exports it again")]
pub struct Counted<T> {
    value: T,
    bytes: u64,
    tensor_budget: Arc<TensorBudget>,
}

/// Why a component cannot hold more tensors or images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OverBudget {
    #[error(
        "{bytes} bytes more of tensors and images would exceed the component's tensor-mib of {max_mib} MiB; {left} bytes are left"
    )]
    Bytes { bytes: u64, max_mib: u64, left: u64 },
    #[error(
        "{count} more would exceed the component's limit `handles` of {max} tensors and images; drop some first"
    )]
    Count { count: u64, max: u64 },
}

impl TensorBudget {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            max: limits.handles.into(),
            max_bytes: mib(limits.tensor_mib) as u64,
        })
    }

    /// Current and peak bytes.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let held = self.held_bytes.load(Ordering::Relaxed);
        (held, self.peak_bytes.load(Ordering::Relaxed))
    }

    /// Records the temporary memory of an operation in the peak.
    pub(crate) fn note(&self, bytes: u64) {
        let held = self.held_bytes.load(Ordering::Relaxed);
        self.peak_bytes
            .fetch_max(held.saturating_add(bytes), Ordering::Relaxed);
    }

    /// Remaining bytes.
    pub(crate) fn left(&self) -> u64 {
        self.max_bytes
            .saturating_sub(self.held_bytes.load(Ordering::Relaxed))
    }

    /// Checks whether `count` more values of `bytes` bytes in total fit.
    pub(crate) fn check(&self, count: u64, bytes: u64) -> Result<(), OverBudget> {
        let left = self.left();
        if bytes > left {
            let max_mib = self.max_bytes >> 20;
            return Err(OverBudget::Bytes {
                bytes,
                max_mib,
                left,
            });
        }
        let max = self.max;
        if self.held.load(Ordering::Relaxed).saturating_add(count) > max {
            return Err(OverBudget::Count { count, max });
        }
        Ok(())
    }

    /// Adds `value` to the budget. Only the instance's own thread calls this, so that check and count need not be atomic together.
    pub(crate) fn hold<T>(
        self: &Arc<Self>,
        value: T,
        bytes: usize,
    ) -> Result<Counted<T>, OverBudget> {
        let bytes = bytes as u64;
        self.check(1, bytes)?;
        self.held.fetch_add(1, Ordering::Relaxed);
        let before = self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.peak_bytes
            .fetch_max(before.saturating_add(bytes), Ordering::Relaxed);
        Ok(Counted {
            value,
            bytes,
            tensor_budget: Arc::clone(self),
        })
    }
}

impl<T> std::ops::Deref for Counted<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        self.tensor_budget.held.fetch_sub(1, Ordering::Relaxed);
        self.tensor_budget
            .held_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    fn limits() -> Limits {
        Limits {
            memory_mib: 1,
            tensor_mib: 1,
            handles: 8,
            table_elements: 10,
            ..Limits::default()
        }
    }

    #[test]
    fn bytes_and_count_end_at_their_limits_and_come_back() {
        let tensor_budget = TensorBudget::new(&limits());
        let all = tensor_budget.hold((), 1 << 20).unwrap();
        let refused = tensor_budget.hold((), 1).unwrap_err();
        assert!(refused.to_string().contains("tensor-mib of 1 MiB; 0 bytes"));
        drop(all);
        let mut many: Vec<_> = (0..8).map(|_| tensor_budget.hold((), 1).unwrap()).collect();
        let count = |count| OverBudget::Count { count, max: 8 };
        assert_eq!(tensor_budget.hold((), 1).unwrap_err(), count(1));
        many.pop();
        assert_eq!(tensor_budget.check(2, 2), Err(count(2)));
        tensor_budget.check(1, 1).unwrap();
        assert_eq!(tensor_budget.bytes(), (7, 1 << 20));
    }

    #[test]
    fn memories_and_tables_are_added_up() {
        let mut limiter = MemoryLimiter::new(&limits());
        assert!(limiter.memory_growing(0, 65_536, None).unwrap());
        // A second memory.
        assert!(!limiter.memory_growing(0, 1 << 20, None).unwrap());
        assert_eq!(limiter.refused, Some(Refused::Memory));
        assert_eq!(limiter.held_bytes(), 65_536);
        assert!(limiter.ran_out() && !limiter.is_nearly_full());
        // What was allowed and then failed is not held.
        assert!(limiter.memory_growing(0, 65_536, None).unwrap());
        let failed = wasmtime::Error::msg("beyond the memory's type");
        limiter.refused = None;
        limiter.memory_grow_failed(failed).unwrap();
        assert_eq!((limiter.held_bytes(), limiter.refused), (65_536, None));
        let failed = wasmtime::Error::from(rustix::io::Errno::NOMEM);
        limiter.memory_grow_failed(failed).unwrap();
        assert_eq!(limiter.refused, Some(Refused::NoMemory));
        assert_eq!(limiter.held_bytes(), 65_536);
        assert!(limiter.table_growing(0, 6, None).unwrap());
        assert!(limiter.table_growing(6, 8, None).unwrap());
        assert!(!limiter.table_growing(0, 3, None).unwrap());
        assert_eq!(limiter.refused, Some(Refused::Table));
        assert!(!limiter.ran_out(), "a table is not memory");
        // 12 pages of 16 are 75 %.
        assert!(limiter.memory_growing(65_536, 12 << 16, None).unwrap());
        assert!(!limiter.is_nearly_full());
        assert!(limiter.memory_growing(12 << 16, 13 << 16, None).unwrap());
        assert!(limiter.is_nearly_full());
    }
}
