//! Memory modes: the layout of linear memories in the address space of this process. The mode is chosen by trial at the start.

use std::fmt;
use std::hint::black_box;

use hotshoe_trust::{Limits, ReleaseLimits};
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::engine_error::EngineError;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Most linear memory that a release can grant to one component, in bytes.
pub(crate) const MAX_MEMORY_BYTES: u64 = ReleaseLimits::MEMORY_MIB * MIB;
/// Most elements that a release can grant to the tables of one component.
pub(crate) const MAX_TABLE_ELEMENTS: u64 = ReleaseLimits::TABLE_ELEMENTS;
/// Most core modules of one component; language runtimes need several. Their slots cost nothing.
pub(crate) const CORE_INSTANCES_PER_COMPONENT: u32 = ReleaseLimits::INSTANCES as u32;
/// Most linear memories of one component. All count against its `memory-mib`. A component in JavaScript has three: two of them, without
/// pages, belong to stubs of WASI.
pub(crate) const MEMORIES_PER_COMPONENT: u32 = 4;
/// Most tables of one component. All count against its `table-elements`.
pub(crate) const TABLES_PER_COMPONENT: u32 = 16;

/// Linear memory that stays resident in a free slot, in bytes: resetting it is cheaper than a page fault.
const KEEP_RESIDENT_BYTES: usize = 256 * 1024;
/// Bytes of one element in a pool's tables: a pointer.
const TABLE_ELEMENT_BYTES: u64 = 8;
/// Address space that a pool must leave, in bytes: for models, stacks, and the allocator's arenas of 64 MiB each.
const SPARE_ADDRESSES: u64 = 4 * GIB;
/// Data that a pool must leave, in bytes: writable memory counts, whether or not it is resident.
const SPARE_DATA: u64 = 128 * MIB;
/// Least address space and data of a daemon without a pool, in bytes: about twenty threads with their stacks, and one instance.
const LEAST_ADDRESSES: u64 = 512 * MIB;
const LEAST_DATA: u64 = 64 * MIB;

/// Layout of the linear memories of components in the address space. Limits and results are the same in each mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum MemoryMode {
    /// Each memory reserves 4 GiB of addresses, so that compiled code needs no bounds checks. Instances come from a pool.
    Guard,
    /// Each memory reserves 64 MiB in a smaller pool, and compiled code checks bounds. Components with a higher limit do not use the pool.
    Compact,
    /// No pool: each instance reserves memory when it is created, and compiled code checks bounds.
    OnDemand,
}

/// Reservations of a mode, in bytes.
struct Layout {
    /// Addresses for one memory. Beyond that it moves when it grows.
    memory: u64,
    /// Addresses after it that are never mapped.
    guard: u64,
    /// Addresses after a moved memory, for its growth.
    growth: u64,
    /// Elements of one table in the pool; `None` without a pool.
    pooled_elements: Option<u64>,
}

impl MemoryMode {
    /// All modes, from the fastest, which takes the most addresses, to the one that takes the fewest.
    pub const ALL: [Self; 3] = [Self::Guard, Self::Compact, Self::OnDemand];

    /// Its name, in kebab case.
    pub fn name(self) -> &'static str {
        self.into()
    }

    const fn layout(self) -> Layout {
        match self {
            // wasmtime omits bounds checks from 4 GiB on; guard and growth are its defaults.
            Self::Guard => Layout {
                memory: MAX_MEMORY_BYTES,
                guard: 32 * MIB,
                growth: 2 * GIB,
                pooled_elements: Some(MAX_TABLE_ELEMENTS),
            },
            // Components with default limits fit the pool.
            Self::Compact => Layout {
                memory: 64 * MIB,
                guard: MIB,
                growth: 256 * MIB,
                pooled_elements: Some(65_536),
            },
            Self::OnDemand => Layout {
                memory: 16 * MIB,
                guard: MIB,
                growth: 64 * MIB,
                pooled_elements: None,
            },
        }
    }

    /// Whether the pool of this mode fits a component with these limits and largest parts. A memory in a pool cannot move.
    pub(crate) fn pools(self, limits: &Limits, largest: &Largest) -> bool {
        let layout = self.layout();
        let memory = largest.memory_bytes.max(u64::from(limits.memory_mib) * MIB);
        let elements = largest.table_elements.max(limits.table_elements.into());
        match self {
            // The pool itself refuses what does not fit these slots.
            Self::Guard => true,
            Self::Compact => {
                memory <= layout.memory
                    && layout.pooled_elements.is_some_and(|most| elements <= most)
            }
            Self::OnDemand => false,
        }
    }

    /// Reservation of its pool for so many instances, in bytes of addresses and of data. Data is mapped writable, and resident only
    /// after it was written.
    fn pool_bytes(self, instances: u32) -> (u64, u64) {
        let layout = self.layout();
        let Some(elements) = layout.pooled_elements else {
            return (0, 0);
        };
        let instances = u64::from(instances);
        let tables = instances * u64::from(TABLES_PER_COMPONENT) * elements * TABLE_ELEMENT_BYTES;
        let memories = instances * (layout.memory + layout.guard) + layout.guard;
        (memories + tables, tables)
    }
}

impl fmt::Display for MemoryMode {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.name())
    }
}

/// The largest initial memory and table of any module of a component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Largest {
    pub(crate) memory_bytes: u64,
    pub(crate) table_elements: u64,
}

/// A mode, and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryChoice {
    /// The mode.
    pub mode: MemoryMode,
    /// Why it was chosen.
    pub reason: String,
}

/// All settings that compiled code depends on. Compilation uses only these; a serving engine also has the pool of the mode.
pub(crate) fn config(fuel: bool, mode: MemoryMode) -> Config {
    let layout = mode.layout();
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(fuel)
        .concurrency_support(false)
        .memory_reservation(layout.memory)
        .memory_guard_size(layout.guard)
        .memory_reservation_for_growth(layout.growth)
        .memory_may_move(true);
    config
}

fn pool(mode: MemoryMode, instances: u32) -> Option<PoolingAllocationConfig> {
    let layout = mode.layout();
    let elements = usize::try_from(layout.pooled_elements?).ok()?;
    let memory = usize::try_from(layout.memory).ok()?;
    let each = |of_one: u32| instances.saturating_mul(of_one);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(each(CORE_INSTANCES_PER_COMPONENT))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        // Each takes the reservation of the mode. Most components have one memory.
        .total_memories(instances)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_memory_size(memory)
        .total_tables(each(TABLES_PER_COMPONENT))
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .table_elements(elements)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        // Calls run on the stacks of their threads: wasmtime's own stacks, 2 GiB by default, would be unused.
        .total_stacks(0);
    Some(pool)
}

/// Starts wasmtime in the first of these modes that fits this process.
///
/// # Errors
/// [`EngineError::Memory`] if none does.
pub(crate) fn start(
    modes: &[MemoryMode],
    fuel: bool,
    instances: u32,
) -> Result<(wasmtime::Engine, MemoryChoice), EngineError> {
    let mut refused = Vec::new();
    for mode in modes {
        match start_in(*mode, fuel, instances) {
            Ok(engine) => {
                let reason = match (modes, refused.is_empty()) {
                    ([_], _) => "it is configured".to_owned(),
                    (_, true) => {
                        "it is the fastest, and this process has enough memory for it".to_owned()
                    }
                    (_, false) => refused.join("; "),
                };
                let choice = MemoryChoice {
                    mode: *mode,
                    reason,
                };
                return Ok((engine, choice));
            }
            Err(why) => refused.push(why),
        }
    }
    Err(EngineError::Memory {
        refused: refused.join("; "),
        remedy: remedy(),
    })
}

/// Starts wasmtime in this mode; the error says why it does not fit.
fn start_in(mode: MemoryMode, fuel: bool, instances: u32) -> Result<wasmtime::Engine, String> {
    let mut config = config(fuel, mode);
    let (spare_addresses, spare_data) = match pool(mode, instances) {
        Some(pool) => {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            (SPARE_ADDRESSES, SPARE_DATA)
        }
        None => (LEAST_ADDRESSES, LEAST_DATA),
    };
    let (addresses, data) = mode.pool_bytes(instances);
    // It counts whether or not it is resident, and models need the rest.
    if getrlimit(Resource::Data)
        .current
        .is_some_and(|most| data > most / 2)
    {
        return Err(format!(
            "{mode} takes {} of data, more than half of the limit{}",
            size(data),
            limits()
        ));
    }
    let engine = wasmtime::Engine::new(&config).map_err(|error| {
        let cause = error.root_cause().to_string();
        match addresses {
            0 => format!("{mode} cannot be set up ({cause})"),
            _ => format!(
                "{mode} takes {} of addresses, {} of it data, which are not available{} ({cause})",
                size(addresses),
                size(data),
                limits(),
            ),
        }
    })?;
    let left = match addresses {
        0 => "there are",
        _ => "it leaves",
    };
    if !is_free(spare_addresses) {
        let least = size(spare_addresses);
        return Err(format!(
            "{mode} does not fit: {left} less than {least} of addresses{}",
            limits()
        ));
    }
    if !is_writable(spare_data) {
        let least = size(spare_data);
        return Err(format!(
            "{mode} does not fit: {left} less than {least} of data{}",
            limits()
        ));
    }
    Ok(engine)
}

/// Starts wasmtime in this mode without its pool, for components that do not fit the pool.
pub(crate) fn unpooled(fuel: bool, mode: MemoryMode) -> Result<wasmtime::Engine, EngineError> {
    wasmtime::Engine::new(&config(fuel, mode)).map_err(|error| EngineError::Memory {
        refused: format!("{mode} cannot be set up without its pool ({error:#})"),
        remedy: remedy(),
    })
}

/// Whether so many bytes of addresses can be reserved, as wasmtime does it. The reservation is released.
fn is_free(bytes: u64) -> bool {
    let Ok(size) = usize::try_from(bytes) else {
        return false;
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(1)
        .max_memory_size(size)
        .total_tables(0)
        .total_stacks(0)
        .total_gc_heaps(0);
    let mut config = Config::new();
    config
        .enable_compiler(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_reservation(bytes)
        .memory_guard_size(0);
    wasmtime::Engine::new(&config).is_ok()
}

/// Whether so many bytes can be allocated. They are freed without being written.
fn is_writable(bytes: u64) -> bool {
    let mut probe = Vec::<u8>::new();
    let fits = usize::try_from(bytes).is_ok_and(|bytes| probe.try_reserve_exact(bytes).is_ok());
    // Otherwise the compiler may remove the allocation.
    black_box(&probe);
    fits
}

/// The memory limits of this process, as a part of a sentence; empty without limits.
fn limits() -> String {
    [(Resource::As, "RLIMIT_AS"), (Resource::Data, "RLIMIT_DATA")]
        .into_iter()
        .filter_map(|(resource, name)| Some((name, getrlimit(resource).current?)))
        .map(|(name, most)| format!(", {name} is {}", size(most)))
        .collect()
}

/// What an operator can do about it.
fn remedy() -> &'static str {
    let is_set = |resource| getrlimit(resource).current.is_some();
    match (is_set(Resource::As), is_set(Resource::Data)) {
        (true, true) => {
            "raise the limits of this process (`ulimit -v` and `ulimit -d`; LimitAS= and LimitDATA= of a systemd unit)"
        }
        (true, false) => {
            "raise the limit of addresses of this process (`ulimit -v`; LimitAS= of a systemd unit)"
        }
        (false, true) => {
            "raise the limit of data of this process (`ulimit -d`; LimitDATA= of a systemd unit)"
        }
        (false, false) => {
            "this machine has too little free memory: stop other programs, or allow overcommit (vm.overcommit_memory = 0)"
        }
    }
}

/// A size with one decimal.
fn size(bytes: u64) -> String {
    let (unit, name) = if bytes >= GIB {
        (GIB, "GiB")
    } else {
        (MIB, "MiB")
    };
    let tenths = bytes.saturating_mul(10) / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn each_mode_starts_and_no_two_share_compiled_code() {
        let engines = MemoryMode::ALL.map(|mode| start(&[mode], false, 128).unwrap());
        for (engine, choice) in &engines {
            // A component of nothing: it is the settings that code is marked with.
            let code = engine.precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
            for (other, its) in &engines {
                let is_same = its.mode == choice.mode;
                let is_taken = crate::cache::deserialize(other, &code).is_ok();
                assert_eq!(is_taken, is_same, "{choice:?}");
            }
        }
    }

    #[test]
    fn a_mode_that_does_not_fit_is_passed_over_by_name() {
        // More slots than any address space has room for.
        let (_, choice) = start(&MemoryMode::ALL, false, 1 << 16).unwrap();
        assert!(choice.mode > MemoryMode::Guard);
        assert!(choice.reason.contains("guard takes"), "{choice:?}");
        let forced = start(&[MemoryMode::Guard], false, 1 << 16);
        let said = forced.map(drop).unwrap_err().to_string();
        assert!(
            said.contains("guard takes") && !said.contains("workers"),
            "{said}"
        );
    }

    #[test]
    fn what_does_not_fit_a_slot_is_made_without_the_pool() {
        let limits = |memory_mib, table_elements| Limits {
            memory_mib,
            table_elements,
            ..Limits::default()
        };
        let small = Largest::default();
        let large = Largest {
            memory_bytes: 65 * MIB,
            ..small
        };
        let default = Limits::default();
        assert!(MemoryMode::Compact.pools(&default, &small));
        assert!(!MemoryMode::Compact.pools(&limits(65, 1), &small));
        assert!(!MemoryMode::Compact.pools(&limits(1, 65_537), &small));
        assert!(!MemoryMode::Compact.pools(&default, &large));
        assert!(MemoryMode::Guard.pools(&limits(4096, 262_144), &large));
        assert!(!MemoryMode::OnDemand.pools(&default, &small));
    }

    #[test]
    fn what_is_free_and_what_is_not() {
        assert!(is_free(MIB) && is_writable(MIB));
        // Half of what 64 bits can name.
        assert!(!is_free(1 << 63));
        assert!(!is_writable(1 << 62));
        assert_eq!(size(549_755_813_888), "512.0 GiB");
        assert_eq!(size(268_435_456), "256.0 MiB");
    }
}
