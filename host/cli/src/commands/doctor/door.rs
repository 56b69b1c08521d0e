//! The port of the Open Inference Protocol, with its token and its certificates.

use hotshoe_daemon::config::OipConfig;
use hotshoe_oip::{Bound, OipError};

use super::{Finding, State};

/// Takes the port as `hotshoe run` does, and lets go of it. Where a daemon uses the data folder it is that one's.
pub fn door(config: &OipConfig, is_used: bool) -> Finding {
    const WHAT: &str = "oip";
    match Bound::bind(config) {
        Ok(_) => Finding::ok(WHAT, format!("{} can be listened at", config.listen)),
        Err(OipError::Listen { .. }) if is_used => Finding::ok(
            WHAT,
            format!("{} is taken, by the daemon it seems", config.listen),
        ),
        Err(error) => Finding::bad(
            WHAT,
            State::Fail,
            format!("{:#}", anyhow::Error::from(error)),
            "`hotshoe run` refuses it; put it right, or take [oip] out",
        ),
    }
}
