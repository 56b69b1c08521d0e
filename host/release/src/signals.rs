//! Signal handling: a signal never kills a serving process without a drain.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use anyhow::Context;
use hotshoe_base::supervisor::{DeadPart, Supervisor};
use parking_lot::{Condvar, Mutex};
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::logging;

/// The action of a serving process on a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Drain; a second such signal ends the process at once.
    End,
    /// Drain, however often the signal comes.
    EndOnce,
    /// Reload the configuration.
    Reload,
    /// Only log it.
    Nothing,
}

/// The signals that end a process by default, except those of its own faults, and SIGPIPE, which std ignores.
const SIGNALS: [(Signal, &str, Action); 14] = [
    (Signal::TERM, "SIGTERM", Action::End),
    (Signal::INT, "SIGINT", Action::End),
    (Signal::QUIT, "SIGQUIT", Action::End),
    (Signal::HUP, "SIGHUP", Action::Reload),
    (Signal::POWER, "SIGPWR", Action::EndOnce),
    (Signal::XCPU, "SIGXCPU", Action::EndOnce),
    // The write that exceeds the file size limit fails with its own error.
    (Signal::XFSZ, "SIGXFSZ", Action::Nothing),
    (Signal::USR1, "SIGUSR1", Action::Nothing),
    (Signal::USR2, "SIGUSR2", Action::Nothing),
    (Signal::ALARM, "SIGALRM", Action::Nothing),
    (Signal::VTALARM, "SIGVTALRM", Action::Nothing),
    (Signal::PROF, "SIGPROF", Action::Nothing),
    (Signal::IO, "SIGIO", Action::Nothing),
    (Signal::STKFLT, "SIGSTKFLT", Action::Nothing),
];

/// The real-time signals that no library reserves: some supervisors end a process with one of them.
const REAL_TIME: RangeInclusive<i32> = 34..=64;

/// A task of a serving process.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Reload the configuration.
    Reload,
    /// Drain and end.
    End(End),
}

/// Why a serving process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A signal with this name.
    Signal(&'static str),
    /// A part of the process is dead.
    Dead(DeadPart),
    /// The daemon asks its supervisor for a new start.
    Restart,
}

/// The pending tasks. Several reloads are merged into one, and the end comes first.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reload: bool,
    end: Option<End>,
}

impl Inbox {
    /// Waits for a task.
    pub fn next(&self) -> Task {
        let mut state = self.state.lock();
        let is_idle = |state: &mut State| !state.reload && state.end.is_none();
        self.changed.wait_while(&mut state, is_idle);
        match state.end.take() {
            Some(end) => Task::End(end),
            None => {
                state.reload = false;
                Task::Reload
            }
        }
    }

    /// Adds the end. The first reason is kept.
    pub fn end(&self, end: End) {
        self.change(|state| {
            state.end.get_or_insert(end);
        });
    }

    /// Adds a reload.
    pub fn reload(&self) {
        self.change(|state| state.reload = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_one();
    }
}

/// Turns signals, and the death of a part, into tasks of the returned inbox. After the return, no signal kills the process.
pub fn serve(supervisor: &Supervisor) -> anyhow::Result<Arc<Inbox>> {
    let inbox = Arc::new(Inbox::default());
    let for_death = Arc::clone(&inbox);
    supervisor.on_death(move |dead| for_death.end(End::Dead(dead.clone())));
    let (runtime, mut signals) = listen(&SIGNALS, Some(REAL_TIME))?;
    let tasks = Arc::clone(&inbox);
    let run = move || {
        let mut ending = false;
        while let Some((name, action)) = runtime.block_on(signals.recv()) {
            match action {
                Action::Nothing => tracing::warn!(signal = name, "ignored"),
                Action::Reload => tasks.reload(),
                Action::EndOnce => tasks.end(End::Signal(name)),
                Action::End if !ending => {
                    ending = true;
                    tasks.end(End::Signal(name));
                }
                Action::End => at_once(),
            }
        }
        Ok(())
    };
    supervisor
        .vital("signals", run)
        .context("cannot start the thread that waits for signals")?;
    Ok(inbox)
}

/// Calls `first` with the signal's name on the first SIGTERM, SIGINT, SIGQUIT or SIGHUP; a second one ends the process at once. For
/// interactive commands.
pub fn on_first(first: impl FnOnce(&'static str) + Send + 'static) -> anyhow::Result<()> {
    let ending = SIGNALS
        .into_iter()
        .filter(|(.., action)| matches!(action, Action::End | Action::Reload));
    let (runtime, mut signals) = listen(&ending.collect::<Vec<_>>(), None)?;
    let run = move || {
        if let Some((name, _)) = runtime.block_on(signals.recv()) {
            first(name);
        }
        if runtime.block_on(signals.recv()).is_some() {
            at_once();
        }
    };
    Supervisor::default()
        .task("signals", run)
        .map(drop)
        .context("cannot start the thread that waits for signals")
}

fn at_once() {
    tracing::warn!("second signal: ending at once");
    logging::flush();
    std::process::exit(1);
}

type SignalReceiver = UnboundedReceiver<(&'static str, Action)>;

/// Installs handlers for the signals.
fn listen(
    signals: &[(Signal, &'static str, Action)],
    real_time: Option<RangeInclusive<i32>>,
) -> anyhow::Result<(Runtime, SignalReceiver)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime that waits for signals")?;
    let (sender, all) = unbounded_channel();
    let handle = |number: i32, name, action| {
        let _guard = runtime.enter();
        let mut signal = unix::signal(SignalKind::from_raw(number))?;
        let sender = sender.clone();
        runtime.spawn(async move {
            while signal.recv().await.is_some() && sender.send((name, action)).is_ok() {}
        });
        Ok::<(), io::Error>(())
    };
    for &(signal, name, action) in signals {
        handle(signal.as_raw(), name, action).with_context(|| format!("cannot handle {name}"))?;
    }
    for number in real_time.into_iter().flatten() {
        handle(number, "SIGRT", Action::EndOnce).context("cannot handle real-time signals")?;
    }
    Ok((runtime, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_part_is_an_end_and_a_signal_is_one() -> anyhow::Result<()> {
        let supervisor = Supervisor::default();
        let inbox = serve(&supervisor)?;
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, Signal::HUP)?;
        assert_eq!(inbox.next(), Task::Reload);
        supervisor.vital("deploy", || Err("no reason".to_owned()))?;
        let dead = DeadPart {
            name: "deploy".to_owned(),
            cause: "no reason".to_owned(),
        };
        assert_eq!(inbox.next(), Task::End(End::Dead(dead)));
        rustix::process::kill_process(this, Signal::QUIT)?;
        assert_eq!(inbox.next(), Task::End(End::Signal("SIGQUIT")));
        Ok(())
    }

    #[test]
    fn many_reloads_are_one_and_the_end_comes_before_them() {
        let inbox = Inbox::default();
        for _ in 0..3 {
            inbox.reload();
        }
        assert_eq!(inbox.next(), Task::Reload);
        inbox.reload();
        inbox.end(End::Signal("SIGTERM"));
        inbox.end(End::Signal("SIGPWR"));
        assert_eq!(inbox.next(), Task::End(End::Signal("SIGTERM")));
        assert_eq!(inbox.next(), Task::Reload);
    }
}
