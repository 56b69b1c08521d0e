//! What one instance may use, and who counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

/// Host handles (samples, images, tensors, models; `wasi:nn` graphs, contexts and errors) that one instance may hold at once.
pub(crate) const MAX_HANDLES: usize = 4096;
/// Tensors and images that one instance may hold at once, of `hotshoe:pipeline` and of `wasi:nn` together.
pub(crate) const MAX_TENSORS: u64 = 1024;
/// Core tables' elements that one instance may have.
const MAX_TABLE_ELEMENTS: usize = 100_000;

/// Counts all linear memories of an instance against `memory-mib`, and remembers that it refused some.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    max_bytes: usize,
    held_bytes: usize,
    pub(crate) refused: bool,
}

impl MemoryLimit {
    pub(crate) const fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            held_bytes: 0,
            refused: false,
        }
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let held = self
            .held_bytes
            .saturating_add(desired.saturating_sub(current));
        let allowed = held <= self.max_bytes;
        if allowed {
            self.held_bytes = held;
        }
        self.refused |= !allowed;
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }
}

/// Counts host tensors and images, and their bytes against `tensor-mib`: they lie outside the linear memory.
#[derive(Debug)]
pub struct Meter {
    held: AtomicU64,
    held_bytes: AtomicU64,
    max_bytes: u64,
}

/// A value that is counted, with its bytes, for as long as it lives.
#[derive(Debug)]
pub struct Held<T> {
    value: T,
    bytes: u64,
    meter: Arc<Meter>,
}

/// Why a component cannot hold more tensors or images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRoom {
    #[error(
        "{bytes} bytes more of tensors and images would pass the component's tensor-mib of {max_mib} MiB; {left} bytes are left"
    )]
    Bytes { bytes: u64, max_mib: u64, left: u64 },
    #[error(
        "{count} more would pass the {MAX_TENSORS} tensors and images that a component may hold at once; drop some first"
    )]
    Count { count: u64 },
}

impl Meter {
    pub(crate) fn new(max_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            max_bytes,
        })
    }

    /// Bytes that may still be taken.
    pub(crate) fn left(&self) -> u64 {
        self.max_bytes
            .saturating_sub(self.held_bytes.load(Ordering::Relaxed))
    }

    /// Whether `count` more values of these many bytes in all can be held.
    pub(crate) fn room(&self, count: u64, bytes: u64) -> Result<(), NoRoom> {
        let left = self.left();
        if bytes > left {
            let max_mib = self.max_bytes >> 20;
            return Err(NoRoom::Bytes {
                bytes,
                max_mib,
                left,
            });
        }
        if self.held.load(Ordering::Relaxed).saturating_add(count) > MAX_TENSORS {
            return Err(NoRoom::Count { count });
        }
        Ok(())
    }

    /// Counts `value` in. Only the instance's own thread does this, so that nothing comes between the check and the count.
    pub(crate) fn hold<T>(self: &Arc<Self>, value: T, bytes: usize) -> Result<Held<T>, NoRoom> {
        let bytes = bytes as u64;
        self.room(1, bytes)?;
        self.held.fetch_add(1, Ordering::Relaxed);
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Held {
            value,
            bytes,
            meter: Arc::clone(self),
        })
    }
}

impl<T> std::ops::Deref for Held<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.meter.held.fetch_sub(1, Ordering::Relaxed);
        self.meter
            .held_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn bytes_and_count_end_at_their_limits_and_come_back() {
        let meter = Meter::new(1 << 20);
        let all = meter.hold((), 1 << 20).unwrap();
        let refused = meter.hold((), 1).unwrap_err();
        assert!(refused.to_string().contains("tensor-mib of 1 MiB; 0 bytes"));
        drop(all);
        let mut many: Vec<_> = (0..MAX_TENSORS)
            .map(|_| meter.hold((), 1).unwrap())
            .collect();
        assert_eq!(meter.hold((), 1).unwrap_err(), NoRoom::Count { count: 1 });
        many.pop();
        assert_eq!(meter.room(2, 2), Err(NoRoom::Count { count: 2 }));
        meter.room(1, 1).unwrap();
    }
}
