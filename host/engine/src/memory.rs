//! How the linear memories of components lie in the addresses of this process, and which way fits: tried at the start, not guessed.

use std::fmt;
use std::hint::black_box;

use hotshoe_trust::{Limits, ReleaseLimits};
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::engine::EngineError;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Most linear memory that a release can grant to one component, in bytes.
pub(crate) const MAX_MEMORY_BYTES: u64 = ReleaseLimits::MEMORY_MIB * MIB;
/// Most elements that a release can grant to the tables of one component.
pub(crate) const MAX_TABLE_ELEMENTS: u64 = ReleaseLimits::TABLE_ELEMENTS;
/// Core modules that one component may bring along; language runtimes need several. Slots of these cost nothing.
pub(crate) const CORE_INSTANCES_PER_COMPONENT: u32 = ReleaseLimits::INSTANCES as u32;
/// Linear memories that one component may have. All count against its `memory-mib`. One in JavaScript has three: two of them, with no
/// pages, are of the stubs in the place of WASI.
pub(crate) const MEMORIES_PER_COMPONENT: u32 = 4;
/// Tables that one component may have. All count against its `table-elements`.
pub(crate) const TABLES_PER_COMPONENT: u32 = 16;

/// Linear memory that stays resident in a free slot, in bytes: resetting it is cheaper than a page fault.
const KEEP_RESIDENT_BYTES: usize = 256 * 1024;
/// Bytes of one element in a pool's tables: a pointer.
const TABLE_ELEMENT_BYTES: u64 = 8;
/// What a pool leaves, in bytes of addresses: models, the stacks of threads, and the allocator's arenas of 64 MiB each.
const SPARE_ADDRESSES: u64 = 4 * GIB;
/// What a pool leaves, in bytes of data: what is written to counts, whether or not it is resident.
const SPARE_DATA: u64 = 128 * MIB;
/// What a daemon needs at least without a pool, in bytes of addresses and of data: some twenty threads with their stacks, and one instance.
const LEAST_ADDRESSES: u64 = 512 * MIB;
const LEAST_DATA: u64 = 64 * MIB;

/// How the linear memories of components lie in the addresses of this process. Limits are the same in each mode, and so are results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryMode {
    /// Each memory has 4 GiB of addresses to itself, so that compiled code checks no bounds. Instances come from a pool.
    Guard,
    /// Each memory has 64 MiB, from a smaller pool, and compiled code checks bounds. A component that may have more is made without the pool.
    Compact,
    /// No pool: each instance reserves what it needs when it is made, and compiled code checks bounds.
    OnDemand,
}

/// What a mode reserves, in bytes.
struct Layout {
    /// Of addresses for one memory. Beyond that it moves when it grows.
    memory: u64,
    /// Of addresses after it that are never mapped.
    guard: u64,
    /// Of addresses behind a memory that has moved, for it to grow into.
    growth: u64,
    /// Elements of one table in the pool; none where there is no pool.
    pooled_elements: Option<u64>,
}

impl MemoryMode {
    /// From the fastest, which takes the most addresses, to the one that takes the fewest.
    pub const ALL: [Self; 3] = [Self::Guard, Self::Compact, Self::OnDemand];

    /// Its name, in kebab case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Compact => "compact",
            Self::OnDemand => "on-demand",
        }
    }

    const fn layout(self) -> Layout {
        match self {
            // wasmtime leaves bounds checks out from 4 GiB on; guard and growth are its own.
            Self::Guard => Layout {
                memory: MAX_MEMORY_BYTES,
                guard: 32 * MIB,
                growth: 2 * GIB,
                pooled_elements: Some(MAX_TABLE_ELEMENTS),
            },
            // Whatever keeps to the default limits comes from the pool.
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

    /// Whether this mode's pool has slots for a component with these limits and these largest parts. A memory in a pool cannot move.
    pub(crate) fn pools(self, limits: &Limits, largest: &Largest) -> bool {
        let layout = self.layout();
        let memory = largest.memory_bytes.max(u64::from(limits.memory_mib) * MIB);
        let elements = largest.table_elements.max(limits.table_elements.into());
        match self {
            // What does not fit these slots is refused by the pool itself.
            Self::Guard => true,
            Self::Compact => {
                memory <= layout.memory
                    && layout.pooled_elements.is_some_and(|most| elements <= most)
            }
            Self::OnDemand => false,
        }
    }

    /// What its pool reserves for so many instances, in bytes of addresses and of data. The latter is mapped to be written, and resident
    /// only where it was.
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

/// The largest parts that any module of a component begins with.
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
    /// Why it, and none before it, in words.
    pub reason: String,
}

/// All settings that compiled code depends on. Compiling takes these alone; what serves adds the mode's pool.
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
        // Each takes the mode's reservation. Most components have one memory.
        .total_memories(instances)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_memory_size(memory)
        .total_tables(each(TABLES_PER_COMPONENT))
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .table_elements(elements)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        // Calls run on the stacks of their threads: wasmtime's own stacks, 2 GiB of them by default, would never be used.
        .total_stacks(0);
    Some(pool)
}

/// Starts wasmtime in the first of these modes that fits this process now.
///
/// # Errors
/// [`EngineError::Memory`], where none does.
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
                    ([_], _) => "it was asked for".to_owned(),
                    (_, true) => {
                        "it is the fastest, and this process has the room for it".to_owned()
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

/// Says in words why this mode does not fit.
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
    // It counts whether or not it is resident, and models have to live with the rest.
    if getrlimit(Resource::Data)
        .current
        .is_some_and(|most| data > most / 2)
    {
        return Err(format!(
            "{mode} takes {} of data, more than half of what there may be{}",
            size(data),
            limits()
        ));
    }
    let engine = wasmtime::Engine::new(&config).map_err(|error| {
        let cause = error.root_cause().to_string();
        match addresses {
            0 => format!("{mode} cannot be set up ({cause})"),
            _ => format!(
                "{mode} takes {} of addresses, {} of it data, and cannot have them{} ({cause})",
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

/// wasmtime in this mode without its pool, for components that do not fit the pool's slots.
pub(crate) fn unpooled(fuel: bool, mode: MemoryMode) -> Result<wasmtime::Engine, EngineError> {
    wasmtime::Engine::new(&config(fuel, mode)).map_err(|error| EngineError::Memory {
        refused: format!("{mode} cannot be set up without its pool ({error:#})"),
        remedy: remedy(),
    })
}

/// Whether so many bytes of addresses can be reserved, in the way that wasmtime reserves them. Nothing stays reserved.
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

/// Whether so many bytes can be allocated. They are given back without having been touched.
fn is_writable(bytes: u64) -> bool {
    let mut probe = Vec::<u8>::new();
    let fits = usize::try_from(bytes).is_ok_and(|bytes| probe.try_reserve_exact(bytes).is_ok());
    // Else the compiler may leave the allocation out.
    black_box(&probe);
    fits
}

/// The limits that this process has, as a part of a sentence; nothing where it has none.
fn limits() -> String {
    [(Resource::As, "RLIMIT_AS"), (Resource::Data, "RLIMIT_DATA")]
        .into_iter()
        .filter_map(|(resource, name)| Some((name, getrlimit(resource).current?)))
        .map(|(name, most)| format!(", {name} is {}", size(most)))
        .collect()
}

/// What somebody can do about it.
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
            "this machine has too little memory to give: end something else, or let it promise more (vm.overcommit_memory = 0)"
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
