use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hotshoe_trust::ReleaseLimits;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::cache::CodeCache;
use crate::priority::low_priority;
use crate::sources::Budget;

/// Resolution of a component's deadline: how often a running guest is looked at.
pub const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Most linear memory that a release can grant to one component, in bytes. It sizes the pool's slots.
const MAX_MEMORY_BYTES: usize = (ReleaseLimits::MEMORY_MIB as usize) << 20;
/// Core modules that one component may bring along; language runtimes need several. Slots of these cost nothing.
const CORE_INSTANCES_PER_COMPONENT: u32 = ReleaseLimits::INSTANCES as u32;
/// Linear memories that one component may have. All count against its `memory-mib`. One in JavaScript has three: two of them, with no pages, are
/// of the stubs in the place of WASI.
pub(crate) const MEMORIES_PER_COMPONENT: u32 = 4;
/// Tables that one component may have. All count against its `table-elements`.
const TABLES_PER_COMPONENT: u32 = 16;
/// Instances that stay with their sources at once, over all components whose `instance` is `per-source`. They are besides
/// [`EngineOptions::instances`].
const SOURCE_INSTANCES: u32 = 64;
/// Linear memory that stays resident in a free slot, in bytes: resetting it is cheaper than a page fault.
const KEEP_RESIDENT_BYTES: usize = 256 * 1024;

/// How to set up an [`Engine`].
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Folder for compiled code, made when missing with access for its owner alone; none compiles anew at each start.
    pub cache: Option<PathBuf>,
    /// Instances that may exist at once, over all components and workers. Default 64.
    pub instances: u32,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            cache: None,
            instances: 64,
        }
    }
}

/// Why an engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// This machine refuses what the pool of instances needs.
    #[error(
        "cannot reserve address space for {instances} component instances; raise `ulimit -v`, or run with fewer workers"
    )]
    Pool {
        /// How many were asked for.
        instances: u32,
        /// What wasmtime says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The ticker thread could not be started.
    #[error("cannot start the thread that watches deadlines")]
    Ticker(#[source] std::io::Error),
    /// The threads that compile could not be started.
    #[error("cannot start the threads that compile components")]
    Compilers(#[source] rayon::ThreadPoolBuildError),
}

/// Compiles components and holds the pool that their instances live in.
pub struct Engine {
    plain: wasmtime::Engine,
    /// Made for the first component that counts fuel: counting costs every one of its loops a little.
    fuelled: Mutex<Option<wasmtime::Engine>>,
    options: EngineOptions,
    /// How many more instances may stay with a source.
    pub(crate) kept: Arc<Budget>,
    pub(crate) cache: Option<CodeCache>,
    /// Where components are compiled: wasmtime spreads the work over the pool that it is called in. Its threads have low
    /// priority, since another release may be serving meanwhile.
    pub(crate) compilers: rayon::ThreadPool,
}

impl Engine {
    /// Sets up the pool and the thread that watches deadlines.
    ///
    /// # Errors
    /// [`EngineError`], when the machine refuses the address space or a thread.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        Ok(Self {
            plain: start(&options, false)?,
            fuelled: Mutex::new(None),
            kept: Budget::new(SOURCE_INSTANCES),
            cache: options.cache.clone().map(CodeCache::new),
            compilers: compilers()?,
            options,
        })
    }

    /// The engine for components that count fuel, or that do not.
    pub(crate) fn wasmtime(&self, fuel: bool) -> Result<wasmtime::Engine, EngineError> {
        if !fuel {
            return Ok(self.plain.clone());
        }
        let mut fuelled = self
            .fuelled
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(engine) = &*fuelled {
            return Ok(engine.clone());
        }
        let engine = start(&self.options, true)?;
        *fuelled = Some(engine.clone());
        Ok(engine)
    }
}

fn compilers() -> Result<rayon::ThreadPool, EngineError> {
    rayon::ThreadPoolBuilder::new()
        .thread_name(|number| format!("hotshoe-compile-{number}"))
        .start_handler(|_| {
            if let Err(error) = low_priority() {
                tracing::warn!(%error, "components are compiled with ordinary priority");
            }
        })
        .build()
        .map_err(EngineError::Compilers)
}

fn start(options: &EngineOptions, fuel: bool) -> Result<wasmtime::Engine, EngineError> {
    let mut pool = PoolingAllocationConfig::new();
    let instances = options.instances.saturating_add(SOURCE_INSTANCES);
    let each = |of_one: u32| instances.saturating_mul(of_one);
    pool.total_component_instances(instances)
        .total_core_instances(each(CORE_INSTANCES_PER_COMPONENT))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        // Each takes 4 GiB of addresses, of which some boards have 512 GiB in all. Most components have one memory.
        .total_memories(instances)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_memory_size(MAX_MEMORY_BYTES)
        .total_tables(each(TABLES_PER_COMPONENT))
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .table_elements(ReleaseLimits::TABLE_ELEMENTS as usize)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .consume_fuel(fuel)
        .concurrency_support(false);
    let engine = wasmtime::Engine::new(&config).map_err(|source| EngineError::Pool {
        instances: options.instances,
        source: source.into(),
    })?;
    let ticked = engine.weak();
    thread::Builder::new()
        .name("hotshoe-epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = ticked.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(EPOCH_TICK);
            }
        })
        .map_err(EngineError::Ticker)?;
    Ok(engine)
}
