//! Pushing a release to a registry, and skopeo's copy of the same folder: requests and time. The registry's access log counts the requests
//! of both.

use std::cell::Cell;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hotshoe_devkit::{Environment, debian_package};
use hotshoe_release::daemon_process::free_endpoint;
use hotshoe_release::pack;
use hotshoe_release::terminal::Terminal;
use hotshoe_trust::Time;
use tempfile::TempDir;

use super::report::{Row, Unit};
use super::timings::{Timings, alternate, timing};

/// The maximum ratio of requests, and of time, to skopeo's.
const TARGET: f64 = 1.5;
/// How long the registry may take to start.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// The recipe in the checkout.
const RECIPE: &str = "examples/label-reader/release.toml";

/// The name of the time of one push.
const PUSH: &str = "push";

/// Debian's `docker-registry` in a folder of its own.
struct Registry {
    process: Child,
    address: String,
    log: PathBuf,
}

impl Registry {
    fn start(root: &Path, folder: &Path) -> anyhow::Result<Self> {
        let package = debian_package(root, "docker-registry").context("cannot get a registry")?;
        let endpoint = free_endpoint()?;
        let address = endpoint.trim_start_matches("tcp/").to_owned();
        let (config, log) = (folder.join("config.yml"), folder.join("access.log"));
        let data = folder.join("data");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"{address}\" }}\n",
            data.display()
        );
        fs::write(&config, text).context("cannot configure the registry")?;
        let process = Command::new(package.join("usr/bin/docker-registry"))
            .arg("serve")
            .arg(&config)
            .stdout(File::create(&log).context("cannot write the access log")?)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start docker-registry")?;
        let registry = Self {
            process,
            address,
            log,
        };
        registry.ready()?;
        Ok(registry)
    }

    fn ready(&self) -> anyhow::Result<()> {
        let address: SocketAddr = self.address.parse()?;
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(
                started.elapsed() < START_DEADLINE,
                "the registry does not listen"
            );
            thread::yield_now();
        }
        Ok(())
    }

    /// Ends the registry, and returns the number of requests of a client.
    fn requests(&mut self, client: &str) -> anyhow::Result<f64> {
        self.process.kill().context("cannot end the registry")?;
        self.process.wait()?;
        let log = fs::read_to_string(&self.log).context("cannot read the access log")?;
        let lines = log.lines().filter(|line| line.contains(client));
        Ok(f64::from(u32::try_from(lines.count())?))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Measures pushes of a new, unsigned release into empty repositories.
pub(crate) fn measure(
    environment: &Environment,
    quick: bool,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Row>> {
    let folder = TempDir::new().context("cannot create a temporary folder")?;
    let release = folder.path().join("release");
    pack::pack(&environment.root.join(RECIPE), &release, Time::now())?;
    let mut registry = Registry::start(&environment.root, folder.path())?;
    let hotshoe = std::env::current_exe()
        .context("cannot find this program")?
        .with_file_name("hotshoe");
    ensure!(
        hotshoe.is_file(),
        "{} is missing; build it with `cargo build --bin hotshoe`",
        hotshoe.display()
    );
    let (address, runs) = (registry.address.clone(), Cell::new(0_u32));
    let repository = |side: &str| {
        runs.set(runs.get().saturating_add(1));
        format!("{address}/{side}/{}:1", runs.get())
    };
    let ours = || {
        let mut command = Command::new(&hotshoe);
        let to = format!("oci://{}", repository("hotshoe"));
        timed(command.arg("push").arg(&release).arg(to))
    };
    let theirs = || {
        let mut command = Command::new("skopeo");
        command.args(["copy", "--dest-tls-verify=false", "--preserve-digests"]);
        command.arg(format!("oci:{}", release.display()));
        timed(command.arg(format!("docker://{}", repository("skopeo"))))
    };
    let rounds = if quick { 3 } else { 10 };
    let each = f64::from(u32::try_from(rounds)?.saturating_add(1));
    let has_skopeo = Command::new("skopeo")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_skopeo {
        terminal.note("skopeo is not installed: its side is not measured");
        let (ours, _) = alternate(rounds, ours, || Ok(Timings::new()))?;
        let requests = registry.requests("hotshoe/")? / each;
        return Ok(vec![
            Row::alone("push: requests", Unit::Count, requests, None),
            Row::alone("push: time", Unit::Millis, ours.median(PUSH)?, None),
        ]);
    }
    let (ours, theirs) = alternate(rounds, ours, theirs)?;
    let sent = registry.requests("hotshoe/")? / each;
    let sent_by_skopeo = registry.requests("skopeo/")? / each;
    let row = |name, unit, ours, theirs| {
        Row::compared(name, unit, ours, ("skopeo", theirs), Some(TARGET))
    };
    let (time, skopeos) = (ours.median(PUSH)?, theirs.median(PUSH)?);
    Ok(vec![
        row("push: requests", Unit::Count, sent, sent_by_skopeo),
        row("push: time", Unit::Millis, time, skopeos),
    ])
}

fn timed(command: &mut Command) -> anyhow::Result<Timings> {
    let started = Instant::now();
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let time = started.elapsed();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{command:?} ended with {}: {said}", output.status);
    }
    Ok(vec![timing(PUSH, time)])
}
