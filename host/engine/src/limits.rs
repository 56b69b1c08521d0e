//! What one instance may use, and who counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

/// Host handles (samples, images, tensors, models) that one instance may hold at once.
pub(crate) const MAX_HANDLES: usize = 4096;
/// `wasi:nn` graphs, contexts, tensors and errors that one instance may hold at once.
pub(crate) const MAX_NN_HANDLES: usize = 256;
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

/// Counts bytes of host tensors and images against `tensor-mib`: they lie outside the linear memory.
#[derive(Debug)]
pub struct Meter {
    held: AtomicU64,
    max_bytes: u64,
}

/// A value whose bytes are counted for as long as it lives.
#[derive(Debug)]
pub struct Held<T> {
    value: T,
    bytes: u64,
    meter: Arc<Meter>,
}

impl Meter {
    pub(crate) fn new(max_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            max_bytes,
        })
    }

    /// Bytes that may still be taken.
    pub(crate) fn left(&self) -> u64 {
        self.max_bytes
            .saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// Counts `value` in, or says in a sentence why not.
    pub(crate) fn hold<T>(self: &Arc<Self>, value: T, bytes: usize) -> Result<Held<T>, String> {
        let bytes = bytes as u64;
        if bytes > self.left() {
            return Err(format!(
                "{bytes} bytes more of tensors and images would pass the component's tensor-mib of {} MiB; {} bytes are left",
                self.max_bytes >> 20,
                self.left()
            ));
        }
        self.held.fetch_add(bytes, Ordering::Relaxed);
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
        self.meter.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
