//! Who may come in over Zenoh.

use hotshoe_config::Config;
use hotshoe_config::Statements;
use hotshoe_link::exposure::judge;

use super::{Finding, State};

const WHAT: &str = "zenoh";

pub fn network(config: &Config) -> Finding {
    let zenoh = &config.zenoh;
    match (judge(zenoh), zenoh.insecure) {
        (Err(exposed), false) => Finding::bad(
            WHAT,
            State::Fail,
            format!("`{}` in `zenoh.{}` {}", exposed.endpoint, exposed.key, exposed.problem),
            "set the site up with `hotshoe site init`, or let anybody in with `insecure = true` in [zenoh]",
        ),
        (Err(exposed), true) => Finding::bad(
            WHAT,
            State::Warn,
            format!(
                "insecure: `{}` in `zenoh.{}` {}",
                exposed.endpoint, exposed.key, exposed.problem
            ),
            "whoever comes in may choose among signed releases, read results, and copy models; `hotshoe site init` sets up certificates",
        ),
        (Ok(()), true) => Finding::bad(
            WHAT,
            State::Warn,
            "`insecure = true` in [zenoh] has no effect now, and would let strangers in at the next endpoint".to_owned(),
            "remove it",
        ),
        (Ok(()), false) => Finding::ok(WHAT, secure(config)),
    }
}

fn secure(config: &Config) -> String {
    let who = match &config.zenoh.tls {
        Some(tls) if tls.is_mutual() => {
            "only certificates of the site come in from beyond this machine"
        }
        _ => "nobody comes in from beyond this machine",
    };
    let statements = match config.deploy.statements {
        Statements::Any => "statements need no signature",
        Statements::Signed => "statements are signed",
    };
    format!("{who}; {statements}")
}
