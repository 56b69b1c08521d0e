//! The supervisor: starts the daemon's program, waits for its end, for a confirmation or for a signal, and decides what runs next.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use hotshoe_base::{Clock, chain};
use rustix::process::{Pid, Signal, kill_process};

use crate::folder::{HostFolder, Program};
use crate::slots::{Happened, Trial};

/// The exit code of a daemon that asks to be started again, from the slots as they are then.
pub const RESTART: u8 = 86;
/// The environment variable with the data folder, which says that a supervisor started the daemon.
pub const FOLDER_VARIABLE: &str = "HOTSHOE_SUPERVISED";
/// The environment variable with the digest of the program that was started. Not set for the program that the supervisor was given.
pub const PROGRAM_VARIABLE: &str = "HOTSHOE_PROGRAM";

/// Interval at which the child and its confirmation are looked at.
const POLL: Duration = Duration::from_millis(200);
/// Time from SIGTERM to SIGKILL for a trial that is given up: its drain may take as long.
const KILL_AFTER: Duration = Duration::from_secs(30);
/// Pause before a trial that ended is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// What ends a wait for the child.
enum Ended {
    /// It ended by itself.
    Exit(ExitStatus),
    /// The trial was not confirmed in time.
    NotConfirmed,
    /// A signal to the supervisor, which the child got too.
    Stopped(ExitStatus),
}

/// Starts `given` or a program from the slots of `data` with the arguments `given[1..]`, until it ends for good. Returns its exit code.
/// `signals` has the signals that the supervisor gets. `is_managed`: a service manager (`NOTIFY_SOCKET`) starts the supervisor again, so
/// that it returns [`RESTART`] in place of a further start. To systemd, a service that has said `STOPPING=1` is about to end.
///
/// # Errors
/// No program could be started.
pub fn run(
    data: &Path,
    given: &[String],
    signals: &Receiver<Signal>,
    clock: &Clock,
    is_managed: bool,
) -> io::Result<u8> {
    let (program, arguments) = given
        .split_first()
        .ok_or_else(|| io::Error::other("the program of the daemon is missing"))?;
    let supervisor = Supervisor {
        data,
        program: Path::new(program),
        arguments,
        signals,
        clock,
        is_managed,
    };
    supervisor.run()
}

struct Supervisor<'a> {
    data: &'a Path,
    program: &'a Path,
    arguments: &'a [String],
    signals: &'a Receiver<Signal>,
    clock: &'a Clock,
    is_managed: bool,
}

impl Supervisor<'_> {
    fn run(&self) -> io::Result<u8> {
        loop {
            let next = self.next();
            let is_trial = next.trial.is_some();
            let mut child = match self.start(&next) {
                Ok(child) => child,
                Err(error) => {
                    say(&format!("cannot start {}: {error}", next.path.display()));
                    if next.installed.is_none() {
                        return Err(error);
                    }
                    self.cannot_start(&next);
                    continue;
                }
            };
            match self.wait(&mut child, next.trial)? {
                Ended::Stopped(status) => return Ok(code(status)),
                Ended::NotConfirmed => self.record(Happened::GaveUp("not_confirmed")),
                Ended::Exit(status) if status.code() == Some(RESTART.into()) => {}
                Ended::Exit(status) if is_trial && self.is_on_trial() => {
                    say(&format!(
                        "the new program ended before it was confirmed: {status}"
                    ));
                    if !self.is_managed && self.pause()? {
                        return Ok(code(status));
                    }
                }
                Ended::Exit(status) => return Ok(code(status)),
            }
            if self.is_managed {
                return Ok(RESTART);
            }
        }
    }

    /// What is started next. Where the slots cannot be used, it is the program that the supervisor was given.
    fn next(&self) -> Program {
        let next = HostFolder::open(self.data).and_then(|folder| folder.next(&say));
        let next = next.unwrap_or_else(|error| {
            say(&chain(&error));
            None
        });
        next.unwrap_or_else(|| Program {
            path: self.program.to_owned(),
            installed: None,
            trial: None,
        })
    }

    fn start(&self, next: &Program) -> io::Result<Child> {
        let mut command = Command::new(&next.path);
        command
            .args(self.arguments)
            .env(FOLDER_VARIABLE, self.data)
            // It has the process id of the supervisor.
            .env_remove("WATCHDOG_PID");
        match next.installed {
            Some(it) => command.env(PROGRAM_VARIABLE, it.program.digest.to_string()),
            None => command.env_remove(PROGRAM_VARIABLE),
        };
        command.spawn()
    }

    /// A program from a slot that cannot be started: it is not for this machine, or the folder does not allow programs.
    fn cannot_start(&self, next: &Program) {
        let Some(installed) = next.installed else {
            return;
        };
        self.record(match next.trial {
            Some(_) => Happened::GaveUp("cannot_start"),
            None => Happened::Damaged(installed.slot),
        });
    }

    fn record(&self, happened: Happened) {
        let changed = HostFolder::open(self.data).and_then(|folder| folder.change(happened));
        if let Err(error) = changed {
            say(&chain(&error));
        }
    }

    fn is_on_trial(&self) -> bool {
        let slots = HostFolder::open(self.data).and_then(|folder| folder.take());
        slots.is_ok_and(|slots| slots.trial.is_some())
    }

    /// Waits for the end of the child. A trial has until its deadline to be confirmed.
    fn wait(&self, child: &mut Child, trial: Option<Trial>) -> io::Result<Ended> {
        let mut deadline =
            trial.map(|trial| self.clock.deadline(Duration::from_secs(trial.deadline_s)));
        let mut is_stopped = false;
        loop {
            match self.signals.recv_timeout(POLL) {
                Ok(signal) => {
                    is_stopped |= asks_to_end(signal);
                    send(child, signal);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.clock.sleep(POLL),
            }
            if let Some(status) = child.try_wait()? {
                return Ok(if is_stopped {
                    Ended::Stopped(status)
                } else {
                    Ended::Exit(status)
                });
            }
            let Some(until) = deadline.filter(|_| !is_stopped) else {
                continue;
            };
            if !self.is_on_trial() {
                say("the new program is confirmed");
                deadline = None;
            } else if until <= self.clock.now() {
                say("the new program was not confirmed in time; going back");
                self.end(child)?;
                return Ok(Ended::NotConfirmed);
            }
        }
    }

    fn end(&self, child: &mut Child) -> io::Result<()> {
        send(child, Signal::TERM);
        let until = self.clock.deadline(KILL_AFTER);
        while child.try_wait()?.is_none() {
            if until <= self.clock.now() {
                child.kill()?;
                child.wait()?;
                break;
            }
            self.clock.sleep(POLL);
        }
        Ok(())
    }

    /// Waits before a further start. Whether a signal asks the supervisor to end.
    fn pause(&self) -> io::Result<bool> {
        match self.signals.recv_timeout(PAUSE) {
            Ok(signal) => Ok(asks_to_end(signal)),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => {
                Err(io::Error::other("the signals can no longer be received"))
            }
        }
    }
}

fn asks_to_end(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::QUIT].contains(&signal)
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // It may have ended just now.
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// The exit code of the supervisor for that of the child: 128 and the signal, if one ended it.
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = status.signal().map(|signal| signal + 128);
    let code = status.code().or(signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// A line for the log. An error of standard error must not end the supervisor.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "hotshoe-supervisor: {text}");
}
