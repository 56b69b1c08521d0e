//! The keys of a fleet: a key of the device wins, and keys of trust, identity, endpoints and paths are refused by their names.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::path::Path;

use hotshoe_config::{FleetConfig, FleetError, LocalConfig, Origin, WhenFull};
use serde_json::Value as Json;

const OWN: &str = "site = \"lab\"\ndevice = \"cam\"\n";

fn local(more: &str) -> LocalConfig {
    LocalConfig::parse(&format!("{OWN}{more}"), Path::new("/etc/hotshoe")).unwrap()
}

fn fleet(text: &str) -> FleetConfig {
    FleetConfig::parse(text).unwrap()
}

#[test]
fn a_release_sets_what_the_device_leaves_open_and_a_key_of_the_device_wins() {
    let own = local("[intake]\nqueue = 4\n");
    let fleet =
        fleet("[intake]\nqueue = 9\nwhen-full = \"drop-oldest\"\n[log]\nfilter = \"warn\"\n");
    let config = own.with(&fleet).unwrap();
    assert_eq!(config.intake.queue, 4);
    assert_eq!(config.intake.when_full, WhenFull::DropOldest);
    assert_eq!(config.log.filter, "warn");
    assert_eq!(config.trust, Path::new("/etc/hotshoe/trust.toml"));
    // What neither sets stays as it was.
    let alone = own.config();
    assert_eq!(config.workers, alone.workers);
    let open = own.left_open(&fleet);
    let open: Vec<_> = open.iter().map(String::as_str).collect();
    assert_eq!(open, ["intake.when-full", "log.filter"]);
    let keys = fleet.keys();
    assert_eq!(own.origin(&keys, "intake.queue"), Origin::Device);
    assert_eq!(own.origin(&keys, "intake.when-full"), Origin::Fleet);
    assert_eq!(own.origin(&keys, "workers.threads"), Origin::Default);
}

#[test]
fn keys_of_trust_identity_listeners_and_paths_are_refused_by_their_names() {
    for (text, named) in [
        ("trust = \"other.toml\"", "trust"),
        ("device = \"other\"", "device"),
        ("labels = { line = \"3\" }", "labels.line"),
        ("development = true", "development"),
        ("allow = [\"wasi\"]", "allow"),
        ("[page]\ntoken-file = \"t\"", "page.token-file"),
        ("[oip]\nlisten = \"0.0.0.0:1\"", "oip.listen"),
        ("[zenoh]\nconnect = []", "zenoh.connect"),
        ("[zenoh.tls]\nkey = \"k\"", "zenoh.tls.key"),
        ("[deploy]\nstatements = \"any\"", "deploy.statements"),
        ("[deploy]\nmax-crashes = 0", "deploy.max-crashes"),
        ("[governor]\nsensors = \"/\"", "governor.sensors"),
        ("[inference]\nlibrary = \"/l.so\"", "inference.library"),
        ("[outbox.mqtt]\nurl = \"mqtt://x\"", "outbox.mqtt.url"),
        ("[privacy]\nmasks = []", "privacy.masks"),
        ("[page]", "page"),
    ] {
        match FleetConfig::parse(text) {
            Err(error @ FleetError::Key { .. }) => {
                assert_eq!(error.name(), "config_key_refused");
                let said = error.to_string();
                assert!(said.contains(&format!("`{named}`")), "{said}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_misspelt_key_a_wrong_value_and_values_that_do_not_fit_are_refused() {
    let unknown = FleetConfig::parse("[intake]\nqueu = 3").unwrap_err();
    assert!(unknown.to_string().contains("`intake.queu`"), "{unknown}");
    assert!(matches!(
        FleetConfig::parse("intake = 3").unwrap_err(),
        FleetError::Unknown { .. }
    ));
    assert!(matches!(
        FleetConfig::parse("intake = ").unwrap_err(),
        FleetError::Toml(_)
    ));
    let own = local("[zenoh]\nmax-message-bytes = 2097152\n[intake]\nmax-sample-bytes = 1000\n");
    let wrong = own.with(&fleet("[intake]\nqueue = \"many\"")).unwrap_err();
    assert!(matches!(wrong, FleetError::Value { .. }), "{wrong:?}");
    let range = own.with(&fleet("[intake]\nqueue = 0")).unwrap_err();
    assert!(matches!(range, FleetError::Check(_)), "{range:?}");
    // A sample as large as this fits into the messages of other devices, but not into those of this one.
    let own = local("[zenoh]\nmax-message-bytes = 8388608\n");
    let large = own.with(&fleet("[intake]\nmax-sample-bytes = 9000000"));
    assert!(matches!(large, Err(FleetError::Check(_))), "{large:?}");
}

/// The paths of all values of a configuration.
fn paths(above: &str, value: &Json, found: &mut Vec<String>) {
    match value {
        Json::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let key = match above {
                    "" => name.clone(),
                    above => format!("{above}.{name}"),
                };
                paths(&key, value, found);
            }
        }
        _ => found.push(above.to_owned()),
    }
}

#[test]
fn each_key_is_either_open_or_closed() {
    let config = serde_json::to_value(local("").config()).unwrap();
    let mut all = Vec::new();
    paths("", &config, &mut all);
    assert!(all.len() > 80, "{}", all.len());
    let neither = all.iter().filter(|key| {
        let checked = FleetConfig::parse(&format!("{key} = 1"));
        matches!(checked, Err(FleetError::Unknown { .. }))
    });
    let neither: Vec<_> = neither.collect();
    assert!(neither.is_empty(), "add to OPEN or CLOSED: {neither:?}");
}
