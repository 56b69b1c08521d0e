//! Compilation of components: in a separate process of this same program, under limits; or on threads of this process, in a program
//! that does not call [`compile_worker`], such as the tests of this crate.

mod interrupt;
mod limits;
mod process;
mod wire;
mod worker;

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::interrupt::{CompileInterrupt, RaisedInterrupt};
pub use self::limits::{
    CompileLimits, MAX_COMPILE_MEMORY_MIB, MAX_CPU_SECONDS, MIN_COMPILE_MEMORY_MIB,
};
use self::process::Worker;
use crate::cache::deserialize;
use crate::code::Code;
use crate::engine_error::EngineError;
use crate::memory::MemoryMode;
use crate::prepare_error::PrepareError;
use crate::priority::low_priority;
use crate::work::TooComplex;
use crate::worker_error::WorkerError;

/// Deadline of the compilation of one component. The largest runtimes take minutes on a small device.
const COMPILE_LIMIT: Duration = Duration::from_mins(15);
/// The argument of a process that compiles.
const ARGUMENT: &str = "compile-worker";

/// Whether this program calls [`compile_worker`], so that it can be started to compile.
static OFFERED: AtomicBool = AtomicBool::new(false);

/// Call this first in `main`, and return its exit code if there is one: then this process was started to compile one component, and is
/// done. From then on this program compiles components in a separate process.
pub fn compile_worker() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == ARGUMENT) && arguments.next().is_none() {
        return Some(worker::serve());
    }
    OFFERED.store(true, Ordering::Relaxed);
    None
}

/// The settings that the compiled code depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Codegen {
    /// Whether fuel is counted.
    pub(crate) fuel: bool,
    pub(crate) mode: MemoryMode,
}

impl Codegen {
    fn config(self) -> wasmtime::Config {
        crate::memory::config(self.fuel, self.mode)
    }
}

#[derive(Debug)]
pub(crate) enum Compiler {
    Worker(Worker),
    /// wasmtime uses the pool that it is called in. Its threads have low priority, since another release may serve meanwhile.
    Threads(rayon::ThreadPool),
}

/// Why a component was not compiled.
#[derive(Debug)]
enum Failure {
    /// The compiler refused the component.
    Refused(Box<dyn Error + Send + Sync>),
    TooComplex(TooComplex),
    TooLong,
    Memory,
    Cpu,
    /// The compiler panicked, or its process crashed.
    Crashed,
    /// Ended by [`CompileInterrupt::raise`].
    Interrupted,
    Worker(WorkerError),
}

impl Compiler {
    pub(crate) fn new(limits: CompileLimits) -> Result<Self, EngineError> {
        if OFFERED.load(Ordering::Relaxed) {
            return Ok(Self::Worker(Worker::new(limits)));
        }
        threads().map(Self::Threads).map_err(EngineError::Compilers)
    }

    /// Compiles a component for this engine, which has these settings. A separate process also returns the code, for the cache.
    pub(crate) fn compile(
        &self,
        engine: &wasmtime::Engine,
        codegen: Codegen,
        name: &str,
        bytes: &[u8],
    ) -> Result<(wasmtime::component::Component, Option<Code>), PrepareError> {
        let made = match self {
            Self::Worker(worker) => worker.compile(codegen, bytes).and_then(|code| {
                let component = deserialize(engine, code.bytes())
                    .map_err(|source| Failure::Refused(source.into()))?;
                Ok((component, Some(code)))
            }),
            Self::Threads(threads) => {
                let (engine, bytes) = (engine.clone(), bytes.to_vec());
                let work = move || wasmtime::component::Component::new(&engine, &bytes);
                within(COMPILE_LIMIT, threads, work).and_then(|made| {
                    let component = made.map_err(|source| Failure::Refused(source.into()))?;
                    Ok((component, None))
                })
            }
        };
        made.map_err(|failure| self.explain(failure, name))
    }

    /// Ends its compilations. None where they run in threads of this process, which cannot be ended.
    pub(crate) fn interrupt(&self) -> Option<&CompileInterrupt> {
        match self {
            Self::Worker(worker) => Some(&worker.interrupt),
            Self::Threads(_) => None,
        }
    }

    fn explain(&self, failure: Failure, component: &str) -> PrepareError {
        let component = component.to_owned();
        let limits = match self {
            Self::Worker(worker) => worker.limits,
            Self::Threads(_) => CompileLimits::default(),
        };
        match failure {
            Failure::Refused(source) => PrepareError::Compile { component, source },
            Failure::TooComplex(what) => PrepareError::TooComplex { component, what },
            Failure::TooLong => PrepareError::TooSlow {
                component,
                minutes: COMPILE_LIMIT.as_secs() / 60,
            },
            Failure::Memory => PrepareError::CompileMemory {
                component,
                mib: limits.memory_mib,
            },
            Failure::Cpu => PrepareError::CompileCpu {
                component,
                seconds: limits.cpu_seconds,
            },
            Failure::Crashed => PrepareError::Compiler { component },
            Failure::Interrupted => PrepareError::Interrupted { component },
            Failure::Worker(source) => PrepareError::Worker { component, source },
        }
    }
}

fn threads() -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new()
        .thread_name(|number| format!("hotshoe-compile-{number}"))
        .start_handler(|_| {
            if let Err(error) = low_priority() {
                tracing::warn!(%error, "components are compiled with ordinary priority");
            }
        })
        .build()
}

/// Runs `work` on one of these threads, and waits at most `limit` for it. Work that takes longer continues, and its result is discarded.
fn within<T: Send + 'static>(
    limit: Duration,
    threads: &rayon::ThreadPool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (done, result) = mpsc::sync_channel(1);
    threads.spawn(move || {
        // A panic that reached the pool would end the process.
        if let Ok(made) = catch_unwind(AssertUnwindSafe(work)) {
            // The receiver may be gone.
            let _ = done.send(made);
        }
    });
    result.recv_timeout(limit).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => Failure::TooLong,
        mpsc::RecvTimeoutError::Disconnected => Failure::Crashed,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn code_of_a_process_that_compiles_is_that_of_one_that_serves() {
        let bytes = wat::parse_str("(component (core module (func (loop (br 0)))))").unwrap();
        for mode in MemoryMode::ALL {
            for fuel in [false, true] {
                let codegen = Codegen { fuel, mode };
                let compiling = wasmtime::Engine::new(&codegen.config()).unwrap();
                let code = compiling.precompile_component(&bytes).unwrap();
                // With its pool.
                let (engine, _) = crate::memory::start(&[mode], fuel, 1).unwrap();
                let own = wasmtime::component::Component::new(&engine, &bytes).unwrap();
                assert_eq!(own.serialize().unwrap(), code);
                assert!(deserialize(&engine, &code).is_ok());
            }
        }
    }

    #[test]
    fn work_that_takes_too_long_is_not_waited_for() {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let long = Duration::from_secs(60);
        assert_eq!(within(long, &threads, || 1).unwrap(), 1);
        let panics = || -> u8 { std::panic::resume_unwind(Box::new("a panic")) };
        let failed = within(long, &threads, panics);
        assert!(matches!(failed, Err(Failure::Crashed)), "{failed:?}");
        let (go, wait) = mpsc::channel::<()>();
        let slow = move || wait.recv().is_ok();
        let none = within(Duration::ZERO, &threads, slow);
        assert!(matches!(none, Err(Failure::TooLong)), "{none:?}");
        go.send(()).unwrap();
    }
}
