//! `hotshoe-supervisor`: starts the daemon from one of two slots, and goes back if a new one is not confirmed.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use hotshoe_base::Clock;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
Start the daemon from one of two slots in its data folder, and go back if a new one is not confirmed

Usage: hotshoe-supervisor --data FOLDER PROGRAM [ARGUMENT]...

Without a program in a slot, PROGRAM is started. Signals are passed on to the daemon, and its exit code is that of the supervisor.
Below systemd, the supervisor ends with 86 where a program is to be started again, and the unit's `Restart=always` does it.

Options:
      --data FOLDER  Data folder of the device, `data` in hotshoe.toml
  -h, --help         Print help
  -V, --version      Print version

Example:
  hotshoe-supervisor --data /var/lib/hotshoe /usr/bin/hotshoe run --config /etc/hotshoe/hotshoe.toml

Exit codes: those of the daemon; 1 no program could be started; 2 wrong usage; 86 another program is to be started; 128 and a signal, if one
ended the daemon.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (data, given) = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--data"), Some(data)) => (PathBuf::from(data), arguments.collect::<Vec<_>>()),
        (Some("--help" | "-h"), _) => return say(USAGE),
        (Some("--version" | "-V"), _) => {
            return say(concat!(
                "hotshoe-supervisor ",
                env!("CARGO_PKG_VERSION"),
                "\n"
            ));
        }
        _ => return wrong_usage(),
    };
    if given.is_empty() {
        return wrong_usage();
    }
    let is_managed = std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty());
    let ended = signals().and_then(|signals| {
        hotshoe_supervisor::run(&data, &given, &signals, &Clock::system(), is_managed)
    });
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "hotshoe-supervisor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> ExitCode {
    // A closed pipe is not an error of the help.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn wrong_usage() -> ExitCode {
    let _ = io::stderr().write_all(USAGE.as_bytes());
    ExitCode::from(2)
}

/// The signals that are passed on to the daemon.
fn signals() -> io::Result<Receiver<Signal>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (sender, received) = channel();
    let passed_on = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP];
    for number in passed_on {
        let _guard = runtime.enter();
        let mut signal = signal(SignalKind::from_raw(number.as_raw()))?;
        let sender = sender.clone();
        runtime.spawn(async move {
            while signal.recv().await.is_some() && sender.send(number).is_ok() {}
        });
    }
    let wait = move || runtime.block_on(std::future::pending::<()>());
    thread::Builder::new()
        .name("hotshoe-signals".to_owned())
        .spawn(wait)?;
    Ok(received)
}
