//! The end of a run that nobody but a signal ends.
use std::thread;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Calls `first` when the process gets SIGTERM or SIGINT, with the signal's name; a second signal ends the process at once. From
/// the return on, no signal kills the process half-way.
pub fn on_first(first: impl FnOnce(&'static str) + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime that waits for signals")?;
    let (mut terminate, mut interrupt) = {
        let _guard = runtime.enter();
        (
            signal(SignalKind::terminate()).context("cannot handle SIGTERM")?,
            signal(SignalKind::interrupt()).context("cannot handle SIGINT")?,
        )
    };
    thread::Builder::new()
        .name("hotshoe-signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                first(name);
                tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
                tracing::warn!("a second signal: ending at once");
                std::process::exit(1);
            });
        })
        .context("cannot start the thread that waits for signals")?;
    Ok(())
}
