//! The ports of `[oip]`, `[page]` and `[metrics]`, with their tokens and certificates, and the files of `[telemetry]`.

use std::error::Error;
use std::net::SocketAddr;

use hotshoe_config::Config;
use hotshoe_daemon::metrics::{self, MetricsError};
use hotshoe_oip::{Bound, FrontError, OipError};
use hotshoe_page::PageError;

use super::{Finding, State};

/// Binds each port as `hotshoe run` does, and closes it again. If a daemon uses the data folder, a port in use is its own.
pub(super) fn ports(config: &Config, is_used: bool) -> Vec<Finding> {
    let oip = config.oip.as_ref().map(|oip| {
        let taken = Bound::bind(config).map(drop);
        let busy = matches!(taken, Err(OipError::Front(FrontError::Listen { .. })));
        port("oip", oip.listen, taken, busy && is_used)
    });
    let page = config.page.as_ref().map(|page| {
        let taken = hotshoe_page::Bound::bind(config).map(drop);
        let busy = matches!(taken, Err(PageError::Front(FrontError::Listen { .. })));
        port("page", page.listen, taken, busy && is_used)
    });
    let metrics = config.metrics.as_ref().map(|metrics| {
        let taken = metrics::check(config);
        let busy = matches!(taken, Err(MetricsError::Listen { .. }));
        port("metrics", metrics.listen, taken, busy && is_used)
    });
    let telemetry =
        config
            .telemetry
            .as_ref()
            .map(|telemetry| match hotshoe_telemetry::Prepared::new(config) {
                Ok(_) => Finding::ok(
                    "telemetry",
                    format!(
                        "the collector is {}, to which nothing was sent",
                        telemetry.endpoint
                    ),
                ),
                Err(error) => unusable("telemetry", error),
            });
    let servers = oip.into_iter().chain(page).chain(metrics);
    servers.chain(telemetry).collect()
}

fn port<E: Error + Send + Sync + 'static>(
    what: &'static str,
    listen: SocketAddr,
    taken: Result<(), E>,
    is_used: bool,
) -> Finding {
    match taken {
        Ok(()) => Finding::ok(what, format!("{listen} is free")),
        Err(_) if is_used => Finding::ok(
            what,
            format!("{listen} is in use, probably by the running daemon"),
        ),
        Err(error) => unusable(what, error),
    }
}

fn unusable(what: &'static str, error: impl Error + Send + Sync + 'static) -> Finding {
    Finding::bad(
        what,
        State::Fail,
        format!("{:#}", anyhow::Error::from(error)),
        format!("`hotshoe run` would fail; correct it, or remove [{what}]"),
    )
}
