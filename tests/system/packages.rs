//! What is shipped: the packages' files, the unit's sandbox, the wheel, completions and the bill of materials.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hotshoe_config::Config;
use hotshoe_tests::{Need, skip};
use serde_json::{Value, json};

use crate::support::{Workspace, environment, hotshoe, success};

fn packaging(file: &str) -> PathBuf {
    environment().root.join("packaging").join(file)
}

/// What a program prints; it must succeed.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_unit_exposes_little() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        skip(Need::Systemd, "no systemd-analyze");
        return;
    }
    let unit = packaging("debian/hotshoe.service");
    let report = output(
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(unit),
    );
    let line = report
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .unwrap();
    let level: f64 = line
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .filter_map(|word| word.parse().ok())
        .next_back()
        .unwrap();
    assert!(level > 0.0 && level <= 2.0, "{line}");
}

/// The values of a key of the unit.
fn unit(key: &str) -> Vec<String> {
    let text = fs::read_to_string(packaging("debian/hotshoe.service")).unwrap();
    let values = text.lines().filter_map(|line| line.split_once('='));
    let values = values.filter(|(it, _)| *it == key);
    values.map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn every_package_starts_the_daemon_by_the_supervisor_with_its_data_folder() {
    let text = fs::read_to_string(packaging("debian/hotshoe.toml")).unwrap();
    let data = Config::parse(&text, Path::new("/etc/hotshoe"))
        .unwrap()
        .data;
    let command = format!(
        "/usr/bin/hotshoe-supervisor --data {} /usr/bin/hotshoe run --config /etc/hotshoe/hotshoe.toml",
        data.display()
    );
    assert_eq!(unit("ExecStart").join("; "), command);
    // The daemon is a child of the main process, which passes signals on and ends with this code for another program.
    assert_eq!(unit("NotifyAccess"), ["all"]);
    assert_eq!(unit("KillMode"), ["mixed"]);
    assert_eq!(unit("Restart"), ["always"]);
    assert_eq!(unit("SuccessExitStatus"), ["86"]);
    let words: Vec<_> = command.split(' ').collect();
    let image = fs::read_to_string(packaging("container/Dockerfile")).unwrap();
    let line = image.lines().find_map(|line| line.strip_prefix("CMD "));
    let started: Vec<String> = serde_json::from_str(line.unwrap()).unwrap();
    assert_eq!(started, words);
    let manifest = fs::read_to_string(packaging("kubernetes/hotshoe.yaml")).unwrap();
    let list = |key: &str| -> Vec<String> {
        let mut lines = manifest.lines().map(str::trim);
        let found = lines.find_map(|line| {
            line.strip_prefix(key)
                .filter(|it| it.contains("run") || it.contains("supervisor"))
        });
        serde_json::from_str(found.unwrap()).unwrap()
    };
    let mut started = list("command: ");
    started.extend(list("args: "));
    assert_eq!(started, words);
    let about = fs::read_to_string(environment().root.join("host/cli/Cargo.toml")).unwrap();
    assert!(about.contains("\"target/release/hotshoe-supervisor\", \"usr/bin/\""));
}

#[test]
fn the_configurations_of_the_packages_are_valid() {
    let text = fs::read_to_string(packaging("debian/hotshoe.toml")).unwrap();
    let config = Config::parse(&text, Path::new("/etc/hotshoe")).unwrap();
    assert_eq!(config.data, Path::new("/var/lib/hotshoe"));
    assert_eq!(config.trust, Path::new("/etc/hotshoe/trust.toml"));
    // Each line that is commented out is valid, too.
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(code) if code.starts_with('[') || code.contains(" = ") => code,
            Some(_) => "",
            None => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    // Words that explain may have an equals sign; they are in backquotes or after `as`.
    let all = all.replace(
        "What releases may select the device by, as labels = { line = \"4\" }.",
        "",
    );
    let config = Config::parse(&all, Path::new("/etc/hotshoe")).unwrap();
    assert!(config.page.is_some() && config.watch.is_some() && config.zenoh.tls.is_some());

    let manifest = fs::read_to_string(packaging("kubernetes/hotshoe.yaml")).unwrap();
    let (_, block) = manifest.split_once("  hotshoe.toml: |\n").unwrap();
    let lines = block.lines().map_while(|line| {
        let code = line.strip_prefix("    ");
        code.or_else(|| line.is_empty().then_some(""))
    });
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let config = Config::parse(&text.replace("@NODE@", "node-1"), Path::new("/")).unwrap();
    assert_eq!(
        (config.site.as_str(), config.device.as_str()),
        ("lab", "node-1")
    );
}

#[test]
fn a_wheel_brings_the_programs_and_what_they_need() {
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    // A small program of this machine in place of ours.
    for name in ["hotshoe", "hotshoe-demo"] {
        fs::copy("/bin/true", programs.join(name)).unwrap();
    }
    let wheel = |out: &str| -> PathBuf {
        let out = folder.path().join(out);
        output(
            Command::new("python3")
                .arg(packaging("wheel.py"))
                .arg("--programs")
                .arg(&programs)
                .arg("--components")
                .arg(&environment().guests)
                .arg("--out")
                .arg(&out),
        );
        let mut files = fs::read_dir(out).unwrap();
        files.next().unwrap().unwrap().path()
    };
    let (first, second) = (wheel("a"), wheel("b"));
    let name = first.file_name().unwrap().to_str().unwrap();
    let machine = std::env::consts::ARCH;
    assert!(
        name.starts_with("hotshoe-0.1.0-py3-none-manylinux_2_")
            && name.ends_with(&format!("_{machine}.whl")),
        "{name}"
    );
    assert!(
        fs::read(&first).unwrap() == fs::read(&second).unwrap(),
        "it is the same each time"
    );

    let prefix = folder.path().join("prefix");
    output(
        Command::new("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-index",
                "--no-deps",
                "--ignore-installed",
            ])
            .env("PIP_ROOT_USER_ACTION", "ignore")
            .env("PIP_BREAK_SYSTEM_PACKAGES", "1")
            .arg("--prefix")
            .arg(&prefix)
            .arg(&first),
    );
    // Debian's pip puts it below `local`.
    let bin = [prefix.join("bin"), prefix.join("local/bin")]
        .into_iter()
        .find(|it| it.is_dir())
        .unwrap();
    for name in ["hotshoe", "hotshoe-demo"] {
        let mode = fs::metadata(bin.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{name} can be run");
        output(&mut Command::new(bin.join(name)));
    }
    let share = bin.with_file_name("share").join("hotshoe");
    for name in ["hotshoe.1", "hotshoe-demo.1"] {
        let page = share.with_file_name("man").join("man1").join(name);
        assert!(page.is_file(), "{}", page.display());
    }
    for file in [
        "components/read-page.wasm",
        "components/policy-label.wasm",
        "components/policy-legible.wasm",
        "components/flaky-policy.wasm",
        "examples/label-reader/release.toml",
        "examples/label-reader/rules.json",
        "examples/label-reader/expected/page.json",
    ] {
        assert!(share.join(file).is_file(), "{file}");
    }
}

#[test]
fn completions_are_valid_scripts_with_every_command() {
    let script = success(["completions", "bash"]);
    for command in ["install", "doctor", "sbom", "--before-shipping"] {
        assert!(script.contains(command), "{command}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hotshoe.bash");
    fs::write(&file, &script).unwrap();
    output(Command::new("bash").arg("-n").arg(&file));
    for shell in ["zsh", "fish"] {
        assert!(
            success(["completions", shell]).contains("before-shipping"),
            "{shell}"
        );
    }
    let wrong = hotshoe(["completions", "tcsh"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_manual_page_has_every_command_and_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    for (name, program) in [
        ("hotshoe", PathBuf::from(env!("CARGO_BIN_EXE_hotshoe"))),
        (
            "hotshoe-supervisor",
            Path::new(env!("CARGO_BIN_EXE_hotshoe")).with_file_name("hotshoe-supervisor"),
        ),
    ] {
        let page = folder.path().join(name).with_extension("1");
        output(
            Command::new("python3")
                .arg(packaging("manual.py"))
                .arg(program)
                .arg(&page),
        );
        let text = fs::read_to_string(&page).unwrap();
        if name == "hotshoe" {
            let help = success(["help"]);
            // Commands stand by topic, two letters in.
            let names = help.lines().filter_map(|line| {
                let name = line.strip_prefix("  ")?.split(' ').next()?;
                let is_name = |it: &str| {
                    it.chars()
                        .all(|letter| letter.is_ascii_lowercase() || letter == '-')
                };
                (!name.is_empty() && name != "hotshoe" && !name.starts_with('-') && is_name(name))
                    .then_some(name)
            });
            let mut found = 0;
            for command in names {
                let command = command.to_uppercase().replace('-', "\\-");
                let heading = format!(".SH \"HOTSHOE {command}\"");
                assert!(text.contains(&heading), "{heading}");
                found += 1;
            }
            assert!(found > 40, "{found} commands");
            // Of a command below another one.
            assert!(text.contains(".SH \"HOTSHOE SITE ADD\""));
        }
        if Command::new("man").arg("--version").output().is_err() {
            skip(Need::Man, "no man");
            return;
        }
        // As lintian looks for faults.
        let shown = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(&page)
            .env("LC_ALL", "C.UTF-8")
            .env("MANROFFSEQ", "")
            .env("MANWIDTH", "80")
            .output()
            .unwrap();
        assert!(shown.status.success());
        assert_eq!(String::from_utf8_lossy(&shown.stderr), "");
    }
}

/// The value of a property of a part.
fn property<'a>(part: &'a Value, name: &str) -> &'a str {
    let properties = part["properties"].as_array().unwrap();
    let found = properties.iter().find(|it| it["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {part}"))["value"]
        .as_str()
        .unwrap()
}

#[test]
fn a_bill_of_materials_names_the_release_and_who_signed_it() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("hostile.toml"));
    let device = workspace.device("cam", &release, "");
    let config = device.config.display().to_string();
    let bill =
        || -> Value { serde_json::from_str(&success(["sbom", "--config", &config])).unwrap() };
    // It needs no lock: a daemon may run.
    let daemon = device.run();
    let found = bill();
    assert_eq!(
        (&found["bomFormat"], &found["specVersion"]),
        (&json!("CycloneDX"), &json!("1.6"))
    );
    let program = &found["metadata"]["component"];
    assert_eq!(program["name"], "hotshoe");
    assert_eq!(program["hashes"][0]["content"].as_str().unwrap().len(), 64);
    let parts = found["components"].as_array().unwrap();
    let part = parts.iter().find(|it| it["type"] == "application").unwrap();
    let live = daemon.status().release.unwrap();
    assert_eq!(
        (&part["name"], &part["version"]),
        (&json!(live.name), &json!(live.generation.to_string()))
    );
    assert_eq!(part["hashes"][0]["content"], live.digest.hex());
    assert_eq!(property(part, "hotshoe:verified"), "true");
    assert_eq!(property(part, "hotshoe:signers"), "alice");
    assert_eq!(property(part, "hotshoe:signatures"), "1");
    let files = part["components"].as_array().unwrap();
    let component = files
        .iter()
        .find(|it| property(it, "hotshoe:kind") == "component")
        .unwrap();
    assert_eq!(component["type"], "library");
    assert_eq!(component["hashes"][0]["alg"], "SHA-256");
    daemon.kill();

    // Keys that the device does not trust any more.
    workspace.key("bob");
    workspace.trust(&["bob"], 1);
    let found = bill();
    let parts = found["components"].as_array().unwrap();
    let part = parts.iter().find(|it| it["type"] == "application").unwrap();
    assert_eq!(property(part, "hotshoe:verified"), "false");
    assert!(!property(part, "hotshoe:reason").is_empty());
    assert!(part.get("components").is_none());
}
