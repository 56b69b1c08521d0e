//! Supervision of the threads of a daemon or a registry. Every thread is started here, with a name and a rule for its end, so that no
//! thread ends unnoticed.
//!
//! The status calls a supervised thread, or several of one name, a part. A part that can restart does so after a pause. A part that
//! cannot is dead: the status reports it, and the callback of [`Supervisor::on_death`] drains and ends the process, so that the service
//! manager starts it again.

mod panics;

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle, Scope, ScopedJoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use crate::Clock;

pub use panics::log_panics;

/// Prefix of the names of this program's threads.
const PREFIX: &str = "hotshoe-";
/// Pause before the first restart of a part; it doubles with each restart.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// After a run of this length, the next pause is the first one again.
const CALM: Duration = Duration::from_secs(60);

/// The status of one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: PartState,
    /// Running threads of this name.
    pub threads: usize,
    /// Restarts since the program started.
    pub restarts: u64,
    /// Why it last ended, if it did.
    pub cause: Option<String>,
}

/// The state of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// It runs.
    Running,
    /// It ended unexpectedly, and restarts after a pause.
    Restarting,
    /// It ended unexpectedly and cannot restart: the program drains and ends.
    Dead,
    /// A thread of a library panicked: its work may no longer be done.
    Panicked,
}

impl PartState {
    /// The name in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Dead => "dead",
            Self::Panicked => "panicked",
        }
    }
}

impl PartStatus {
    /// A running part without threads.
    pub fn running(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: PartState::Running,
            threads: 0,
            restarts: 0,
            cause: None,
        }
    }
}

/// Starts and supervises the threads of one daemon or registry. Clones share one state.
#[derive(Clone, Default)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

/// A part that ended unexpectedly and does not restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadPart {
    /// Its name.
    pub name: String,
    /// Why it ended.
    pub cause: String,
}

/// An unexpected end of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartEnd {
    /// Its name.
    pub name: String,
    /// Why it ended.
    pub cause: String,
    /// The pause before it restarts; `None` if it is dead.
    pub pause: Option<Duration>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    closed: Condvar,
    clock: Clock,
}

/// Callback for the first dead part.
type OnDeath = Box<dyn FnOnce(&DeadPart) + Send>;
/// Callback for each unexpected end.
type OnEnd = Arc<dyn Fn(&PartEnd) + Send + Sync>;

#[derive(Default)]
struct State {
    next: u64,
    threads: BTreeMap<u64, Thread>,
    /// Restarts and last cause, by part.
    history: BTreeMap<String, History>,
    dead: Vec<DeadPart>,
    on_death: Option<OnDeath>,
    on_end: Option<OnEnd>,
    closing: bool,
}

struct Thread {
    name: String,
    restarting: bool,
}

#[derive(Default)]
struct History {
    restarts: u64,
    cause: String,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Supervisor").field(&self.list()).finish()
    }
}

/// Registration of one thread or task. If it is dropped before [`Registration::finish`], its part is dead.
#[derive(Debug)]
pub struct Registration {
    supervisor: Supervisor,
    id: u64,
    name: String,
    /// False until the thread runs: a thread that could not be started is not dead.
    has_started: bool,
    has_ended: bool,
}

impl Supervisor {
    /// One whose parts use `clock`. The default uses the system's.
    pub fn timed_by(clock: Clock) -> Self {
        let shared = Shared {
            clock,
            ..Shared::default()
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The clock of the parts that it starts.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Starts a thread that restarts when `run` panics or returns an error. `run` keeps the state that it needs for a restart.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn restarted(
        &self,
        name: &str,
        mut run: impl FnMut() -> Result<(), String> + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let clock = self.clock().clone();
        self.start(name, move |thread| {
            let mut pause = FIRST_PAUSE;
            loop {
                let began = clock.now();
                let Err(cause) = caught(&mut run) else {
                    return thread.finish();
                };
                if clock.elapsed(began) >= CALM {
                    pause = FIRST_PAUSE;
                }
                if !thread.pause(&cause, pause) {
                    return thread.finish();
                }
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
        })
    }

    /// Starts a thread that cannot restart: its part is dead when `run` panics or returns an error. `Ok` is an ordinary end.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn vital(
        &self,
        name: &str,
        run: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        self.start(name, move |thread| match caught(run) {
            Ok(()) => thread.finish(),
            Err(cause) => thread.fail(&cause),
        })
    }

    /// Starts a thread for one task. A panic is recorded as the cause of the part, and the part is not dead.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn task(
        &self,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        self.start(name, move |thread| {
            if let Err(cause) = caught(|| {
                run();
                Ok(())
            }) {
                thread
                    .supervisor
                    .lock()
                    .history
                    .entry(thread.name.clone())
                    .or_default()
                    .cause = cause;
            }
            thread.finish();
        })
    }

    /// Reports a part as dead whose thread is stuck: it still runs, and nothing can end it but the end of the process.
    pub fn give_up(&self, name: &str, cause: &str) {
        self.register(name).fail(cause);
    }

    /// Registers a part without a thread of its own, such as a task of an async runtime.
    pub fn register(&self, name: &str) -> Registration {
        let name = name
            .trim_end_matches(|it: char| it.is_ascii_digit())
            .trim_end_matches('-')
            .to_owned();
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        let thread = Thread {
            name: name.clone(),
            restarting: false,
        };
        state.threads.insert(id, thread);
        drop(state);
        Registration {
            supervisor: self.clone(),
            id,
            name,
            has_started: true,
            has_ended: false,
        }
    }

    /// From now on the end of a part is expected, and no part restarts.
    pub fn close(&self) {
        self.lock().closing = true;
        self.shared.closed.notify_all();
    }

    /// Calls `callback` when the first part is dead, or at once if one is already.
    pub fn on_death(&self, callback: impl FnOnce(&DeadPart) + Send + 'static) {
        let mut state = self.lock();
        match state.dead.first().cloned() {
            Some(dead) => {
                drop(state);
                callback(&dead);
            }
            None => state.on_death = Some(Box::new(callback)),
        }
    }

    /// Calls `callback` for each unexpected end of a part, in place of the line in the log.
    pub fn on_end(&self, callback: impl Fn(&PartEnd) + Send + Sync + 'static) {
        self.lock().on_end = Some(Arc::new(callback));
    }

    /// Tells the callback of an unexpected end, or the log.
    fn report(&self, name: &str, cause: &str, pause: Option<Duration>) {
        let on_end = self.lock().on_end.clone();
        match (on_end, pause) {
            (Some(on_end), _) => on_end(&PartEnd {
                name: name.to_owned(),
                cause: cause.to_owned(),
                pause,
            }),
            (None, None) => tracing::error!(
                part = name,
                cause,
                "a part of this program ended and cannot restart"
            ),
            (None, Some(pause)) => tracing::error!(
                part = name,
                cause,
                ?pause,
                "a part of this program ended and restarts"
            ),
        }
    }

    /// The dead parts.
    pub fn dead(&self) -> Vec<DeadPart> {
        self.lock().dead.clone()
    }

    /// The status of all parts, sorted by name, then of threads of libraries that panicked in this process.
    pub fn list(&self) -> Vec<PartStatus> {
        let state = self.lock();
        let mut all: BTreeMap<&str, PartStatus> = BTreeMap::new();
        for thread in state.threads.values() {
            let part = all
                .entry(&thread.name)
                .or_insert_with(|| PartStatus::running(&thread.name));
            part.threads += 1;
            if thread.restarting {
                part.state = PartState::Restarting;
            }
        }
        for dead in &state.dead {
            let part = all
                .entry(&dead.name)
                .or_insert_with(|| PartStatus::running(&dead.name));
            part.state = PartState::Dead;
            part.cause = Some(dead.cause.clone());
        }
        for (name, history) in &state.history {
            if let Some(part) = all.get_mut(name.as_str()) {
                part.restarts = history.restarts;
                part.cause.get_or_insert_with(|| history.cause.clone());
            }
        }
        all.into_values().chain(panics::of_libraries()).collect()
    }

    /// The only code that starts a thread which outlives its caller.
    fn start(
        &self,
        name: &str,
        run: impl FnOnce(Registration) + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let mut registration = self.register(name);
        registration.has_started = false;
        thread::Builder::new()
            .name(format!("{PREFIX}{name}"))
            .spawn(move || {
                registration.has_started = true;
                run(registration);
            })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }
}

impl Registration {
    /// Records an expected end.
    pub fn finish(mut self) {
        self.has_ended = true;
        self.supervisor.lock().threads.remove(&self.id);
    }

    fn fail(mut self, cause: &str) {
        self.end(cause);
    }

    /// Records an unexpected end. While the program ends, every end is expected.
    fn end(&mut self, cause: &str) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let mut state = self.supervisor.lock();
        state.threads.remove(&self.id);
        if !self.has_started || state.closing {
            return;
        }
        let dead = DeadPart {
            name: self.name.clone(),
            cause: cause.to_owned(),
        };
        state.dead.push(dead.clone());
        let callback = state.on_death.take();
        drop(state);
        metrics::gauge!("hotshoe_dead_parts").increment(1.0);
        self.supervisor.report(&dead.name, cause, None);
        if let Some(callback) = callback {
            callback(&dead);
        }
    }

    /// Waits until the part may restart. False if the program ends meanwhile.
    fn pause(&self, cause: &str, pause: Duration) -> bool {
        let mut state = self.supervisor.lock();
        if state.closing {
            return false;
        }
        let history = state.history.entry(self.name.clone()).or_default();
        history.restarts += 1;
        cause.clone_into(&mut history.cause);
        if let Some(thread) = state.threads.get_mut(&self.id) {
            thread.restarting = true;
        }
        drop(state);
        metrics::counter!("hotshoe_part_restarts_total", "part" => self.name.clone()).increment(1);
        self.supervisor.report(&self.name, cause, Some(pause));
        let clock = self.supervisor.clock();
        let until = clock.now() + pause;
        let mut state = self.supervisor.lock();
        while !state.closing && clock.now() < until {
            clock.wait_until(&self.supervisor.shared.closed, &mut state, until);
        }
        if let Some(thread) = state.threads.get_mut(&self.id) {
            thread.restarting = false;
        }
        !state.closing
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end("it ended unexpectedly");
    }
}

/// Starts a thread within `scope`: it ends before its caller goes on.
///
/// # Errors
/// The system cannot start a thread.
pub fn scoped<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    name: &str,
    run: impl FnOnce() + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, ()>> {
    thread::Builder::new()
        .name(format!("{PREFIX}{name}"))
        .spawn_scoped(scope, run)
}

/// Turns a panic of `run` into an error.
fn caught(run: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|payload| Err(format!("it panicked: {}", panics::message(&*payload))))
}

#[cfg(test)]
mod tests;
