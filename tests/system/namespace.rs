//! Deliveries in a network namespace of their own: on nothing but loopback, and over a connection that loses and delays packets.

use std::fs;
use std::process::Command;
use std::time::Duration;

use hotshoe_tests::{Need, skip};

use super::proxy::Cable;
use super::site::{Site, data_file, light};
use super::support::{environment, success};

/// Set where a test runs inside of the namespace.
const INSIDE: &str = "HOTSHOE_TEST_NAMESPACE";
/// The publisher's port. In a namespace of its own, every port is free.
const PORT: u16 = 7447;
/// Per cent of the packets that each direction loses: 44 % of the round trips fail, and a delivery takes 20 to 60 s. TCP doubles its pause after each
/// loss: at 50 % in each direction nothing had arrived after 170 s.
const LOSS: u32 = 25;
/// How late everything is, in each direction.
const DELAY: Duration = Duration::from_millis(500);

/// A shell's commands in a new network namespace.
fn inside(commands: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", commands]);
    command
}

/// What keeps these commands from a namespace, if anything.
fn obstacle(commands: &str) -> Option<String> {
    match inside(commands).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare cannot be started: {error}")),
    }
}

/// Runs this test again in a network namespace, after these commands. Whether this already is that run.
fn is_inside(test: &str, prepare: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let output = inside(&format!("{prepare} && exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// `hotshoe publish` to a device that reaches it over this cable.
fn deliver(cable: &Cable) {
    let mut site = Site::new();
    site.close();
    let filler = site.workspace.path("filler");
    fs::copy(environment().picture("page.png"), &filler).unwrap();
    let first = site.pack(&light(1, ""));
    let second = site.pack(&light(2, &data_file("filler", &filler)));
    let device = site.device_at("cam", &first, &cable.endpoint(), "");
    let daemon = device.run();
    let folder = second.folder.display().to_string();
    let endpoint = format!("tcp/127.0.0.1:{PORT}");
    let publish = [
        "publish",
        &folder,
        "--site",
        "lab",
        "--listen",
        &endpoint,
        "--expect",
        "1",
        "--stage-only",
        "--timeout",
        "600",
    ];
    success(publish);
    let state = daemon.wait_until(|state| state["slots"]["staged"]["generation"] == 2);
    assert_eq!(state["release"]["generation"], 1, "{state:#}");
}

const ALONE: &str = "ip link set lo up";

#[test]
fn a_network_of_its_own_is_enough_to_deliver() {
    if let Some(obstacle) = obstacle(ALONE) {
        return skip(Need::NetworkNamespace, &obstacle);
    }
    let test = "namespace::a_network_of_its_own_is_enough_to_deliver";
    if is_inside(test, ALONE) {
        deliver(&Cable::to(PORT));
    }
}

#[test]
fn a_release_arrives_though_packets_are_lost_and_late() {
    if let Some(obstacle) = obstacle(ALONE) {
        return skip(Need::NetworkNamespace, &obstacle);
    }
    let drop = format!("numgen random mod 100 < {LOSS} drop");
    let lossy = [
        ALONE.to_owned(),
        "nft add table inet loss".to_owned(),
        "nft 'add chain inet loss in { type filter hook input priority 0; }'".to_owned(),
        format!("nft 'add rule inet loss in tcp dport {PORT} {drop}'"),
        format!("nft 'add rule inet loss in tcp sport {PORT} {drop}'"),
    ];
    let lossy = lossy.join(" && ");
    if let Some(obstacle) = obstacle(&lossy) {
        let reason = format!("Debian's package `nftables` has nft: {obstacle}");
        return skip(Need::Nftables, &reason);
    }
    let test = "namespace::a_release_arrives_though_packets_are_lost_and_late";
    if is_inside(test, &lossy) {
        deliver(&Cable::delayed(PORT, DELAY));
    }
}
