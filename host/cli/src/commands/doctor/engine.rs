//! The engine that runs components.

use hotshoe_base::chain;
use hotshoe_config::Config;
use hotshoe_config::WorkersConfig;
use hotshoe_daemon::deploy::engine_options;
use hotshoe_engine::{CompileLimits, Engine, EngineError, MemoryChoice};

use super::{Finding, State};

/// Starts the engine as the daemon does: the only way to know whether its memory fits.
pub(super) fn engine(config: Option<&Config>) -> (Option<MemoryChoice>, Finding) {
    const WHAT: &str = "engine";
    let threads = config.map_or_else(|| WorkersConfig::default().threads, |it| it.workers.threads);
    match Engine::new(engine_options(threads, CompileLimits::default())) {
        Ok(engine) => {
            let memory = engine.memory().clone();
            let found = format!(
                "components run; their memory mode is {}: {}",
                memory.mode, memory.reason
            );
            (Some(memory), Finding::ok(WHAT, found))
        }
        Err(EngineError::Memory { refused, remedy }) => {
            let found = format!(
                "this process has too little address space or memory for components: {refused}"
            );
            (None, Finding::bad(WHAT, State::Fail, found, remedy))
        }
        Err(error) => {
            let advice = "raise the limits of this process: threads (`ulimit -u`), address space (`ulimit -v`)";
            let finding = Finding::bad(WHAT, State::Fail, chain(&error), advice);
            (None, finding)
        }
    }
}
