//! Folders: what a component sees of the device's disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Bench, guest, recipe};

const READ: &str = "grants = [\"wasi\"]\nfolders = { \"/models\" = \"read\" }";
const WRITE: &str = "grants = [\"wasi\"]\nfolders = { \"/models\" = \"write\" }";

/// A folder with a file and a link that leads out of it.
fn fill(folder: &Path, outside: &Path) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("labels"), "one two").unwrap();
    fs::write(outside, "a secret").unwrap();
    symlink(outside, folder.join("way-out")).unwrap();
    symlink("/etc", folder.join("etc")).unwrap();
    symlink("labels", folder.join("same")).unwrap();
}

#[test]
fn a_folder_is_read_only_and_has_no_way_out() {
    let Some(component) = guest("capable") else {
        return;
    };
    let bench = Bench::new("[folders.\"/models\"]\npath = \"here\"");
    let here = bench.workspace.path("here");
    let outside = bench.workspace.path("secret");
    fill(&here, &outside);
    let commands = format!(
        "read /models/labels\nread /models/same\nlist /models\nwrite /models/new\nwrite /models/labels\nread /models/../secret\nread /models/way-out\nread /models/etc/passwd\nread {}\nread /etc/passwd",
        outside.display()
    );
    let (outcomes, _) = bench.outcomes(&recipe(&component, READ), &commands);
    assert_eq!(outcomes[0], "read one two");
    assert_eq!(outcomes[1], "read one two");
    assert_eq!(outcomes[2], "holds etc, labels, same, way-out");
    for outcome in &outcomes[3..] {
        assert!(outcome.starts_with("failed: "), "{outcomes:?}");
    }
    assert!(!here.join("new").exists());
    assert_eq!(fs::read_to_string(here.join("labels")).unwrap(), "one two");
    // Without the folder there is nothing at all.
    let (outcomes, _) = bench.outcomes(
        &recipe(&component, "grants = [\"wasi\"]"),
        "read /models/labels",
    );
    assert!(outcomes[0].starts_with("failed: "), "{outcomes:?}");
}

#[test]
fn a_folder_is_written_where_the_release_and_the_device_say_so() {
    let Some(component) = guest("capable") else {
        return;
    };
    let mapped = "[folders.\"/models\"]\npath = \"here\"";
    let bench = Bench::new("");
    let said = bench.refusal(&recipe(&component, READ));
    assert!(said.starts_with("folder_not_mapped"), "{said}");
    assert!(said.contains("[folders.\"/models\"]\npath = "), "{said}");

    bench.configure("[\"wasi\"]", mapped);
    let said = bench.refusal(&recipe(&component, READ));
    assert!(said.starts_with("folder_missing"), "{said}");

    fill(
        &bench.workspace.path("here"),
        &bench.workspace.path("secret"),
    );
    let said = bench.refusal(&recipe(&component, WRITE));
    assert!(said.starts_with("folder_read_only"), "{said}");
    assert!(said.contains("write = true"), "{said}");

    bench.configure("[\"wasi\"]", &format!("{mapped}\nwrite = true"));
    let commands = "write /models/new\nwrite /models/../secret\nwrite /models/way-out\nopen /models/labels 100";
    let (outcomes, said) = bench.outcomes(&recipe(&component, WRITE), commands);
    assert_eq!(outcomes[0], "written");
    assert!(bench.workspace.path("here/new").exists());
    assert!(outcomes[1].starts_with("failed: "), "{outcomes:?}");
    assert!(outcomes[2].starts_with("failed: "), "{outcomes:?}");
    assert_eq!(
        fs::read_to_string(bench.workspace.path("secret")).unwrap(),
        "a secret"
    );
    // The daemon's own file descriptors are not a component's to use up.
    assert!(outcomes[3].starts_with("failed: "), "{outcomes:?}");
    assert!(said.contains("has 64 files"), "{said}");
    // Where the device lets it be written, a release that only reads does not write.
    let (outcomes, _) = bench.outcomes(&recipe(&component, READ), "write /models/newer");
    assert!(outcomes[0].starts_with("failed: "), "{outcomes:?}");
}

#[test]
fn opening_a_named_pipe_ends_at_the_deadline() {
    let Some(component) = guest("capable") else {
        return;
    };
    let bench = Bench::new("[folders.\"/models\"]\npath = \"here\"");
    fs::create_dir(bench.workspace.path("here")).unwrap();
    let pipe = bench.workspace.path("here/pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let text = recipe(
        &component,
        &format!("{READ}\nlimits = {{ deadline-ms = 300 }}"),
    );
    // Whoever would write into it never comes, until the command is over.
    let (report, said) = bench.report(&text, "read /models/pipe");
    assert_eq!(report["error"]["fault"], "deadline", "{report} {said}");
}
