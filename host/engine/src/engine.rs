use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hotshoe_trust::Limits;

use crate::cache::CodeCache;
use crate::compiler::{CompileLimits, Compiler};
use crate::memory::{self, Largest, MemoryChoice, MemoryMode};
use crate::sources::InstanceBudget;

/// Resolution of a component's deadline: how often a running guest is looked at.
pub const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Instances that stay with their sources at once, over all components whose `instance` is `per-source`. They are besides
/// [`EngineOptions::instances`].
const SOURCE_INSTANCES: u32 = 64;

/// How to set up an [`Engine`].
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Folder for compiled code, made when missing with access for its owner alone; none compiles anew at each start.
    pub cache: Option<PathBuf>,
    /// Instances that may exist at once, over all components and workers. Default 64.
    pub instances: u32,
    /// How linear memories lie in the process's addresses. Default: the first mode that fits, tried in the order of [`MemoryMode::ALL`].
    pub memory: Option<MemoryMode>,
    /// What the process that compiles a component may use up.
    pub compile: CompileLimits,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            cache: None,
            instances: 64,
            memory: None,
            compile: CompileLimits::default(),
        }
    }
}

impl EngineOptions {
    /// Slots that a pool has.
    const fn slots(&self) -> u32 {
        self.instances.saturating_add(SOURCE_INSTANCES)
    }
}

/// Why an engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// This process may not have the addresses or the memory that even the most frugal mode needs.
    #[error("there is no room for components in this process: {refused}; {remedy}")]
    Memory {
        /// Why each mode does not fit.
        refused: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The ticker thread could not be started.
    #[error("cannot start the thread that watches deadlines")]
    Ticker(#[source] std::io::Error),
    /// The threads that compile could not be started.
    #[error("cannot start the threads that compile components")]
    Compilers(#[source] rayon::ThreadPoolBuildError),
}

/// Compiles components and holds the memories that their instances live in.
pub struct Engine {
    /// wasmtime's engines, one for each set of settings; the first is there from the start, and the others are made when a component needs them.
    engines: Mutex<BTreeMap<EngineKey, ModeEngine>>,
    memory: MemoryChoice,
    options: EngineOptions,
    /// How many more instances may stay with a source.
    pub(crate) kept: Arc<InstanceBudget>,
    pub(crate) cache: Option<CodeCache>,
    pub(crate) compiler: Compiler,
}

/// What components need different engines for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct EngineKey {
    /// Counting costs every loop a little.
    fuel: bool,
    /// Whether instances come from the mode's pool. Code is the same either way.
    pooled: bool,
}

/// One of wasmtime's engines, and the mode that it is in.
#[derive(Clone)]
pub(crate) struct ModeEngine {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) mode: MemoryMode,
}

impl Engine {
    /// Chooses how memories lie, sets up their pool and the thread that watches deadlines.
    ///
    /// # Errors
    /// [`EngineError`], when the machine refuses the memory or a thread.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let wanted = options.memory;
        let modes = wanted
            .as_ref()
            .map_or(&MemoryMode::ALL[..], std::slice::from_ref);
        let (engine, memory) = memory::start(modes, false, options.slots())?;
        tick(&engine)?;
        let started = ModeEngine {
            engine,
            mode: memory.mode,
        };
        let key = EngineKey {
            fuel: false,
            pooled: true,
        };
        Ok(Self {
            engines: Mutex::new(BTreeMap::from([(key, started)])),
            memory,
            kept: InstanceBudget::new(SOURCE_INSTANCES),
            cache: options.cache.clone().map(CodeCache::new),
            compiler: Compiler::new(options.compile)?,
            options,
        })
    }

    /// How the linear memories of components lie, and why.
    pub const fn memory(&self) -> &MemoryChoice {
        &self.memory
    }

    /// The engine for a component with these limits, whose modules begin with these parts.
    pub(crate) fn engine_for(
        &self,
        limits: &Limits,
        largest: &Largest,
    ) -> Result<ModeEngine, EngineError> {
        let mut all = self
            .engines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let fuel = limits.fuel.is_some();
        let mut key = EngineKey { fuel, pooled: true };
        let first = match all.get(&key) {
            Some(first) => first.clone(),
            None => {
                // What was chosen at the start may not fit twice.
                let modes: Vec<_> = MemoryMode::ALL
                    .into_iter()
                    .filter(|mode| match self.options.memory {
                        Some(wanted) => *mode == wanted,
                        None => *mode >= self.memory.mode,
                    })
                    .collect();
                let (engine, chosen) = memory::start(&modes, fuel, self.options.slots())?;
                tick(&engine)?;
                let first = ModeEngine {
                    engine,
                    mode: chosen.mode,
                };
                all.insert(key, first.clone());
                first
            }
        };
        if first.mode == MemoryMode::OnDemand || first.mode.pools(limits, largest) {
            return Ok(first);
        }
        key.pooled = false;
        if let Some(found) = all.get(&key) {
            return Ok(found.clone());
        }
        let engine = memory::unpooled(fuel, first.mode)?;
        tick(&engine)?;
        let apart = ModeEngine {
            engine,
            mode: first.mode,
        };
        all.insert(key, apart.clone());
        Ok(apart)
    }
}

/// Lets deadlines be looked at for as long as this engine lives.
fn tick(engine: &wasmtime::Engine) -> Result<(), EngineError> {
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
        .map(drop)
        .map_err(EngineError::Ticker)
}
