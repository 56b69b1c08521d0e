//! Who can connect over Zenoh.

use hotshoe_config::Config;
use hotshoe_config::Statements;
use hotshoe_link::exposure::judge;

use super::{Finding, State};

const WHAT: &str = "zenoh";

pub(super) fn network(config: &Config) -> Finding {
    let zenoh = &config.zenoh;
    match (judge(zenoh), zenoh.insecure) {
        (Err(exposed), false) => Finding::bad(
            WHAT,
            State::Fail,
            format!("`{}` in `zenoh.{}` {}", exposed.endpoint, exposed.key, exposed.problem),
            "set the site up with `hotshoe site init`, or accept every client with `insecure = true` in [zenoh]",
        ),
        (Err(exposed), true) => Finding::bad(
            WHAT,
            State::Warn,
            format!(
                "insecure: `{}` in `zenoh.{}` {}",
                exposed.endpoint, exposed.key, exposed.problem
            ),
            "every client that connects can choose among signed releases, read results and copy models; set up certificates with `hotshoe site init`",
        ),
        (Ok(()), true) => Finding::bad(
            WHAT,
            State::Warn,
            "`insecure = true` in [zenoh] has no effect now, but would open the next endpoint to every client".to_owned(),
            "remove it",
        ),
        (Ok(()), false) => Finding::ok(WHAT, secure(config)),
    }
}

fn secure(config: &Config) -> String {
    let who = match &config.zenoh.tls {
        Some(tls) if tls.is_mutual() => {
            "only clients with a certificate of the site can connect from other machines"
        }
        _ => "no client can connect from other machines",
    };
    let statements = match config.deploy.statements {
        Statements::Any => "statements need no signature",
        Statements::Signed => "statements must be signed",
    };
    format!("{who}; {statements}")
}
