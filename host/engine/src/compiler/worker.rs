//! The process that compiles one component. It sets its limits before it reads the component, reads nothing but its standard input,
//! and ends with the process that started it.

use std::fs;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::thread;

use hotshoe_trust::ReleaseLimits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::wire::{MAX_REFUSAL_BYTES, Request, Response, exactly};
use crate::code::Code;

/// Exit code when there is not enough memory.
pub(super) const NO_MEMORY: u8 = 12;
/// Exit code of other failures, with a message on standard error.
const FAILED: u8 = 1;
/// Time between SIGXCPU and SIGKILL for exceeded processor time, in seconds.
const CPU_GRACE_SECONDS: u64 = 5;
/// Most causes of a refusal in a response.
const MAX_MESSAGES: usize = 16;

/// Compiles the component from standard input and writes the code to standard output.
pub(super) fn serve() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => ExitCode::from(NO_MEMORY),
        Err(error) => {
            // The reader may be gone.
            let _ = writeln!(
                io::stderr(),
                "compile-worker is internal: hotshoe starts it to compile a component; it is not a command: {error}"
            );
            ExitCode::from(FAILED)
        }
    }
}

fn run() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let request = Request::read(&mut input)?;
    limit(&request)?;
    if request.bytes > ReleaseLimits::COMPONENT_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let bytes = exactly(&mut input, request.bytes)?;
    drop(input);
    end_with_parent()?;
    let answer = compile(&request, &bytes)?;
    answer.write(&mut io::stdout().lock())
}

fn compile(request: &Request, bytes: &[u8]) -> io::Result<Response> {
    let no_memory = || io::Error::from(io::ErrorKind::OutOfMemory);
    // Threads take their stacks before they run.
    let threads = super::threads().map_err(|_| no_memory())?;
    let made = threads.install(|| {
        wasmtime::Engine::new(&request.codegen.config())
            .and_then(|engine| engine.precompile_component(bytes))
    });
    match made {
        Ok(code) => Ok(Response::Code(Code::new(code))),
        Err(error) if error.is::<wasmtime::OutOfMemory>() => Err(no_memory()),
        Err(error) => Ok(Response::Refusal(messages(&error))),
    }
}

/// The messages of the compiler, cut to the limits of a response.
fn messages(error: &wasmtime::Error) -> Vec<String> {
    // A character takes at most six bytes of JSON.
    let most = MAX_REFUSAL_BYTES as usize / MAX_MESSAGES / 8;
    let cut = |message: String| message.chars().take(most).collect();
    error
        .chain()
        .take(MAX_MESSAGES)
        .map(|cause| cut(cause.to_string()))
        .collect()
}

/// Sets the limits of this process before it does any work. The threads that compile lower their own priority.
fn limit(request: &Request) -> io::Result<()> {
    set(Resource::Core, 0, 0)?;
    let seconds = request.cpu_seconds;
    set(
        Resource::Cpu,
        seconds,
        seconds.saturating_add(CPU_GRACE_SECONDS),
    )?;
    let bytes = request.memory_mib.saturating_mul(1 << 20);
    set(Resource::Data, bytes, bytes)?;
    // If the machine runs out of memory, the kernel should kill this process and not the one that serves. It is best effort.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// Sets a limit that is not higher than the existing one.
fn set(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit {
        current: Some(current.min(most)),
        maximum: Some(maximum.min(most)),
    };
    setrlimit(resource, limit).map_err(io::Error::from)
}

/// Ends this process with its parent: standard input stays open until the response has been read.
fn end_with_parent() -> io::Result<()> {
    thread::Builder::new()
        .name("hotshoe-parent".to_owned())
        .spawn(|| {
            let _ = io::stdin().read(&mut [0]);
            std::process::exit(i32::from(FAILED));
        })
        .map(drop)
}
