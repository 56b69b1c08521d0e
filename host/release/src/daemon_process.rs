//! A daemon in a child process of this program.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_config::ZenohConfig;
use hotshoe_link::Client;
use hotshoe_protocol::status::Status;
use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Pid, Signal, kill_process};

use crate::signals;

/// Longest start of the daemon: the first one compiles the components.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// Longest drain of the daemon, slightly above its own deadline.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Interval of polling a child process.
const POLL: Duration = Duration::from_millis(20);

/// The daemons that this process started and has not yet waited for.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    RUNNING.lock()
}

/// From now on a signal that ends this process also drains and stops its daemons.
pub fn end_with_this_process() -> anyhow::Result<()> {
    signals::on_first(|_| {
        for &id in running().iter() {
            // A daemon that has just ended needs no signal.
            let _ = terminate(id);
        }
        std::process::exit(1);
    })
}

fn terminate(id: u32) -> anyhow::Result<()> {
    let pid = i32::try_from(id)
        .ok()
        .and_then(Pid::from_raw)
        .context("the daemon's process id is out of range")?;
    kill_process(pid, Signal::TERM).context("cannot stop the daemon")
}

/// A child process `hotshoe run`, stopped when dropped.
pub struct DaemonProcess {
    child: Child,
    log: PathBuf,
}

/// An endpoint on the loopback interface whose port was free a moment ago.
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
            // A terminal's Ctrl-C is for this process, which then ends its daemons.
            .process_group(0)
            .spawn()
            .context("cannot start the daemon")?;
        running().insert(child.id());
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the daemon responds.
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

    /// Whether the process has ended by itself.
    pub fn ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Sends SIGTERM and waits until the daemon has drained.
    pub fn stop(mut self) -> anyhow::Result<()> {
        terminate(self.child.id())?;
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
        running().remove(&self.child.id());
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
