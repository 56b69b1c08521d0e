//! The log: it may be full, closed, unread, or too much, and a device serves and takes releases all the same.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use hotshoe_config::ZenohConfig;
use hotshoe_link::{Notice, Site as Link};

use super::site::{Site, light, settled_on};
use super::support::{DEADLINE, Daemon, Device, environment, free_endpoint, success};

/// A device that has release 1, and release 2, which was not published yet.
fn site(more: &str) -> (Site, Device, super::site::Packed) {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let second = site.pack(&light(2, ""));
    let device = site.device("cam", &first, more);
    (site, device, second)
}

/// It takes a release, and goes back from it.
fn takes_and_returns(
    site: &mut Site,
    daemon: &Daemon,
    device: &Device,
    packed: &super::site::Packed,
) {
    site.publish(packed);
    daemon.feed_until(settled_on(2));
    let config = device.config.display().to_string();
    success(["rollback", "--config", &config]);
    daemon.feed_until(settled_on(1));
    // Nothing of it is dead.
    success(["status", "--config", &config]);
}

#[test]
fn with_its_log_on_a_full_disk_it_takes_a_release_and_goes_back() {
    let (mut site, device, second) = site("");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let daemon = device.run_to(full);
    takes_and_returns(&mut site, &daemon, &device, &second);
    let lost = daemon.status().log.lost;
    assert!(lost > 0, "nothing says that the log is lost");
    assert!(daemon.stop().success());
}

#[test]
fn when_the_reader_of_its_log_has_died_it_takes_a_release_and_goes_back() {
    let (mut site, device, second) = site("");
    let (reader, writer) = std::io::pipe().unwrap();
    let daemon = device.run_to(writer);
    // It was read so far.
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    assert!(line.contains("\"level\""), "{line}");
    takes_and_returns(&mut site, &daemon, &device, &second);
    assert!(daemon.status().log.lost > 0);
    assert!(daemon.stop().success());
}

#[test]
fn when_nobody_reads_its_log_it_takes_a_release_and_goes_back() {
    // More than a pipe and the queue hold.
    let loud = "[log]\nfilter = \"trace\"\nlines-per-second = 1000000\n";
    let (mut site, device, second) = site(loud);
    let (_reader, writer) = std::io::pipe().unwrap();
    let daemon = device.run_to(writer);
    daemon.feed_until(|state| state["log"]["lost"].as_u64() > Some(0));
    takes_and_returns(&mut site, &daemon, &device, &second);
    assert!(daemon.stop().success());
}

#[test]
fn without_standard_input_output_and_error_it_serves() {
    let (_site, device, _) = site("");
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$0\" run --config \"$1\" <&- >&- 2>&-"])
        .arg(env!("CARGO_BIN_EXE_hotshoe"))
        .arg(&device.config);
    let daemon = device.run_by(command);
    assert!(daemon.feed(&[("1", b"abc".to_vec())])[0].result.is_ok());
    assert!(daemon.stop().success());
}

#[test]
fn a_status_that_nobody_reads_to_its_end_is_no_panic() {
    let (_site, device, _) = site("");
    let _daemon = device.run();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["status", "--config"])
        .arg(&device.config)
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_command_whose_standard_error_is_full_ends_as_it_should() {
    let page = environment().picture("page.png");
    let output = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["exec", "/nowhere", "--trust", "/nowhere"])
        .arg(page)
        .env("RUST_LOG", "trace")
        .stderr(File::options().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_registry_does_not_log_a_line_for_each_statement_that_is_garbage() {
    let site = Site::new();
    let listen = free_endpoint();
    let log = site.workspace.path("registry.log");
    let child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["registry", "--site", "lab", "--listen", &listen])
        .arg("--data")
        .arg(site.workspace.path("registry"))
        .args(["--trust", &site.workspace.trust_file()])
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut registry = Daemon::of(child, log.clone(), "registry");
    let zenoh = ZenohConfig {
        connect: vec![listen],
        ..ZenohConfig::default()
    };
    let stranger = Link::open(&zenoh, "lab").unwrap();
    let refused = || {
        let text = fs::read_to_string(&log).unwrap();
        let lines = text
            .lines()
            .filter(|line| line.contains("refused a statement or release"));
        lines.filter(|line| !line.contains("left_out")).count()
    };
    let started = Instant::now();
    let mut said = 0;
    let mut publish = || {
        for _ in 0..100 {
            said += 1;
            stranger
                .publish(Notice::Desired, &format!("r{}", said % 1_000), b"garbage")
                .unwrap();
        }
        said
    };
    // As many as there may be at once, and then many more.
    while refused() < 20 {
        assert!(started.elapsed() < DEADLINE, "{}", registry.log());
        publish();
    }
    for _ in 0..10 {
        publish();
    }
    registry.wait_for_log("lines like this were left out");
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap();
    assert!(refused() <= 20 + 5 * (seconds + 1), "{}", refused());
    stranger.close();
    assert!(registry.stop().success());
}
