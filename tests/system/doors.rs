//! What all doors have in common: none of them starves another one, and strangers are kept out of each.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::process::Signal;

use crate::oip::{free_address, raw};
use crate::support::{DEADLINE, Daemon, Device, Workspace, failure, hotshoe};

/// Connections of each kind that ask nothing.
const IDLE: usize = 200;
/// Lines that a daemon may write while doors are held open.
const FEW_LINES: usize = 50;

struct Doors {
    device: Device,
    metrics: String,
    oip: String,
}

impl Doors {
    fn new(workspace: &Workspace) -> Self {
        let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
        let (metrics, oip) = (free_address(), free_address());
        let config = format!("[metrics]\nlisten = \"{metrics}\"\n[oip]\nlisten = \"{oip}\"");
        Self {
            device: workspace.device("a", &release, &config),
            metrics,
            oip,
        }
    }

    /// Asks at every door.
    fn are_answering(&self, daemon: &Daemon) {
        let get = |url: &str, path: &str| {
            let head = "Host: localhost\r\nConnection: close\r\n\r\n";
            raw(url, &format!("GET {path} HTTP/1.1\r\n{head}"))
        };
        let metrics = get(&self.metrics, "/metrics");
        assert!(metrics.contains("hotshoe_release_info"), "{metrics}");
        let oip = get(&self.oip, "/v2/health/ready");
        assert!(oip.starts_with("HTTP/1.1 200"), "{oip}");
        assert!(daemon.status().counters.add_up());
        let config = self.device.config.display().to_string();
        let started = Instant::now();
        // While silent callers have all places, a further one is told so.
        while !hotshoe(["history", "--config", &config]).status.success() {
            assert!(started.elapsed() < DEADLINE, "no answer over control.sock");
        }
    }
}

/// How many files a process has open.
fn open_files(daemon: &Daemon) -> usize {
    let folder = format!("/proc/{}/fd", daemon.id());
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn idle_connections_to_one_door_starve_no_other() {
    let workspace = Workspace::new();
    let doors = Doors::new(&workspace);
    let daemon = doors.device.run_after("ulimit -n 64");
    doors.are_answering(&daemon);
    let before = daemon.log().lines().count();
    let connect = |url: &str| TcpStream::connect(url).unwrap();
    let mut idle: Vec<TcpStream> = (0..IDLE).map(|_| connect(&doors.metrics)).collect();
    doors.are_answering(&daemon);
    idle.extend((0..IDLE).map(|_| connect(&doors.oip)));
    // A head that never ends counts as idle, too.
    for stream in &mut idle {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: local");
    }
    doors.are_answering(&daemon);
    assert!(open_files(&daemon) < 64);
    // The socket of the operator has its own limit.
    let socket = workspace.path("a-data/control.sock");
    let silent: Vec<_> = (0..IDLE).map(|_| UnixStream::connect(&socket)).collect();
    drop(silent);
    doors.are_answering(&daemon);
    let after = daemon.log().lines().count();
    assert!(after - before < FEW_LINES, "{}", daemon.log());
    drop(idle);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn metrics_are_closed_to_strangers() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let device = workspace.device("a", &release, "");
    let config = device.config.display().to_string();
    let text = fs::read_to_string(&device.config).unwrap();
    let refused = |metrics: &str| {
        fs::write(&device.config, format!("{text}[metrics]\n{metrics}\n")).unwrap();
        failure(["run", "--config", &config])
    };
    let open = refused("listen = \"0.0.0.0:0\"");
    assert!(open.starts_with("invalid_config"), "{open}");
    assert!(open.contains("metrics.insecure = true"), "{open}");
    let readable = refused("listen = \"0.0.0.0:0\"\ntoken-file = \"token\"");
    assert!(readable.contains("can read the token"), "{readable}");
    let missing = refused("token-file = \"token\"");
    assert!(
        missing.contains("correct `metrics.token-file`"),
        "{missing}"
    );

    fs::write(workspace.path("token"), "correct-horse-battery-staple\n").unwrap();
    let address = free_address();
    let keys = format!("[metrics]\nlisten = \"{address}\"\ntoken-file = \"token\"\n");
    fs::write(&device.config, format!("{text}{keys}")).unwrap();
    let mut daemon = device.run();
    let get = |headers: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        raw(&address, &head)
    };
    let stranger = get("Host: localhost\r\n");
    assert!(stranger.starts_with("HTTP/1.1 401"), "{stranger}");
    let ours = get("Host: any.example\r\nAuthorization: Bearer correct-horse-battery-staple\r\n");
    assert!(ours.contains("hotshoe_release_info"), "{ours}");
    let other = raw(
        &address,
        "POST /metrics HTTP/1.1\r\nAuthorization: Bearer correct-horse-battery-staple\r\nConnection: close\r\n\r\n",
    );
    assert!(other.starts_with("HTTP/1.1 405"), "{other}");
    // A token that was renewed is in effect after SIGHUP, without a restart.
    fs::write(workspace.path("token"), "another-horse-battery-staple\n").unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the configuration was reloaded");
    let old = get("Authorization: Bearer correct-horse-battery-staple\r\n");
    assert!(old.starts_with("HTTP/1.1 401"), "{old}");
    let new = get("Authorization: Bearer another-horse-battery-staple\r\n");
    assert!(new.contains("hotshoe_release_info"), "{new}");
    let reload = daemon.status().reload.unwrap();
    assert_eq!(reload.applied, ["metrics.token-file"]);
    assert!(reload.needs_restart.is_empty(), "{reload:?}");
}
