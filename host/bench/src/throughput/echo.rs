//! The baseline: a process with a plain Zenoh session, whose only subscriber puts each sample back.

use std::io::{self, Read};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;
use hotshoe_config::ZenohConfig;
use hotshoe_link::RawSession;
use hotshoe_release::daemon_process::free_endpoint;

/// Where samples are put. The keys of the sources follow.
pub(super) const INPUT: &str = "bench/echo/input";
/// Where they come back.
pub(super) const OUTPUT: &str = "bench/echo/output/insight";

/// Puts samples back until standard input ends, which it does with the process that has its other end.
pub(crate) fn serve(endpoint: String) -> anyhow::Result<()> {
    let session = RawSession::open(&ZenohConfig {
        listen: vec![endpoint],
        ..ZenohConfig::default()
    })?;
    let echo = session.echo(&format!("{INPUT}/**"), OUTPUT)?;
    let mut rest = Vec::new();
    io::stdin().read_to_end(&mut rest)?;
    drop(echo);
    session.close();
    Ok(())
}

/// A child process that runs [`serve`], and ends when this is dropped.
pub(super) struct EchoProcess {
    child: Child,
    input: Option<ChildStdin>,
    pub endpoint: String,
}

impl EchoProcess {
    pub(super) fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let endpoint = free_endpoint()?;
        let mut child = Command::new(program)
            .args(["echo", "--listen", &endpoint])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the echo")?;
        let input = child.stdin.take();
        Ok(Self {
            child,
            input,
            endpoint,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for EchoProcess {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
