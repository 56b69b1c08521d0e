//! Signals, and what each means. None kills a process that serves half-way.

use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::Context;
use hotshoe_base::supervisor::{DeadPart, Supervisor};
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::logging;

/// What a signal means to a process that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// It drains; the second such signal ends it at once.
    End,
    /// It drains, however often the signal comes.
    EndOnce,
    /// It reads its configuration again.
    Reload,
    /// Nothing, but for a line in the log.
    Nothing,
}

/// The signals that would end a process that does not handle them, but for those of its own faults, and SIGPIPE, which the library ignores.
const SIGNALS: [(Signal, &str, Meaning); 14] = [
    (Signal::TERM, "SIGTERM", Meaning::End),
    (Signal::INT, "SIGINT", Meaning::End),
    (Signal::QUIT, "SIGQUIT", Meaning::End),
    (Signal::HUP, "SIGHUP", Meaning::Reload),
    (Signal::POWER, "SIGPWR", Meaning::EndOnce),
    (Signal::XCPU, "SIGXCPU", Meaning::EndOnce),
    // A file that may not grow is an error of whoever writes it.
    (Signal::XFSZ, "SIGXFSZ", Meaning::Nothing),
    (Signal::USR1, "SIGUSR1", Meaning::Nothing),
    (Signal::USR2, "SIGUSR2", Meaning::Nothing),
    (Signal::ALARM, "SIGALRM", Meaning::Nothing),
    (Signal::VTALARM, "SIGVTALRM", Meaning::Nothing),
    (Signal::PROF, "SIGPROF", Meaning::Nothing),
    (Signal::IO, "SIGIO", Meaning::Nothing),
    (Signal::STKFLT, "SIGSTKFLT", Meaning::Nothing),
];

/// The real-time signals that no library keeps for itself: some supervisors end a process by one of them.
const REAL_TIME: RangeInclusive<i32> = 35..=63;

/// What a process that serves has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// To read its configuration again.
    Reload,
    /// To drain.
    End(End),
}

/// Why a process that serves ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A signal of this name.
    Signal(&'static str),
    /// A part of it is dead.
    Dead(DeadPart),
}

/// What there is to do. Many reloads are as good as one, and the end comes before them.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reload: bool,
    end: Option<End>,
}

impl Inbox {
    /// Waits for something to do.
    pub fn next(&self) -> Task {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self
            .came
            .wait_while(state, |state| !state.reload && state.end.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        match state.end.take() {
            Some(end) => Task::End(end),
            None => {
                state.reload = false;
                Task::Reload
            }
        }
    }

    /// Adds the end. The first reason counts.
    pub fn end(&self, end: End) {
        self.change(|state| {
            state.end.get_or_insert(end);
        });
    }

    fn reload(&self) {
        self.change(|state| state.reload = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.came.notify_one();
    }
}

/// From now on signals are tasks of the inbox, and so is the death of a part. From the return on, no signal kills the process half-way.
pub fn serve(parts: &Supervisor) -> anyhow::Result<Arc<Inbox>> {
    let inbox = Arc::new(Inbox::default());
    let dying = Arc::clone(&inbox);
    parts.on_death(move |dead| dying.end(End::Dead(dead.clone())));
    let (runtime, mut signals) = listen(&SIGNALS, Some(REAL_TIME))?;
    let told = Arc::clone(&inbox);
    let run = move || {
        let mut ending = false;
        while let Some((name, meaning)) = runtime.block_on(signals.recv()) {
            match meaning {
                Meaning::Nothing => tracing::warn!(signal = name, "ignored"),
                Meaning::Reload => told.reload(),
                Meaning::EndOnce => told.end(End::Signal(name)),
                Meaning::End if !ending => {
                    ending = true;
                    told.end(End::Signal(name));
                }
                Meaning::End => at_once(),
            }
        }
        Ok(())
    };
    parts
        .vital("signals", run)
        .context("cannot start the thread that waits for signals")?;
    Ok(inbox)
}

/// Calls `first` when the process gets SIGTERM, SIGINT, SIGQUIT or SIGHUP, with the signal's name; a second one ends the process at once.
/// From the return on, none of them kills the process half-way. For commands that a person waits for.
pub fn on_first(first: impl FnOnce(&'static str) + Send + 'static) -> anyhow::Result<()> {
    let ending = SIGNALS
        .into_iter()
        .filter(|(.., meaning)| matches!(meaning, Meaning::End | Meaning::Reload));
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
    tracing::warn!("a second signal: ending at once");
    logging::flush();
    std::process::exit(1);
}

type Heard = UnboundedReceiver<(&'static str, Meaning)>;

/// Handles signals from now on.
fn listen(
    signals: &[(Signal, &'static str, Meaning)],
    real_time: Option<RangeInclusive<i32>>,
) -> anyhow::Result<(Runtime, Heard)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime that waits for signals")?;
    let (heard, all) = unbounded_channel();
    let handle = |number: i32, name, meaning| {
        let _guard = runtime.enter();
        let mut signal = unix::signal(SignalKind::from_raw(number))?;
        let heard = heard.clone();
        runtime.spawn(async move {
            while signal.recv().await.is_some() && heard.send((name, meaning)).is_ok() {}
        });
        Ok::<(), io::Error>(())
    };
    for &(signal, name, meaning) in signals {
        handle(signal.as_raw(), name, meaning).with_context(|| format!("cannot handle {name}"))?;
    }
    for number in real_time.into_iter().flatten() {
        handle(number, "SIGRT", Meaning::EndOnce).context("cannot handle real-time signals")?;
    }
    Ok((runtime, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_part_is_an_end_and_a_signal_is_one() -> anyhow::Result<()> {
        let parts = Supervisor::default();
        let inbox = serve(&parts)?;
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, Signal::HUP)?;
        assert_eq!(inbox.next(), Task::Reload);
        parts.vital("deploy", || Err("no reason".to_owned()))?;
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
