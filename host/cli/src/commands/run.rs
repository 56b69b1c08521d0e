use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

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

Exit codes: 0 drained, 1 could not start, did not drain in time or lost a vital thread, 2 wrong usage, 86 asks `hotshoe-supervisor` for a restart.
Logs go to standard error: as text on a terminal, as JSON lines otherwise. `[log] filter` sets the level; RUST_LOG takes precedence.")]
pub(crate) struct Args {
    /// The device's configuration
    #[arg(long, value_name = "FILE", default_value = "hotshoe.toml")]
    config: PathBuf,
}

/// The servers of `[oip]` and `[page]`, and the export of `[telemetry]`, where they are configured.
const SERVERS: Endpoint<BoundServers, Servers> = Endpoint {
    bind: |config| {
        let oip = Bound::bind(config).context("cannot serve the Open Inference Protocol")?;
        let page = hotshoe_page::Bound::bind(config).context("cannot serve the page")?;
        let telemetry =
            hotshoe_telemetry::Prepared::new(config).context("cannot send telemetry")?;
        let is_any = oip.is_some() || page.is_some() || telemetry.is_some();
        Ok(is_any.then_some(BoundServers {
            oip,
            page,
            telemetry,
        }))
    },
    serve: |bound, client| Servers {
        oip: bound.oip.map(|oip| oip.serve(client.clone())),
        page: bound.page.map(|page| page.serve(client.clone())),
        telemetry: bound.telemetry.map(|telemetry| telemetry.start(client)),
    },
    renew: |servers, config| {
        let oip = servers.oip.as_ref().map(|server| server.renew(config));
        let oip = oip.transpose()?.flatten();
        let page = servers.page.as_ref().map(|server| server.renew(config));
        let page = page.transpose()?.flatten();
        Ok(Some(Box::new(move || {
            if let Some(oip) = oip {
                oip.apply();
            }
            if let Some(page) = page {
                page.apply();
            }
        }) as Renew))
    },
    close: |servers| {
        servers.oip.iter().for_each(Server::close);
        servers.page.iter().for_each(hotshoe_page::Server::close);
    },
    join: |servers, deadline| {
        let began = Instant::now();
        let page = servers.page.is_none_or(|page| page.join(deadline));
        let left = deadline.saturating_sub(began.elapsed());
        let answered = servers.oip.is_none_or(|oip| oip.join(left)) && page;
        // Last, so that it has the counts of the end.
        if let Some(telemetry) = servers.telemetry {
            telemetry.join(deadline.saturating_sub(began.elapsed()));
        }
        answered
    },
};

struct BoundServers {
    oip: Option<Bound>,
    page: Option<hotshoe_page::Bound>,
    telemetry: Option<hotshoe_telemetry::Prepared>,
}

struct Servers {
    oip: Option<Server>,
    page: Option<hotshoe_page::Server>,
    telemetry: Option<hotshoe_telemetry::Exporter>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    serve(&args.config, &SERVERS, terminal)
}
