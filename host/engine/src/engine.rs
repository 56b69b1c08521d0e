use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hotshoe_sealing::{AtRest, SecretSource};
use hotshoe_trust::Limits;
use parking_lot::Mutex;

use crate::cache::CodeCache;
use crate::compiler::{CompileInterrupt, CompileLimits, Compiler};
use crate::engine_error::EngineError;
use crate::kept_back::KeptBack;
use crate::memory::{self, Largest, MemoryChoice, MemoryMode};
use crate::shared_texts::SharedTexts;
use crate::sources::InstanceBudget;

/// Resolution of a component's deadline: the interval between two epochs.
pub const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Most instances that stay with their sources, over all components whose `instance` is `per-source`. They are in addition to
/// [`EngineOptions::instances`].
const SOURCE_INSTANCES: u32 = 64;

/// How to set up an [`Engine`].
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Folder of compiled code; created if missing, with access for its owner only. `None`: components are compiled at each start.
    pub cache: Option<PathBuf>,
    /// How the files of that folder are kept. Default: as they are.
    pub at_rest: AtRest,
    /// The secrets of the device. Default: none.
    pub secrets: Option<SecretSource>,
    /// Most instances at once, over all components and workers. Default 64.
    pub instances: u32,
    /// Layout of linear memories in the address space. Default: the first mode of [`MemoryMode::ALL`] that fits.
    pub memory: Option<MemoryMode>,
    /// Limits of the process that compiles a component.
    pub compile: CompileLimits,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            cache: None,
            at_rest: AtRest::plain(),
            secrets: None,
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

/// Compiles components and holds the memories that their instances live in.
pub struct Engine {
    /// wasmtime's engines by their settings. The first is created at the start, the others when a component needs them.
    engines: Mutex<BTreeMap<EngineKey, ModeEngine>>,
    memory: MemoryChoice,
    options: EngineOptions,
    /// The budget of instances that stay with a source.
    pub(crate) kept: Arc<InstanceBudget>,
    pub(crate) cache: Option<CodeCache>,
    pub(crate) compiler: Compiler,
    pub(crate) shared_texts: SharedTexts,
    pub(crate) secrets: Option<SecretSource>,
    pub(crate) kept_back: KeptBack,
}

/// The settings for which components need different engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct EngineKey {
    /// Counting costs every loop a little.
    fuel: bool,
    /// Whether instances come from the mode's pool. Code is the same either way.
    pooled: bool,
}

/// One of wasmtime's engines with its memory mode.
#[derive(Clone)]
pub(crate) struct ModeEngine {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) mode: MemoryMode,
}

impl Engine {
    /// Chooses the memory mode, and sets up its pool and the thread that watches deadlines.
    ///
    /// # Errors
    /// [`EngineError`] if the system refuses the memory or a thread.
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
            cache: options
                .cache
                .clone()
                .map(|folder| CodeCache::new(folder, options.at_rest.clone())),
            compiler: Compiler::new(options.compile)?,
            shared_texts: SharedTexts::default(),
            secrets: options.secrets.clone(),
            kept_back: KeptBack::default(),
            options,
        })
    }

    /// The device's shared values, which components read.
    pub const fn shared_texts(&self) -> &SharedTexts {
        &self.shared_texts
    }

    /// What data contracts kept on the device, of the components of this engine and of all that shares the counts.
    pub const fn kept_back(&self) -> &KeptBack {
        &self.kept_back
    }

    /// The memory mode, and why it was chosen.
    pub const fn memory(&self) -> &MemoryChoice {
        &self.memory
    }

    /// Ends compilations that run in a process of their own. None where they run in threads of this process, which cannot be ended.
    pub fn compile_interrupt(&self) -> Option<CompileInterrupt> {
        self.compiler.interrupt().cloned()
    }

    /// The engine for a component with these limits and these largest initial memories and tables.
    pub(crate) fn engine_for(
        &self,
        limits: &Limits,
        largest: &Largest,
    ) -> Result<ModeEngine, EngineError> {
        let mut all = self.engines.lock();
        let fuel = limits.fuel.is_some();
        let mut key = EngineKey { fuel, pooled: true };
        let first = match all.get(&key) {
            Some(first) => first.clone(),
            None => {
                // The mode that was chosen at the start may not fit a second time.
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

/// Starts the thread that increments the epoch while this engine exists.
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
