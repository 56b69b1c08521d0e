use std::io::{self, IsTerminal};

use anyhow::Context;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

/// Where the host's log has what components write.
pub const TARGET: &str = "component";

/// Sends logs to standard error, but for what components write: that goes to `components`, from debug on.
pub fn init_with(
    default: &str,
    components: impl Layer<Registry> + Send + Sync,
) -> anyhow::Result<()> {
    let own = filter(default)?.add_directive(format!("{TARGET}=off").parse()?);
    let logs = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let theirs = EnvFilter::new(format!("off,{TARGET}=debug"));
    tracing_subscriber::registry()
        .with(components.with_filter(theirs))
        .with(logs.with_filter(own))
        .try_init()
        .context("cannot start logging")
}

fn filter(default: &str) -> anyhow::Result<EnvFilter> {
    match std::env::var("RUST_LOG") {
        Ok(directives) => EnvFilter::try_new(&directives)
            .with_context(|| format!("RUST_LOG is `{directives}`, which is no log filter")),
        Err(_) => Ok(EnvFilter::new(default)),
    }
}

/// Sends logs to standard error: for people on a terminal, as JSON lines otherwise. `RUST_LOG` wins over `default`.
pub fn init(default: &str) -> anyhow::Result<()> {
    let filter = filter(default)?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    if io::stderr().is_terminal() {
        logs.with_ansi(std::env::var_os("NO_COLOR").is_none())
            .try_init()
    } else {
        logs.json().flatten_event(true).try_init()
    }
    .map_err(anyhow::Error::from_boxed)
    .context("cannot start logging")
}
