//! How much work a component may be to compile. Cranelift promises no bound of its own, and a compilation under way cannot be stopped.
//! So sizes are looked at before it begins, and its caller does not wait for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use wasmparser::{Parser, Payload};

/// Most functions that all modules of a component have together. JavaScript's runtime has 20 000.
const MAX_FUNCTIONS: u64 = 250_000;
/// The longest function, in bytes of WebAssembly. The longest one of JavaScript's runtime has 180 000.
const MAX_FUNCTION_BYTES: u64 = 1 << 20;

/// How long the compilation of one component is waited for. The largest runtimes take minutes on a small device.
pub(crate) const COMPILE_LIMIT: Duration = Duration::from_mins(15);

/// What is too much of a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooComplex {
    /// Too many functions.
    #[error("it has {found} functions, and at most {MAX_FUNCTIONS} are compiled")]
    Functions {
        /// How many.
        found: u64,
    },
    /// Too long a function.
    #[error(
        "a function of it has {found} bytes, and at most {MAX_FUNCTION_BYTES} are compiled; split it"
    )]
    FunctionBytes {
        /// How long the first such is.
        found: u64,
    },
}

/// Refuses a component that takes too long to compile. What cannot be read is left to the compiler, which says why.
pub(crate) fn check(bytes: &[u8]) -> Result<(), TooComplex> {
    let mut functions = 0;
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::CodeSectionStart { count, .. } => {
                functions += u64::from(count);
                if functions > MAX_FUNCTIONS {
                    return Err(TooComplex::Functions { found: functions });
                }
            }
            Payload::CodeSectionEntry(body) => {
                let found = body.as_bytes().len() as u64;
                if found > MAX_FUNCTION_BYTES {
                    return Err(TooComplex::FunctionBytes { found });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Why work gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// It took too long. It goes on by itself, and what it makes is thrown away.
    TooLong,
    /// It panicked.
    Panicked,
}

/// Runs `work` on one of these threads, and waits for it as long as `limit`.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    threads: &rayon::ThreadPool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unfinished> {
    let (done, result) = mpsc::sync_channel(1);
    threads.spawn(move || {
        // A panic that reached the pool would end the process.
        if let Ok(made) = catch_unwind(AssertUnwindSafe(work)) {
            // It may be that nobody waits any more.
            let _ = done.send(made);
        }
    });
    result.recv_timeout(limit).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => Unfinished::TooLong,
        mpsc::RecvTimeoutError::Disconnected => Unfinished::Panicked,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn work_that_takes_too_long_is_not_waited_for() {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let long = Duration::from_secs(60);
        assert_eq!(within(long, &threads, || 1), Ok(1));
        let panics = || -> u8 { std::panic::resume_unwind(Box::new("a panic")) };
        assert_eq!(within(long, &threads, panics), Err(Unfinished::Panicked));
        let (go, wait) = mpsc::channel::<()>();
        let slow = move || wait.recv().is_ok();
        let none = within(Duration::ZERO, &threads, slow);
        assert_eq!(none, Err(Unfinished::TooLong));
        go.send(()).unwrap();
    }

    #[test]
    fn what_is_no_component_is_not_too_much_of_one() {
        assert_eq!(check(b""), Ok(()));
        assert_eq!(check(b"no WebAssembly at all"), Ok(()));
    }
}
