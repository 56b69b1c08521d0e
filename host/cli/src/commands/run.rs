use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_oip::{Bound, Server};
use hotshoe_release::serve::{Endpoint, Renew, serve};
use hotshoe_release::terminal::Terminal;

/// Run the daemon: serve the release and accept updates
///
/// Verifies the installed release, loads its components and models, and serves samples until SIGTERM or SIGINT; without a release it waits
/// for one. Meanwhile it fetches, verifies and tries releases that are published to its site, and keeps them or rolls them back. At the
/// end it accepts no more samples, finishes the queued ones within `[drain] deadline-ms`, and exits; a second signal ends it at once.
/// SIGHUP reads the configuration again and applies it; the log and `hotshoe status` name the keys that need a restart.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe run --config hotshoe.toml

Exit codes: 0 drained, 1 could not start, did not drain in time or lost a vital thread, 2 wrong usage.
Logs go to standard error: as text on a terminal, as JSON lines otherwise. `[log] filter` sets the level; RUST_LOG takes precedence.")]
pub(crate) struct Args {
    /// The device's configuration
    #[arg(long, value_name = "FILE", default_value = "hotshoe.toml")]
    config: PathBuf,
}

/// The Open Inference Protocol, if `[oip]` is there.
const OIP: Endpoint<Bound, Server> = Endpoint {
    bind: |config| {
        let bound = config.oip.as_ref().map(Bound::bind).transpose();
        bound.context("cannot serve the Open Inference Protocol")
    },
    serve: Bound::serve,
    renew: |server, config| {
        let renewal = config.oip.as_ref().map(|oip| server.renew(oip));
        Ok(renewal
            .transpose()?
            .map(|it| -> Renew { Box::new(|| it.apply()) }))
    },
    close: Server::close,
    join: Server::join,
};

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    serve(&args.config, &OIP, terminal)?;
    Ok(ExitCode::SUCCESS)
}
