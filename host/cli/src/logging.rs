use std::io::{self, IsTerminal};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Sends logs to standard error: for people on a terminal, as JSON lines otherwise. `RUST_LOG` wins over `default`.
pub fn init(default: &str) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) => EnvFilter::try_new(&directives)
            .with_context(|| format!("RUST_LOG is `{directives}`, which is no log filter"))?,
        Err(_) => EnvFilter::new(default),
    };
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
