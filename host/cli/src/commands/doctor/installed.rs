//! The release that serves, or would serve.

use std::path::Path;
use std::time::Duration;

use hotshoe_base::chain;
use hotshoe_config::Config;
use hotshoe_daemon::command::Command;
use hotshoe_daemon::control;
use hotshoe_protocol::status::Status;
use hotshoe_release::device::{host_version, trust_root};
use hotshoe_store::{Slot, Store};
use hotshoe_trust::verify_installed;

use super::{Finding, State};

const WHAT: &str = "release";
/// Timeout of the question to a running daemon.
const TIMEOUT: Duration = Duration::from_secs(3);
const ADVICE: &str = "the daemon would start empty: correct the configuration, install the release again with `hotshoe install`, or \
                      publish another";

/// Checks that the live release is for this device, by its name and labels, and signed by keys that it trusts. The files of the release
/// are not read: `hotshoe run` does that.
pub(super) fn live(store: &Store, slot: &Slot, config: &Config) -> Finding {
    let named = format!("{} generation {}", slot.name, slot.generation);
    match verified(store, slot, config) {
        Ok(()) => Finding::ok(WHAT, format!("{named} is live")),
        Err(reason) => Finding::bad(
            WHAT,
            State::Warn,
            format!("{named} is live, and cannot serve: {reason}"),
            ADVICE,
        ),
    }
}

fn verified(store: &Store, slot: &Slot, config: &Config) -> Result<(), String> {
    let package = store.read_package(slot).map_err(|error| chain(&error))?;
    // Keys that cannot be read are a finding of their own; keys of a rotation are in the data folder.
    let (Ok(trust), Ok(host), None) = (
        trust_root(&config.trust),
        host_version(),
        store.ledger().trust.as_ref(),
    ) else {
        return Ok(());
    };
    verify_installed(&package, &trust, slot.release, &config.identity(), &host)
        .map(drop)
        .map_err(|error| chain(&error))
}

/// Asks the daemon that uses the data folder.
pub(super) fn serving(folder: &Path) -> Finding {
    let answer = match control::call_within(folder, &Command::Status, TIMEOUT) {
        Ok(answer) => answer,
        Err(error) => {
            let advice =
                "another program may use the data folder, or the daemon hangs; see its log";
            return Finding::bad(WHAT, State::Warn, chain(&error), advice);
        }
    };
    let cause = serde_json::from_value::<Status>(answer)
        .ok()
        .and_then(|status| status.cannot_serve);
    match cause {
        Some(cause) => Finding::bad(
            WHAT,
            State::Warn,
            format!("the running daemon serves no release: {cause}"),
            "publish the release again, publish another, or use `hotshoe install`",
        ),
        None => Finding::ok(WHAT, "a daemon uses this data folder; see `hotshoe status`"),
    }
}
