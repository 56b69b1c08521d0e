#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

const LEAST: &str = "site = \"lab\"\ndevice = \"a\"\n";

fn config(text: &str) -> Config {
    Config::parse(text, Path::new("/etc/hotshoe")).unwrap()
}

/// The operators' document. Its block of hotshoe.toml has every key in it, those in comments too.
fn document() -> String {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(host.join("README.md")).unwrap()
}

fn block(document: &str) -> String {
    let (_, rest) = document.split_once("\n## hotshoe.toml\n").unwrap();
    let (_, rest) = rest.split_once("```toml\n").unwrap();
    let (block, _) = rest.split_once("\n```").unwrap();
    let lines = block
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line));
    let is_toml = |line: &&str| line.starts_with('[') || line.contains(" = ");
    lines.filter(is_toml).collect::<Vec<_>>().join("\n")
}

/// The keys of a document, but for those of tables whose keys an operator chooses.
fn keys(value: &Value, prefix: &str, all: &mut BTreeSet<String>) {
    let chosen = [
        "labels",
        "folders",
        "inference.models",
        "inference.providers",
    ];
    match value {
        Value::Object(fields) if !chosen.contains(&prefix) && !fields.is_empty() => {
            for (name, value) in fields {
                let key = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                keys(value, &key, all);
            }
        }
        _ => drop(all.insert(prefix.to_owned())),
    }
}

/// The keys that the document says are applied.
fn promised(document: &str) -> BTreeSet<String> {
    let (_, rest) = document.split_once("| applied by SIGHUP |").unwrap();
    let (table, _) = rest.split_once("\n\n").unwrap();
    let rows = table.lines().filter_map(|line| line.split('|').nth(1));
    let quoted = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted.map(str::to_owned).collect()
}

#[test]
fn the_document_says_which_keys_are_applied_and_every_other_needs_a_restart() {
    let document = document();
    let full = serde_json::to_value(config(&block(&document))).unwrap();
    let mut known = BTreeSet::new();
    keys(&full, "", &mut known);
    let promised = promised(&document);
    assert!(!promised.is_empty());
    // Two configurations that differ in every key that may be applied.
    let front = |front: &str, name: &str, most: usize| {
        format!(
            "[{front}]\ntoken-file = \"{name}\"\nmax-connections = {most}\nmax-connections-per-address = {most}\n\
             tls = {{ certificate = \"{name}\", key = \"{name}\", client-ca = \"{name}\" }}\n"
        )
    };
    let fronts = |name: &str, most| -> String {
        let each = ["oip", "page", "metrics"].map(|it| front(it, name, most));
        each.concat()
    };
    let running = config(&format!("{LEAST}{}", fronts("old", 5)));
    let new = config(&format!(
        "site = \"other\"\ndevice = \"b\"\n
        [log]\nfilter = \"debug\"\nlines-per-second = 9\n
        [drain]\ndeadline-ms = 1\n
        [record]\nallow = [\"sample\"]\nbuffer-mib = 1\n
        [intake]\nqueue = 1\nwhen-full = \"drop-newest\"\nblock-timeout-ms = 1\nmax-sample-bytes = 1\nsubscribe = [\"a\"]\n
        [deploy]\nstatements = \"signed\"\nkeep-previous = \"disk\"\nshare = false\nquota-mib = 1\nmax-bytes-per-second = 5000
        window = \"02:00-04:00\"\nfresh-within-hours = 1\n
        [deploy.health]\nmax-error-rate = 0.5\nmax-samples = 1\n
        [workers]\nthreads = 200\n
        [network]\nhosts = [\"example.org:443\"]\n
        [output]\ntopics = []\n
        [limits]\nmemory-mib = 1\n
        [governor]\nenabled = false\nsensors = \"tree\"\nperiod-ms = 50\nleast-time-ms = 1\ncalm-ms = 1
        most-changes-per-hour = 1\ndeadline-ms = 1\nhibernate = true\n
        [alerts]\nperiod-ms = 500\nafter-s = 1\ncalm-s = 1\noffline-s = 1\nclock-s = 1\nwindow-s = 1\nleast-samples = 1
        heat-warning-celsius = 1\nheat-critical-celsius = 1\nbattery-warning-percent = 1\nbattery-critical-percent = 1
        disk-warning-mib = 1\ndisk-critical-mib = 1\nerror-warning-percent = 1\nerror-critical-percent = 1
        deadline-warning-percent = 1\ndeadline-critical-percent = 1\nexpiry-warning-days = 1\nexpiry-critical-days = 1\n
        [inference]\nthreads = 2\n{}",
        fronts("new", 6)
    ));
    let between = in_effect(&running, &new);
    let mut applied = changed(&running, &between);
    let needs_restart = changed(&between, &new);
    // A token is in a file or a secret, so that the secrets take another pair.
    let secrets = |name: &str| {
        let each = ["oip", "page", "metrics"];
        let each = each.map(|front| format!("[{front}]\ntoken-secret = \"{name}\"\n"));
        config(&format!("{LEAST}{}", each.concat()))
    };
    let (old, renamed) = (secrets("old"), secrets("new"));
    let of_secrets = changed(&old, &in_effect(&old, &renamed));
    assert_eq!(of_secrets, changed(&old, &renamed));
    // Each is one or the other, and none is neither.
    assert_eq!(applied.intersection(&needs_restart).count(), 0);
    let all: BTreeSet<String> = applied.union(&needs_restart).cloned().collect();
    assert_eq!(all, changed(&running, &new));
    applied.extend(of_secrets);
    assert_eq!(applied, promised);
    for key in &promised {
        assert!(
            known.contains(key),
            "{key} is not in the block of hotshoe.toml"
        );
    }
    for key in [
        "site",
        "device",
        "deploy.share",
        "intake.queue",
        "workers.threads",
        "network.hosts",
        "governor.enabled",
        "governor.sensors",
        "governor.period-ms",
    ] {
        assert!(needs_restart.contains(key), "{key}");
    }
}

#[test]
fn what_needs_a_restart_is_said_at_each_reload_until_there_is_one() {
    let running = RunningConfig::new(config(LEAST), hotshoe_base::Clock::system());
    let new = config("site = \"other\"\ndevice = \"a\"\n[log]\nfilter = \"debug\"\n");
    for applied in [&["log.filter"][..], &[]] {
        let status = running.apply(running.change(&new).unwrap());
        assert_eq!(status.applied, applied);
        assert_eq!(status.needs_restart, ["site"]);
        assert_eq!(running.last(), Some(status));
    }
    assert_eq!(running.config().site, "lab");
    assert_eq!(running.config().log.filter, "debug");
}

#[test]
fn the_same_file_changes_nothing() {
    let running = RunningConfig::new(config(LEAST), hotshoe_base::Clock::system());
    let change = running.change(&config(LEAST)).unwrap();
    assert_eq!((change.applied, change.needs_restart), (vec![], vec![]));
}

#[test]
fn a_renewed_certificate_is_a_change_of_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["ca.pem", "a.pem", "a.key", "trust.toml"] {
        fs::write(at(name), name).unwrap();
    }
    let text =
        format!("{LEAST}[zenoh.tls]\nca = \"ca.pem\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\n");
    let config = Config::parse(&text, folder.path()).unwrap();
    let running = RunningConfig::new(config.clone(), hotshoe_base::Clock::system());
    fs::write(at("a.pem"), "renewed").unwrap();
    fs::write(at("trust.toml"), "another").unwrap();
    let change = running.change(&config).unwrap();
    assert_eq!(change.applied, [""; 0]);
    assert_eq!(change.needs_restart, ["zenoh.tls.certificate"]);
    assert!(change.trust_changed);
}
