//! Files of a newer version of Hotshoe in a data folder: what cannot be made again stops the daemon, the rest does not.

use std::fs;
use std::path::{Path, PathBuf};

use hotshoe_devkit::find_root;

use crate::support::{Workspace, environment, failure};

fn code(workspace: &Workspace) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![workspace.path("a-data/aot")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "code") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn a_newer_ledger_stops_the_daemon_and_newer_caches_and_states_do_not() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let device = workspace.device("a", &release, "");
    let daemon = device.run();
    let digest = daemon.status().release.unwrap().digest;
    daemon.kill();

    let ledger = workspace.path("a-data/ledger.json");
    let before = fs::read_to_string(&ledger).unwrap();
    let newer = before.replace("\"version\": 2", "\"version\": 99, \"new\": {}");
    assert_ne!(newer, before);
    fs::write(&ledger, &newer).unwrap();
    let config = device.config.display().to_string();
    let refused = failure(["run", "--config", &config]);
    for part in ["newer_format", "ledger.json", "format 99", "up to format 2"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert_eq!(fs::read_to_string(&ledger).unwrap(), newer);
    fs::write(&ledger, before).unwrap();

    let codes = code(&workspace);
    assert_eq!(codes.len(), 3);
    for path in &codes {
        let bytes = fs::read(path).unwrap();
        let rest = bytes.strip_prefix(b"hotshoe-code-2\n").unwrap();
        fs::write(path, [&b"hotshoe-code-99\n"[..], rest].concat()).unwrap();
    }
    let states = workspace.path("a-data/state");
    fs::create_dir_all(&states).unwrap();
    let state = states.join(format!("{}.json", digest.hex()));
    let newer = r#"{"format":99,"components":[]}"#;
    fs::write(&state, newer).unwrap();
    let daemon = device.run();
    let log = daemon.log();
    assert_eq!(log.matches("compiled code is not used").count(), 3, "{log}");
    assert!(log.contains("cannot restore the saved state"), "{log}");
    assert!(log.matches("format 99").count() >= 4, "{log}");
    assert_eq!(fs::read_to_string(&state).unwrap(), newer);
    let page = fs::read(environment().picture("page.png")).unwrap();
    assert!(daemon.feed(&[("1", page)])[0].result.is_ok());
    assert!(daemon.stop().success());
    for path in codes {
        assert!(fs::read(path).unwrap().starts_with(b"hotshoe-code-2\n"));
    }
}

/// A format is raised by one constant of each file, so that the table of the operators can be compared with it.
#[test]
fn the_table_of_formats_has_what_the_code_writes_and_reads() {
    let root = find_root(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let table = fs::read_to_string(root.join("host/README.md")).unwrap();
    for (file, source) in [
        ("ledger.json", "store/src/ledger.rs"),
        ("state/DIGEST.json", "engine/src/state.rs"),
        ("backends.json", "pipeline/src/choice/remembered.rs"),
        ("watched.json", "daemon/src/watched/failed_files.rs"),
        ("starts.json", "daemon/src/deploy/start_record.rs"),
        ("shared-data.json", "shared-data/src/store.rs"),
        ("page-history", "page/src/history/file.rs"),
        ("aot/*.code", "engine/src/cache.rs"),
        ("registry.json", "delivery/src/registry/record.rs"),
        ("rollouts.json", "delivery/src/rollout_file.rs"),
        ("recording.json", "store/src/recording.rs"),
        ("host/*.json", "supervisor/src/folder.rs"),
    ] {
        let source = fs::read_to_string(root.join("host").join(source)).unwrap();
        let (_, rest) = source.split_once("FileFormat::new(").unwrap();
        let written = rest.split(',').next().unwrap();
        let row = table
            .lines()
            .find(|line| line.starts_with(&format!("| `{file}`")));
        let row = row.unwrap_or_else(|| panic!("{file} has no row"));
        let format = row.split('|').nth(2).unwrap().trim_start();
        assert!(
            format.starts_with(written),
            "{file}: {format}, not {written}"
        );
    }
}
