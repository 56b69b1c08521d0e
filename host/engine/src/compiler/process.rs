//! Starting the process that compiles, and finding out how it ended.

use std::error::Error;
use std::fmt;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::Signal;

use super::wire::{Request, Response};
use super::worker::NO_MEMORY;
use super::{ARGUMENT, COMPILE_LIMIT, Codegen, CompileInterrupt, CompileLimits, Failure};
use crate::code::Code;
use crate::work::TooComplex;
use crate::worker_error::WorkerError;

/// How long the process may take to end after it has closed its standard output.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Polling interval meanwhile.
const END_POLL: Duration = Duration::from_millis(5);
/// Largest compiled code of a component, in bytes: so many for each of its own bytes, and a base.
const CODE_BYTES_PER_BYTE: u64 = 32;
const CODE_BYTES_BASE: u64 = 32 << 20;
/// Most bytes of its standard error that are kept.
const MAX_LOG_BYTES: u64 = 4096;
/// Message of Rust's standard library before it aborts for lack of memory.
const ALLOCATION_FAILED: &str = "memory allocation of";
/// Exit code of a Rust program that panicked.
const PANICKED: i32 = 101;

/// Compiles in a separate process, one at a time, since each may use all memory of the limit.
#[derive(Debug)]
pub(crate) struct Worker {
    program: PathBuf,
    pub(super) limits: CompileLimits,
    pub(super) interrupt: CompileInterrupt,
    busy: Mutex<()>,
}

impl Worker {
    /// A worker of this same program, even if the file at its path was replaced.
    pub(super) fn new(limits: CompileLimits) -> Self {
        let program = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe().unwrap_or_default()
        };
        Self::with_program(program, limits)
    }

    fn with_program(program: PathBuf, limits: CompileLimits) -> Self {
        Self {
            program,
            limits,
            interrupt: CompileInterrupt::default(),
            busy: Mutex::new(()),
        }
    }

    pub(super) fn compile(&self, codegen: Codegen, bytes: &[u8]) -> Result<Code, Failure> {
        let _one = self.busy.lock();
        let request = Request {
            codegen,
            memory_mib: self.limits.memory_mib,
            cpu_seconds: self.limits.cpu_seconds,
            bytes: bytes.len() as u64,
        };
        let start_error = |source| {
            Failure::Worker(WorkerError::Start {
                program: self.program.clone(),
                source,
            })
        };
        // One place for the response, and one for an interrupt.
        let (sender, receiver) = mpsc::sync_channel(2);
        let interrupted = sender.clone();
        let running = self.interrupt.begin(move || {
            // The receiver may be gone.
            let _ = interrupted.try_send(Ended::Interrupted);
        });
        let Some(_running) = running else {
            return Err(Failure::Interrupted);
        };
        let mut process = Process(self.command().spawn().map_err(start_error)?);
        let (input, output, errors) = process.pipes().map_err(start_error)?;
        let (answer, log) = thread::scope(|scope| {
            let log = builder("hotshoe-compile-log").spawn_scoped(scope, move || read_log(errors));
            let log = log.map_err(start_error)?;
            builder("hotshoe-compile-io")
                .spawn_scoped(scope, move || {
                    // The receiver may be gone.
                    let response = exchange(input, output, &request, bytes);
                    let _ = sender.send(Ended::Answered(response));
                })
                .map_err(start_error)?;
            let answer = receiver.recv_timeout(COMPILE_LIMIT);
            // Without an answer, its exit status is the reason. The two threads end with the process, since they read from it.
            process.end(match answer {
                Ok(Ended::Answered(Err(_))) => END_LIMIT,
                Ok(Ended::Answered(Ok(_)) | Ended::Interrupted) | Err(_) => Duration::ZERO,
            });
            Ok((answer, log.join().unwrap_or_default()))
        })?;
        match answer {
            Ok(Ended::Interrupted) => Err(Failure::Interrupted),
            Ok(Ended::Answered(Ok(Response::Code(code)))) => Ok(code),
            Ok(Ended::Answered(Ok(Response::TooLarge(found)))) => {
                Err(Failure::TooComplex(TooComplex::CodeBytes {
                    found,
                    most: max_code_bytes(bytes),
                }))
            }
            Ok(Ended::Answered(Ok(Response::Refusal(messages)))) => {
                Err(Failure::Refused(CompilerMessage::chain(messages)))
            }
            Ok(Ended::Answered(Err(error))) => Err(self.failure_of(process.status(), &log, error)),
            Err(_) => Err(Failure::TooLong),
        }
    }

    /// Without the environment and the working folder of this process. It has its own process group, so that an interrupt from the
    /// terminal does not end it before this process.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg0("hotshoe")
            .arg(ARGUMENT)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn failure_of(&self, status: Option<ExitStatus>, log: &str, error: io::Error) -> Failure {
        let Some(status) = status else {
            return Failure::Worker(WorkerError::Answer(error));
        };
        let is = |signal: Signal| status.signal() == Some(signal.as_raw());
        let crashes = [
            Signal::ABORT,
            Signal::BUS,
            Signal::FPE,
            Signal::ILL,
            Signal::SEGV,
            Signal::TRAP,
        ];
        if !log.is_empty() {
            tracing::warn!(%status, log = %log.escape_debug(), "the process that compiles failed");
        }
        if status.code() == Some(NO_MEMORY.into())
            || is(Signal::ABORT) && log.contains(ALLOCATION_FAILED)
        {
            Failure::Memory
        } else if is(Signal::XCPU) {
            Failure::Cpu
        } else if status.code() == Some(PANICKED) || crashes.into_iter().any(is) {
            Failure::Crashed
        } else if status.success() {
            Failure::Worker(WorkerError::Answer(error))
        } else {
            let how = status.to_string();
            Failure::Worker(WorkerError::Ended { how })
        }
    }
}

/// How a compilation ended for the thread that waits for it.
enum Ended {
    Answered(io::Result<Response>),
    Interrupted,
}

fn builder(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned())
}

/// Sends the request and reads the answer. Its standard input stays open until then, since the process ends when it is closed.
fn exchange(
    input: ChildStdin,
    mut output: ChildStdout,
    request: &Request,
    bytes: &[u8],
) -> io::Result<Response> {
    let mut input = BufWriter::new(input);
    request.write(&mut input)?;
    input.write_all(bytes)?;
    input.flush()?;
    Response::read(&mut output, max_code_bytes(bytes))
}

/// Largest compiled code that is accepted for a component, in bytes.
const fn max_code_bytes(component: &[u8]) -> u64 {
    CODE_BYTES_BASE.saturating_add((component.len() as u64).saturating_mul(CODE_BYTES_PER_BYTE))
}

/// Reads the first [`MAX_LOG_BYTES`] of its standard error, and discards the rest.
fn read_log(mut errors: ChildStderr) -> String {
    let mut first = Vec::new();
    let _ = (&mut errors).take(MAX_LOG_BYTES).read_to_end(&mut first);
    let _ = io::copy(&mut errors, &mut io::sink());
    String::from_utf8_lossy(&first).trim_end().to_owned()
}

/// A process that is killed when this value is dropped.
struct Process(Child);

impl Process {
    fn pipes(&mut self) -> io::Result<(ChildStdin, ChildStdout, ChildStderr)> {
        let Child {
            stdin,
            stdout,
            stderr,
            ..
        } = &mut self.0;
        match (stdin.take(), stdout.take(), stderr.take()) {
            (Some(input), Some(output), Some(errors)) => Ok((input, output, errors)),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Waits up to `limit` for it to end, and then kills it.
    fn end(&mut self, limit: Duration) {
        let started = Instant::now();
        while self.status().is_none() && started.elapsed() < limit {
            thread::sleep(END_POLL);
        }
        // Fails if it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// A message of the compiler with its cause.
#[derive(Debug)]
struct CompilerMessage {
    message: String,
    cause: Option<Box<Self>>,
}

impl CompilerMessage {
    fn chain(messages: Vec<String>) -> Box<dyn Error + Send + Sync> {
        let chain = messages.into_iter().rev().fold(None, |cause, message| {
            Some(Box::new(Self { message, cause }))
        });
        match chain {
            Some(log) => log,
            None => "the compiler refused it without a reason".into(),
        }
    }
}

impl fmt::Display for CompilerMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CompilerMessage {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.cause.as_deref()?;
        Some(cause)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::memory::MemoryMode;

    fn failure(program: &str) -> Failure {
        let limits = CompileLimits::default();
        let worker = Worker::with_program(PathBuf::from(program), limits);
        let codegen = Codegen {
            fuel: false,
            mode: MemoryMode::Guard,
        };
        worker.compile(codegen, &[0; 1 << 20]).unwrap_err()
    }

    #[test]
    fn a_process_that_does_not_answer_is_told_from_one_that_does_not_start() {
        let none = failure("/no/such/program");
        assert!(
            matches!(none, Failure::Worker(WorkerError::Start { .. })),
            "{none:?}"
        );
        let silent = failure("/bin/true");
        assert!(
            matches!(silent, Failure::Worker(WorkerError::Answer(_))),
            "{silent:?}"
        );
        let failed = failure("/bin/false");
        assert!(
            matches!(failed, Failure::Worker(WorkerError::Ended { .. })),
            "{failed:?}"
        );
    }

    #[test]
    fn an_interrupt_ends_the_process_and_refuses_the_next_until_it_is_over() {
        let worker = Worker::with_program(PathBuf::from("/bin/sleep"), CompileLimits::default());
        let codegen = Codegen {
            fuel: false,
            mode: MemoryMode::Guard,
        };
        let compile = || worker.compile(codegen, b"").unwrap_err();
        let raised = worker.interrupt.raise();
        assert!(matches!(compile(), Failure::Interrupted));
        drop(raised);
        // `sleep compile-worker` ends by itself, with an error.
        assert!(matches!(compile(), Failure::Worker(_)));
    }

    #[test]
    fn how_it_ended_decides_what_it_is_called() {
        let limits = CompileLimits::default();
        let worker = Worker::with_program(PathBuf::new(), limits);
        let ended = |raw: i32, log: &str| {
            let status = Some(ExitStatus::from_raw(raw));
            worker.failure_of(status, log, io::ErrorKind::UnexpectedEof.into())
        };
        let no_memory = "memory allocation of 8 bytes failed";
        assert!(matches!(
            ended(Signal::ABORT.as_raw(), no_memory),
            Failure::Memory
        ));
        assert!(matches!(
            ended(Signal::ABORT.as_raw(), "x"),
            Failure::Crashed
        ));
        assert!(matches!(ended(Signal::SEGV.as_raw(), ""), Failure::Crashed));
        assert!(matches!(ended(PANICKED << 8, ""), Failure::Crashed));
        assert!(matches!(ended(Signal::XCPU.as_raw(), ""), Failure::Cpu));
        assert!(matches!(
            ended(i32::from(NO_MEMORY) << 8, ""),
            Failure::Memory
        ));
        for raw in [Signal::KILL.as_raw(), 1 << 8] {
            let failure = ended(raw, "");
            assert!(
                matches!(failure, Failure::Worker(WorkerError::Ended { .. })),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn what_the_compiler_says_keeps_its_causes() {
        let log = CompilerMessage::chain(vec!["near".to_owned(), "deep".to_owned()]);
        assert_eq!(hotshoe_base::chain(&*log), "near: deep");
    }
}
