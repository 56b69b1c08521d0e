//! Instances per source of samples, for components whose `instance` is `per-source`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Most sources of one component that keep their instances. With more sources, the least recently used instance ends.
pub const MAX_SOURCE_INSTANCES: usize = 16;
/// Most bytes of linear memory, host tensors and images of these instances of one component together: 256 MiB.
pub const MAX_SOURCE_INSTANCE_BYTES: u64 = 256 << 20;

/// Number of instances that may stay with sources, over all components of an engine.
#[derive(Debug)]
pub(crate) struct InstanceBudget {
    left: AtomicU32,
}

/// Permit of one instance to stay with its source.
#[derive(Debug)]
pub(crate) struct InstancePermit {
    budget: Arc<InstanceBudget>,
}

impl InstanceBudget {
    pub(crate) fn new(permits: u32) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU32::new(permits),
        })
    }

    fn take(self: &Arc<Self>) -> Option<InstancePermit> {
        let taken = self
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                left.checked_sub(1)
            });
        taken.ok().map(|_| InstancePermit {
            budget: Arc::clone(self),
        })
    }
}

impl Drop for InstancePermit {
    fn drop(&mut self) {
        self.budget.left.fetch_add(1, Ordering::AcqRel);
    }
}

/// The instances of one component by source, shared by all workers.
#[derive(Debug)]
pub(crate) struct Sources<T> {
    budget: Arc<InstanceBudget>,
    table: Mutex<SourceTable<T>>,
    /// A call has ended.
    ended: Condvar,
}

#[derive(Debug)]
struct SourceTable<T> {
    by_name: HashMap<String, Entry<T>>,
    /// Counts uses, so that the least recent one is known.
    clock: u64,
}

#[derive(Debug)]
struct Entry<T> {
    /// `None` while a call uses it.
    live: Option<(T, InstancePermit)>,
    bytes: u64,
    used: u64,
}

/// Exclusive use of a source: no other call of this source runs until it is dropped.
pub(crate) struct SourceLock<'a, T> {
    sources: &'a Sources<T>,
    source: &'a str,
    permit: Option<InstancePermit>,
}

impl<T> Sources<T> {
    pub(crate) fn new(budget: Arc<InstanceBudget>) -> Self {
        Self {
            budget,
            table: Mutex::new(SourceTable {
                by_name: HashMap::new(),
                clock: 0,
            }),
            ended: Condvar::new(),
        }
    }

    /// An empty table with the same budget.
    pub(crate) fn empty_copy(&self) -> Self {
        Self::new(Arc::clone(&self.budget))
    }

    /// Waits until no other call of `source` runs, and takes its instance, if it has one. `None` if the other calls last beyond
    /// `until`.
    pub(crate) fn lock_source<'a>(
        &'a self,
        source: &'a str,
        until: Instant,
    ) -> Option<(SourceLock<'a, T>, Option<T>)> {
        let mut table = self.lock();
        while table.by_name.get(source).is_some_and(Entry::busy) {
            let left = until.checked_duration_since(Instant::now())?;
            self.ended.wait_for(&mut table, left);
        }
        table.clock += 1;
        let used = table.clock;
        let entry = table
            .by_name
            .entry(source.to_owned())
            .or_insert_with(|| Entry {
                live: None,
                bytes: 0,
                used,
            });
        entry.used = used;
        let (live, permit) = entry.live.take().unzip();
        drop(table);
        let lock = SourceLock {
            sources: self,
            source,
            permit,
        };
        Some((lock, live))
    }

    /// Drops all idle instances.
    pub(crate) fn forget(&self) {
        let mut table = self.lock();
        let idle = table.by_name.extract_if(|_, entry| !entry.busy());
        let gone: Vec<_> = idle.collect();
        drop(table);
        // Dropping an instance takes time, so it is done without the lock.
        drop(gone);
    }

    /// Number of idle instances, and their bytes.
    #[cfg(test)]
    fn count(&self) -> (usize, u64) {
        let table = self.lock();
        let idle = table.by_name.values().filter(|entry| entry.live.is_some());
        (idle.clone().count(), idle.map(|entry| entry.bytes).sum())
    }

    fn lock(&self) -> MutexGuard<'_, SourceTable<T>> {
        self.table.lock()
    }
}

impl<T> Entry<T> {
    const fn busy(&self) -> bool {
        self.live.is_none()
    }
}

impl<T> SourceTable<T> {
    /// Removes the least recently used idle instance.
    fn oldest(&mut self) -> Option<(T, InstancePermit)> {
        let idle = self.by_name.iter().filter(|(_, entry)| !entry.busy());
        let oldest = idle.min_by_key(|(_, entry)| entry.used);
        let name = oldest.map(|(name, _)| name.clone())?;
        self.by_name.remove(&name)?.live
    }

    /// Whether one more instance of these bytes fits.
    fn fits(&self, bytes: u64) -> bool {
        let idle = self.by_name.values().filter(|entry| !entry.busy());
        let held: u64 = idle.clone().map(|entry| entry.bytes).sum();
        idle.count() < MAX_SOURCE_INSTANCES && held + bytes <= MAX_SOURCE_INSTANCE_BYTES
    }
}

impl<T> SourceLock<'_, T> {
    /// Keeps the instance, of these bytes, for the next sample of the source. Least recently used instances are dropped for it.
    pub(crate) fn keep(mut self, live: T, bytes: u64) {
        if bytes > MAX_SOURCE_INSTANCE_BYTES {
            // It would not fit even if all others were dropped.
            return;
        }
        let mut gone = Vec::new();
        let mut table = self.sources.lock();
        while !table.fits(bytes) {
            match table.oldest() {
                Some(oldest) => gone.push(oldest),
                None => break,
            }
        }
        let mut ended = None;
        let mut permit = self.permit.take().or_else(|| self.sources.budget.take());
        if permit.is_none() {
            // Other components have all permits: one instance of this component is dropped.
            if let Some((old, freed)) = gone.pop().or_else(|| table.oldest()) {
                ended = Some(old);
                permit = Some(freed);
            }
        }
        let fits = table.fits(bytes);
        let entry = table.by_name.get_mut(self.source);
        if let (Some(permit), Some(entry), true) = (permit, entry, fits) {
            entry.bytes = bytes;
            entry.live = Some((live, permit));
        }
        drop(table);
        drop((gone, ended));
        // Dropping the lock wakes waiting calls.
    }
}

impl<T> Drop for SourceLock<'_, T> {
    fn drop(&mut self) {
        let mut table = self.sources.lock();
        // No instance was kept: the source starts with a new one.
        if table.by_name.get(self.source).is_some_and(Entry::busy) {
            table.by_name.remove(self.source);
        }
        drop(table);
        self.sources.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use super::*;

    fn long() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// One call of a source: the number of calls that its instance has seen.
    fn call(sources: &Sources<u32>, source: &str, bytes: u64) -> u32 {
        let (lock, live) = sources.lock_source(source, long()).unwrap();
        let seen = live.unwrap_or(0) + 1;
        lock.keep(seen, bytes);
        seen
    }

    #[test]
    fn each_source_keeps_its_own_and_a_failure_ends_one_alone() {
        let sources = Sources::new(InstanceBudget::new(9));
        assert_eq!(call(&sources, "a", 1), 1);
        assert_eq!(call(&sources, "b", 1), 1);
        assert_eq!(call(&sources, "a", 1), 2);
        // A call that does not give its instance back.
        drop(sources.lock_source("a", long()));
        assert_eq!(call(&sources, "a", 1), 1);
        assert_eq!(call(&sources, "b", 1), 2);
        sources.forget();
        assert_eq!(call(&sources, "b", 1), 1);
    }

    #[test]
    fn the_least_recent_makes_way_by_count_by_bytes_and_by_places() {
        let sources = Sources::new(InstanceBudget::new(100));
        for number in 0..=MAX_SOURCE_INSTANCES {
            call(&sources, &number.to_string(), 1);
        }
        assert_eq!(sources.count(), (MAX_SOURCE_INSTANCES, 16));
        assert_eq!(call(&sources, "0", 1), 1, "it was the oldest");
        assert_eq!(call(&sources, "5", 1), 2);
        assert_eq!(call(&sources, "big", MAX_SOURCE_INSTANCE_BYTES), 1);
        assert_eq!(sources.count(), (1, MAX_SOURCE_INSTANCE_BYTES));
        assert_eq!(call(&sources, "larger", MAX_SOURCE_INSTANCE_BYTES + 1), 1);
        let alone = (1, MAX_SOURCE_INSTANCE_BYTES);
        assert_eq!(
            sources.count(),
            alone,
            "it cannot stay, and no other instance is dropped"
        );

        let budget = InstanceBudget::new(2);
        let (one, two) = (
            Sources::new(Arc::clone(&budget)),
            Sources::new(Arc::clone(&budget)),
        );
        call(&one, "a", 1);
        call(&two, "a", 1);
        call(&two, "b", 1);
        assert_eq!((one.count().0, two.count().0), (1, 1));
        assert_eq!(call(&two, "b", 1), 2);
        drop(two);
        call(&one, "b", 1);
        assert_eq!(one.count().0, 2);
    }

    #[test]
    fn calls_of_one_source_go_one_after_the_other() {
        let sources = Sources::new(InstanceBudget::new(9));
        let (lock, _) = sources.lock_source("a", long()).unwrap();
        assert!(sources.lock_source("a", Instant::now()).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| call(&sources, "a", 1));
            lock.keep(7, 1);
            assert_eq!(waiting.join().unwrap(), 8);
        });
    }
}
