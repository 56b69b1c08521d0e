use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_daemon::{Client, Status, ZenohConfig};
use rustix::process::{Pid, Signal, kill_process};

/// Longest start of the daemon: the first one compiles the components.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// Longest drain of the daemon, a little above its own deadline.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at a child process, which gives no event to wait for.
const POLL: Duration = Duration::from_millis(20);

/// A `hotshoe run` of our own, ended when it is dropped.
pub struct DaemonProcess {
    child: Child,
    log: PathBuf,
}

/// A port on loopback that was free a moment ago.
pub fn free_endpoint() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(format!("tcp/{}", listener.local_addr()?))
}

impl DaemonProcess {
    /// Starts `hotshoe run --config FILE` with its log in a file.
    pub fn start(config: &Path, log: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let output =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program)
            .arg("run")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .context("cannot start the daemon")?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Waits until the daemon answers.
    pub fn ready(&mut self, zenoh: &ZenohConfig) -> anyhow::Result<(Client, Status)> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended with {status}; see {}", self.log.display());
            }
            if let Ok(client) = Client::open(zenoh) {
                while started.elapsed() < START_DEADLINE {
                    let mut answers = client.statuses(None, None, Duration::from_secs(2))?;
                    if let Some(status) = answers.pop() {
                        return Ok((client, status));
                    }
                }
            }
            if started.elapsed() >= START_DEADLINE {
                bail!(
                    "the daemon did not answer within {} s; see {}",
                    START_DEADLINE.as_secs(),
                    self.log.display()
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether it ended by itself.
    pub fn ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Sends SIGTERM and waits until the daemon has drained.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("the daemon's process id is out of range")?;
        kill_process(pid, Signal::TERM).context("cannot stop the daemon")?;
        let started = Instant::now();
        while started.elapsed() < STOP_DEADLINE {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    bail!("the daemon ended with {status}; see {}", self.log.display())
                }
                None => std::thread::sleep(POLL),
            }
        }
        bail!("the daemon did not drain; see {}", self.log.display())
    }
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
