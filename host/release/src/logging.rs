//! Logs to standard error, which may be full, closed, or without a reader.

mod journal;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
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

/// The log target of components' lines.
pub const TARGET: &str = "component";
/// The environment variable of the filter, which takes precedence over all others.
const RUST_LOG: &str = "RUST_LOG";
/// How long the process waits at its end until the log is written.
const FLUSH: Duration = Duration::from_secs(2);

/// The queue of log lines of a serving process.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The log of a serving process, whose filter can be changed.
pub struct Log {
    filter: Handle<EnvFilter, Registry>,
    limiter: Arc<Limiter>,
}

/// Writes to standard error directly, for short commands. Ignores errors.
struct StderrWriter;

impl Write for StderrWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends logs to standard error, and the lines of components to `components`, from level debug on.
pub fn init_with(
    default: &str,
    components: impl Layer<Registry> + Send + Sync,
) -> anyhow::Result<()> {
    let own = filter(default)?.add_directive(format!("{TARGET}=off").parse()?);
    let logs = fmt::layer()
        .with_writer(|| StderrWriter)
        .log_internal_errors(false)
        .with_ansi(colour());
    let theirs = EnvFilter::new(format!("off,{TARGET}=debug"));
    tracing_subscriber::registry()
        .with(components.with_filter(theirs))
        .with(logs.with_filter(own))
        .try_init()
        .context("cannot start logging")
}

/// Sends the logs of a short command to standard error. `RUST_LOG` takes precedence over `default`.
pub fn init(default: &str) -> anyhow::Result<()> {
    let logs = layer(|| StderrWriter).with_filter(filter(default)?);
    tracing_subscriber::registry()
        .with(logs)
        .try_init()
        .context("cannot start logging")
}

/// Sends the logs of a serving process to standard error, on a separate thread: logging never blocks and never fails. Panics are logged
/// too.
pub fn serve(supervisor: &Supervisor) -> anyhow::Result<Log> {
    let limiter = Arc::new(Limiter::new());
    // A separate descriptor, because std's lock on standard error would be held while a pipe is full.
    let file: Box<dyn Write + Send> = match io::stderr().as_fd().try_clone_to_owned() {
        Ok(own) => Box::new(File::from(own)),
        Err(_) => Box::new(io::stderr()),
    };
    let (queue, _) = Queue::open(file, Arc::clone(&limiter), supervisor)
        .context("cannot start the thread that writes the log")?;
    let (own, handle) = reload::Layer::new(filter(hotshoe_config::DEFAULT_FILTER)?);
    let logs = layer(queue.clone()).with_filter(own.and(Limited(Arc::clone(&limiter))));
    tracing_subscriber::registry()
        .with(logs)
        .try_init()
        .context("cannot start logging")?;
    // A process serves only once.
    let _ = QUEUE.set(queue);
    log_panics();
    Ok(Log {
        filter: handle,
        limiter,
    })
}

impl Log {
    /// Applies the configuration, except for the filter if `RUST_LOG` is set.
    pub fn apply(&self, config: &LogConfig) -> anyhow::Result<()> {
        self.limiter.set_rate(config.lines_per_second);
        if !is_pinned() {
            let filter = hotshoe_config::filter(&config.filter).map_err(anyhow::Error::msg)?;
            self.filter.reload(filter).context("the log has ended")?;
        }
        Ok(())
    }
}

/// Whether `RUST_LOG` is set.
pub fn is_pinned() -> bool {
    std::env::var_os(RUST_LOG).is_some()
}

/// Writes a line for people to standard error: through the log's queue in a serving process, otherwise directly.
pub fn note(line: &str) {
    let line = format!("{line}\n");
    match QUEUE.get() {
        Some(queue) => queue.add(line.as_bytes()),
        None => drop(StderrWriter.write(line.as_bytes())),
    }
}

/// Waits until the log is written, with a timeout, because its reader may have stopped.
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
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

/// Text on a terminal, JSON lines otherwise. In the journal of systemd, each line has its priority as a prefix, which the journal takes off.
fn layer<W>(writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let logs = fmt::layer().with_writer(writer).log_internal_errors(false);
    if io::stderr().is_terminal() {
        logs.with_ansi(colour()).boxed()
    } else if journal::is_reader() {
        logs.json()
            .flatten_event(true)
            .map_event_format(journal::WithPriority::new)
            .boxed()
    } else {
        logs.json().flatten_event(true).boxed()
    }
}
