//! The device's page, which the daemon of the demo serves if it is asked to.

use anyhow::{Context, ensure};
use hotshoe_page::{Bound, Server};
use hotshoe_release::daemon_process::free_endpoint;
use hotshoe_release::serve::{Endpoint, Renew};

/// The server of `[page]`, where it is configured.
pub(crate) const PAGE_ENDPOINT: Endpoint<Bound, Server> = Endpoint {
    bind: |config| {
        ensure!(
            config.oip.is_none(),
            "this program does not serve `[oip]`; use `hotshoe run`"
        );
        ensure!(
            config.telemetry.is_none(),
            "this program does not send `[telemetry]`; use `hotshoe run`"
        );
        Bound::bind(config).context("cannot serve the page")
    },
    serve: Bound::serve,
    renew: |server, config| {
        let page = server.renew(config)?;
        Ok(page.map(|page| Box::new(move || page.apply()) as Renew))
    },
    close: Server::close,
    join: Server::join,
};

/// An address on the loopback interface whose port was free a moment ago.
pub(crate) fn free_address() -> anyhow::Result<String> {
    let endpoint = free_endpoint()?;
    Ok(endpoint.trim_start_matches("tcp/").to_owned())
}
