//! The commands of README.md, as they stand there.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use hotshoe_tests::{free_port, root};
use serde_json::Value;

use crate::author::alone;
use crate::support::{DEADLINE, Workspace, environment};

/// Commands that are not run here: each is a build of its own, or another test.
const ELSEWHERE: [&str; 2] = ["cargo demo", "cargo test --workspace"];
/// The command that serves until it is told to stop.
const SERVE: &str = "hotshoe run";
/// The endpoint of the device in README.
const PORT: &str = ":7447";

/// Waits for what the status of the device says.
const WAITING: &str = r#"
wait_for() { local end=$((SECONDS + DEADLINE)); until "$@"; do [ $SECONDS -lt $end ]; done; }
is_up() { hotshoe status --config hotshoe.toml --json > status.json; }
is_confirmed() { is_up && grep -q '"phase": *"live"' status.json && grep -q '"generation": *2' status.json; }
"#;

/// The commands of the blocks of shell below the heading `## <heading>`, without remarks.
fn blocks(heading: &str) -> Vec<Vec<String>> {
    let document = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = document.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|block| {
            let lines = block.split("\n```").next().unwrap().lines();
            let commands = lines.map(|line| line.split(" # ").next().unwrap().trim());
            let commands = commands.filter(|command| !command.is_empty());
            let commands = commands.map(|command| command.replace("cargo hotshoe", "hotshoe"));
            commands.collect()
        })
        .collect()
}

/// Runs a script in a folder, with the built `hotshoe` on its path. Fails with what it printed.
fn run(folder: &Path, script: &str) -> String {
    let programs = folder.join("programs");
    fs::create_dir_all(&programs).unwrap();
    symlink(env!("CARGO_BIN_EXE_hotshoe"), programs.join("hotshoe")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let log = folder.join("log");
    let output = Command::new("bash")
        .args(["-eu", "-c"])
        .arg(format!("trap 'kill $(jobs -p) || true' EXIT\n{script}"))
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("HOTSHOE_PASSPHRASE", "correct horse battery staple")
        // What the crates below a component are built to is shared with the other tests.
        .env("CARGO_TARGET_DIR", root().join("target/author-build"))
        .env("HOTSHOE_TOOLS", root().join("target/tools"))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        // A file, since what is left running would keep a pipe open.
        .stderr(fs::File::create(&log).unwrap())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let said = fs::read_to_string(log).unwrap();
    assert!(output.status.success(), "{script}\n{printed}\n{said}");
    printed
}

#[test]
fn every_block_of_shell_is_run_or_left_out_on_purpose() {
    let document = fs::read_to_string(root().join("README.md")).unwrap();
    let headings = ["Two commands", "From nothing to a served release"];
    let found: usize = headings.iter().map(|heading| blocks(heading).len()).sum();
    assert_eq!(document.matches("```sh\n").count(), found);
    assert_eq!(document.matches("```console\n").count(), 0);
    let first = blocks("Two commands").remove(0);
    assert_eq!(
        first.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        ELSEWHERE.into()
    );
}

#[test]
fn what_the_demo_left_can_be_looked_at() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("release.toml"));
    let commands = blocks("Two commands").remove(1).join("\n");
    // The demo makes its release of the same files.
    let script = commands
        .replace("target/demo/release", &release.display().to_string())
        .replace("target/demo/trust.toml", &workspace.trust_file())
        .replace(
            "target/fixtures/pictures",
            &environment()
                .picture("page.png")
                .parent()
                .unwrap()
                .display()
                .to_string(),
        );
    let printed = run(&workspace.path(""), &script);
    assert!(
        printed.contains("page") && printed.contains("lines"),
        "{printed}"
    );
}

#[test]
fn from_nothing_to_a_served_release_as_the_page_says() {
    let _alone = alone();
    environment();
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = &blocks("From nothing to a served release")[..] else {
        panic!("there are two blocks");
    };
    let mut script = vec![WAITING.replace("DEADLINE", &DEADLINE.as_secs().to_string())];
    for command in first {
        if command.starts_with(SERVE) {
            script.push(format!("{command} &"));
            script.push("wait_for is_up".to_owned());
        } else {
            script.push(command.clone());
        }
    }
    // The page says in words to do this between looking and building.
    let change =
        "echo '// changed' >> src/lib.rs\nsed -i 's/^generation = 1$/generation = 2/' release.toml";
    let build = second.iter().position(|it| it == "hotshoe build").unwrap();
    script.extend_from_slice(&second[..build]);
    script.push(change.to_owned());
    script.extend_from_slice(&second[build..]);
    script.push("wait_for is_confirmed".to_owned());
    script.push("hotshoe history --config hotshoe.toml --json > history.json".to_owned());
    let script = script
        .join("\n")
        .replace(PORT, &format!(":{}", free_port()));
    run(folder.path(), &script);
    let read = |name: &str| -> Value {
        let text = fs::read_to_string(folder.path().join("count-people").join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let status = read("status.json");
    assert_eq!(status[0]["release"]["generation"], 2, "{status:#}");
    assert_eq!(
        status[0]["slots"]["previous"]["generation"], 1,
        "{status:#}"
    );
    assert!(read("history.json").to_string().contains("trial"));
}
