//! Signals, and parts that die: the configuration is read again, and nothing ends a process without a drain.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use hotshoe_protocol::status::PartState;
use rustix::process::Signal;
use serde_json::json;

use super::site::{Site, light};
use super::support::{Device, Workspace, failure, free_endpoint, hotshoe, success};

fn write(device: &Device, change: impl FnOnce(&str) -> String) {
    let text = fs::read_to_string(&device.config).unwrap();
    fs::write(&device.config, change(&text)).unwrap();
}

#[test]
fn sighup_applies_what_it_can_and_names_what_needs_a_restart() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let mut daemon = device.run();
    assert!(daemon.state()["reload"].is_null());
    // The log level.
    write(&device, |text| format!("{text}[log]\nfilter = \"debug\"\n"));
    daemon.signal(Signal::HUP);
    let state = daemon.wait_until(|state| state["reload"]["applied"] == json!(["log.filter"]));
    assert_eq!(state["reload"]["needs_restart"], json!([]));
    daemon.wait_for_log("\"level\":\"DEBUG\"");
    // The site's name, which is in every key, with something that can be applied beside it.
    write(&device, |text| {
        format!(
            "{}lines-per-second = 50\n",
            text.replace("site = \"lab\"", "site = \"other\"")
        )
    });
    daemon.signal(Signal::HUP);
    let state = daemon.wait_until(|state| state["reload"]["needs_restart"] == json!(["site"]));
    assert_eq!(state["reload"]["applied"], json!(["log.lines-per-second"]));
    assert_eq!(state["site"], "lab");
    daemon.wait_for_log("these keys changed and need a restart");
    // A file that is not valid changes nothing, not even what is valid of it.
    let good = fs::read_to_string(&device.config).unwrap();
    write(&device, |text| {
        format!(
            "{}\n[drain]\ndeadline-ms = true\n",
            text.replace("\"debug\"", "\"trace\"")
        )
    });
    daemon.signal(Signal::HUP);
    let state = daemon.wait_until(|state| state["reload"]["error"].is_string());
    assert_eq!(state["reload"]["applied"], json!([]));
    let error = state["reload"]["error"].as_str().unwrap();
    let wrong = fs::read_to_string(&device.config).unwrap();
    let line = wrong.lines().position(|line| line == "deadline-ms = true");
    let named = format!("line {}:", line.unwrap() + 1);
    assert!(error.contains(&named), "{error}");
    // Neither does one that is not there.
    fs::remove_file(&device.config).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_until(|state| {
        let error = state["reload"]["error"].as_str();
        error.is_some_and(|error| error.contains("cannot read"))
    });
    fs::write(&device.config, good.replace("\"other\"", "\"lab\"")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_until(|state| state["reload"]["error"].is_null());
    let said = success(["status", "--config", &device.config.display().to_string()]);
    assert!(said.contains("reload    applied"), "{said}");
    assert!(daemon.stop().success());
}

#[test]
fn trusted_keys_come_by_their_own_way_alone() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let mut daemon = device.run();
    site.workspace.key("mallory");
    site.workspace.trust(&["mallory"], 1);
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("hotshoe trust publish");
    let state = daemon.wait_until(|state| !state["reload"].is_null());
    assert_eq!(state["reload"]["applied"], json!([]));
    assert_eq!(state["trust_version"], 1);
    assert!(daemon.stop().success());
}

#[test]
fn no_signal_ends_it_without_a_drain() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let mut daemon = site.device("cam", &first, "").run();
    for signal in [
        Signal::PIPE,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::STKFLT,
        Signal::XFSZ,
    ] {
        daemon.signal(signal);
    }
    for _ in 0..500 {
        daemon.signal(Signal::HUP);
    }
    daemon.wait_for_log("the configuration was reloaded");
    assert!(daemon.feed(&[("1", b"abc".to_vec())])[0].result.is_ok());
    daemon.signal(Signal::QUIT);
    daemon.wait_for_log("\"drained\"");
    assert_eq!(daemon.ended().code(), Some(0));
}

#[test]
fn the_first_and_the_last_real_time_signal_drain_too() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    for number in [34, 64] {
        let name = format!("cam-{number}");
        let mut daemon = site.device(&name, &first, "").run();
        let kill = ["-s", &number.to_string(), &daemon.id().to_string()].map(str::to_owned);
        assert!(Command::new("kill").args(kill).status().unwrap().success());
        daemon.wait_for_log("\"drained\"");
        assert_eq!(daemon.ended().code(), Some(0));
    }
}

#[test]
fn a_pipe_in_the_place_of_a_token_holds_nothing_up() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let token = device.config.with_file_name("cam-token");
    fs::write(&token, "0123456789abcdef").unwrap();
    write(&device, |text| {
        format!("{text}[metrics]\nlisten = \"127.0.0.1:0\"\ntoken-file = \"cam-token\"\n")
    });
    let mut daemon = device.run();
    fs::remove_file(&token).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&token)
            .status()
            .unwrap()
            .success()
    );
    daemon.signal(Signal::HUP);
    let state = daemon.wait_until(|state| state["reload"]["error"].is_string());
    let error = state["reload"]["error"].as_str().unwrap();
    assert!(
        error.contains("cam-token") && error.contains("not a regular file"),
        "{error}"
    );
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("\"drained\"");
    assert_eq!(daemon.ended().code(), Some(0));
}

#[test]
fn a_registry_reads_its_file_again_and_drains() {
    let workspace = Workspace::new();
    let file = workspace.path("registry.toml");
    let text = format!(
        "site = \"lab\"\nname = \"one\"\ndata = \"registry\"\ntrust = \"trust.toml\"\n[zenoh]\nlisten = [\"{}\"]\n",
        free_endpoint()
    );
    fs::write(&file, &text).unwrap();
    let log = workspace.path("registry.log");
    let child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["registry", "--config"])
        .arg(&file)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(File::create(workspace.path("said")).unwrap())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut registry = super::support::Daemon::of(child, log, "one");
    // It handles signals before it says where it listens.
    registry.wait_for(&workspace.path("said"), "registry one of site lab");
    fs::write(
        &file,
        format!("keep = 2\n{}", text.replace("\"one\"", "\"two\"")),
    )
    .unwrap();
    registry.signal(Signal::HUP);
    registry.wait_for_log("\"applied\":\"keep\"");
    registry.wait_for_log("\"keys\":\"name\"");
    registry.signal(Signal::USR1);
    fs::write(&file, "nonsense").unwrap();
    registry.signal(Signal::HUP);
    registry.wait_for_log("the old one stays in effect");
    assert!(registry.stop().success());
}

/// A daemon in this process, so that a part of it can be made to panic.
#[test]
fn a_dead_part_is_in_the_status_which_then_fails() {
    let workspace = Workspace::new();
    let endpoint = free_endpoint();
    let config = workspace.path("a.toml");
    let text = format!(
        "site = \"lab\"\ndevice = \"a\"\ndata = \"data\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n[governor]\nenabled = false\n"
    );
    fs::write(&config, text).unwrap();
    let daemon =
        hotshoe_daemon::Daemon::start(hotshoe_config::Config::load(&config).unwrap()).unwrap();
    let file = config.display().to_string();
    let said = success(["status", "--config", &file]);
    let parts = said.lines().find(|line| line.starts_with("parts")).unwrap();
    for name in [
        "audit",
        "control",
        "deploy",
        "order",
        "record",
        "share",
        "statements",
        "worker",
    ] {
        assert!(parts.contains(name), "{parts}");
    }
    let (tell, told) = std::sync::mpsc::channel();
    daemon
        .parts()
        .on_death(move |dead| tell.send(dead.clone()).unwrap());
    daemon
        .parts()
        .vital("probe", || panic!("nothing is left"))
        .unwrap();
    told.recv_timeout(super::support::DEADLINE).unwrap();
    let broken: Vec<_> = daemon.status().broken().cloned().collect();
    assert_eq!(
        (broken[0].name.as_str(), broken[0].state),
        ("probe", PartState::Dead)
    );
    for arguments in [
        &["status", "--config", &file][..],
        &["status", "--config", &file, "--json"],
        &["status", "--site", "lab", "--connect", &endpoint],
    ] {
        let output = hotshoe(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("probe") && said.contains("dead"), "{said}");
    }
    daemon.drain(std::time::Duration::from_secs(5));
    // One that is not there fails too, as it always did.
    failure(["status", "--config", &file, "--timeout", "1"]);
}
