//! The ports of `[oip]` and `[metrics]`, with their tokens and their certificates.

use std::error::Error;
use std::net::SocketAddr;

use hotshoe_config::Config;
use hotshoe_daemon::metrics::{self, MetricsError};
use hotshoe_oip::{Bound, FrontError, OipError};

use super::{Finding, State};

/// Takes each port as `hotshoe run` does, and lets go of it. Where a daemon uses the data folder they are that one's.
pub fn doors(config: &Config, is_used: bool) -> Vec<Finding> {
    let oip = config.oip.as_ref().map(|oip| {
        let taken = Bound::bind(oip).map(drop);
        let busy = matches!(taken, Err(OipError::Front(FrontError::Listen { .. })));
        door("oip", oip.listen, taken, busy && is_used)
    });
    let metrics = config.metrics.as_ref().map(|metrics| {
        let taken = metrics::check(metrics);
        let busy = matches!(taken, Err(MetricsError::Listen { .. }));
        door("metrics", metrics.listen, taken, busy && is_used)
    });
    oip.into_iter().chain(metrics).collect()
}

fn door<E: Error + Send + Sync + 'static>(
    what: &'static str,
    listen: SocketAddr,
    taken: Result<(), E>,
    is_used: bool,
) -> Finding {
    match taken {
        Ok(()) => Finding::ok(what, format!("{listen} can be listened at")),
        Err(_) if is_used => {
            Finding::ok(what, format!("{listen} is taken, by the daemon it seems"))
        }
        Err(error) => Finding::bad(
            what,
            State::Fail,
            format!("{:#}", anyhow::Error::from(error)),
            format!("`hotshoe run` refuses it; put it right, or take [{what}] out"),
        ),
    }
}
