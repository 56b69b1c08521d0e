//! Where the log goes: standard error, which may be full, closed, or read by nobody.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use hotshoe_base::supervisor::{Supervisor, log_panics};
use hotshoe_config::LogConfig;
use hotshoe_daemon::log::{Limited, Limiter, Queue};
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

/// Where the host's log has what components write.
pub const TARGET: &str = "component";
/// The environment's filter, which wins over all others.
const RUST_LOG: &str = "RUST_LOG";
/// How long the end of the process waits for its log to be written.
const FLUSH: Duration = Duration::from_secs(2);

/// The lines of a process that serves, on their way to standard error.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The log of a process that serves. What it says can be changed.
pub struct Log {
    filter: Handle<EnvFilter, Registry>,
    limiter: Arc<Limiter>,
}

/// Standard error for a command that ends by itself. What cannot be written is nothing to fail on.
struct Direct;

impl Write for Direct {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends logs to standard error, but for what components write: that goes to `components`, from debug on.
pub fn init_with(
    default: &str,
    components: impl Layer<Registry> + Send + Sync,
) -> anyhow::Result<()> {
    let own = filter(default)?.add_directive(format!("{TARGET}=off").parse()?);
    let logs = fmt::layer()
        .with_writer(|| Direct)
        .log_internal_errors(false)
        .with_ansi(colour());
    let theirs = EnvFilter::new(format!("off,{TARGET}=debug"));
    tracing_subscriber::registry()
        .with(components.with_filter(theirs))
        .with(logs.with_filter(own))
        .try_init()
        .context("cannot start logging")
}

/// Sends the logs of a command that ends by itself to standard error. `RUST_LOG` wins over `default`.
pub fn init(default: &str) -> anyhow::Result<()> {
    let logs = layer(|| Direct).with_filter(filter(default)?);
    tracing_subscriber::registry()
        .with(logs)
        .try_init()
        .context("cannot start logging")
}

/// Sends the logs of a process that serves to standard error, by a thread of its own: whoever logs never waits, and never fails. Panics are
/// lines of it.
pub fn serve(parts: &Supervisor) -> anyhow::Result<Log> {
    let limiter = Arc::new(Limiter::new());
    // A descriptor of our own: the library's lock on standard error would be held while a pipe is full.
    let file: Box<dyn Write + Send> = match io::stderr().as_fd().try_clone_to_owned() {
        Ok(own) => Box::new(File::from(own)),
        Err(_) => Box::new(io::stderr()),
    };
    let (queue, _) = Queue::open(file, Arc::clone(&limiter), parts)
        .context("cannot start the thread that writes the log")?;
    let (own, handle) = reload::Layer::new(filter(hotshoe_config::DEFAULT_FILTER)?);
    let logs = layer(queue.clone()).with_filter(own.and(Limited(Arc::clone(&limiter))));
    tracing_subscriber::registry()
        .with(logs)
        .try_init()
        .context("cannot start logging")?;
    // One process serves one thing.
    let _ = QUEUE.set(queue);
    log_panics();
    Ok(Log {
        filter: handle,
        limiter,
    })
}

impl Log {
    /// From now on it says what `config` wants it to, but where `RUST_LOG` says otherwise.
    pub fn apply(&self, config: &LogConfig) -> anyhow::Result<()> {
        self.limiter.set_rate(config.lines_per_second);
        if !is_pinned() {
            let filter = hotshoe_config::filter(&config.filter).map_err(anyhow::Error::msg)?;
            self.filter.reload(filter).context("the log has ended")?;
        }
        Ok(())
    }
}

/// Whether the environment says what is logged.
pub fn is_pinned() -> bool {
    std::env::var_os(RUST_LOG).is_some()
}

/// A line for people on standard error: beside the log in a process that serves, and at once otherwise.
pub fn note(line: &str) {
    let line = format!("{line}\n");
    match QUEUE.get() {
        Some(queue) => queue.add(line.as_bytes()),
        None => drop(Direct.write(line.as_bytes())),
    }
}

/// Waits until the log is written, for a while: its reader may read no more.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(FLUSH);
    }
}

fn filter(default: &str) -> anyhow::Result<EnvFilter> {
    match std::env::var(RUST_LOG) {
        Ok(directives) => EnvFilter::try_new(&directives)
            .with_context(|| format!("RUST_LOG is `{directives}`, which is not a log filter")),
        Err(_) => Ok(EnvFilter::new(default)),
    }
}

fn colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// For people on a terminal, as JSON lines otherwise.
fn layer<W>(writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let logs = fmt::layer().with_writer(writer).log_internal_errors(false);
    if io::stderr().is_terminal() {
        logs.with_ansi(colour()).boxed()
    } else {
        logs.json().flatten_event(true).boxed()
    }
}
