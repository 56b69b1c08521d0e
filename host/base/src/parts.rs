//! The threads of a daemon or a registry. Each one is started here, under a name and with a rule for its end, so that none ends unseen.
//!
//! A part that can begin again does so after a pause. One that cannot is dead: the status says so, and whoever asked for it with
//! [`Parts::on_death`] ends the process with a drain, so that its supervisor starts it again.

mod panics;

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use panics::log_panics;

/// How the names of this program's threads begin.
const PREFIX: &str = "hotshoe-";
/// The pause before a part begins again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A part that ran for so long begins again after the first pause.
const CALM: Duration = Duration::from_secs(60);

/// A part of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: PartState,
    /// Threads that it has.
    pub threads: usize,
    /// Times that it began again, since the start.
    pub restarts: u64,
    /// Why it ended the last time, if it did.
    pub cause: Option<String>,
}

/// How a part of the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// It works.
    Running,
    /// It ended by itself, and begins again after a pause.
    Restarting,
    /// It ended by itself, and the daemon ends for its supervisor to start it again.
    Dead,
    /// A thread of a library that panicked: what it did for the daemon may not be done any more.
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
    /// One that works, without threads yet.
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

/// The parts of one daemon or registry. Clones are the same.
#[derive(Clone, Default)]
pub struct Parts {
    shared: Arc<Shared>,
}

/// A part that ended by itself, and does not begin again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Its name.
    pub name: String,
    /// Why it ended.
    pub cause: String,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    closed: Condvar,
}

/// Whoever is told of the first death.
type OnDeath = Box<dyn FnOnce(&Dead) + Send>;

#[derive(Default)]
struct State {
    next: u64,
    parts: BTreeMap<u64, Live>,
    /// What happened to parts of a name so far.
    past: BTreeMap<String, Past>,
    dead: Vec<Dead>,
    on_death: Option<OnDeath>,
    closing: bool,
}

struct Live {
    name: String,
    pausing: bool,
}

#[derive(Default)]
struct Past {
    restarts: u64,
    cause: String,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Parts").field(&self.list()).finish()
    }
}

/// A part that stands in the list as long as this lives. Dropped before [`Place::leave`], the part is dead.
#[derive(Debug)]
pub struct Place {
    parts: Parts,
    id: u64,
    name: String,
    /// Whether there is something that can die.
    begun: bool,
    left: bool,
}

impl Parts {
    /// Starts a thread that begins again when it panics, or ends with an error. `run` keeps what it needs for that.
    ///
    /// # Errors
    /// Where the machine has no thread left.
    pub fn restarted(
        &self,
        name: &str,
        mut run: impl FnMut() -> Result<(), String> + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        self.start(name, move |place| {
            let mut pause = FIRST_PAUSE;
            loop {
                let began = Instant::now();
                let Err(cause) = caught(&mut run) else {
                    return place.leave();
                };
                if began.elapsed() >= CALM {
                    pause = FIRST_PAUSE;
                }
                if !place.pause(&cause, pause) {
                    return place.leave();
                }
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
        })
    }

    /// Starts a thread that cannot begin again: it is dead when it panics, or ends with an error. Without one it was told to end.
    ///
    /// # Errors
    /// Where the machine has no thread left.
    pub fn vital(
        &self,
        name: &str,
        run: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        self.start(name, move |place| match caught(run) {
            Ok(()) => place.leave(),
            Err(cause) => place.die(&cause),
        })
    }

    /// Starts a thread for one piece of work, whose end somebody else waits for.
    ///
    /// # Errors
    /// Where the machine has no thread left.
    pub fn task(
        &self,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        self.start(name, move |place| {
            if let Err(cause) = caught(|| {
                run();
                Ok(())
            }) {
                place
                    .parts
                    .lock()
                    .past
                    .entry(place.name.clone())
                    .or_default()
                    .cause = cause;
            }
            place.leave();
        })
    }

    /// A place in the list for a part without a thread of its own, such as a task of a runtime.
    pub fn enter(&self, name: &str) -> Place {
        let name = name
            .trim_end_matches(|it: char| it.is_ascii_digit())
            .trim_end_matches('-')
            .to_owned();
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        let live = Live {
            name: name.clone(),
            pausing: false,
        };
        state.parts.insert(id, live);
        drop(state);
        Place {
            parts: self.clone(),
            id,
            name,
            begun: true,
            left: false,
        }
    }

    /// From now on parts may end.
    pub fn close(&self) {
        self.lock().closing = true;
        self.shared.closed.notify_all();
    }

    /// Calls `tell` when the first part is dead; at once where one is already.
    pub fn on_death(&self, tell: impl FnOnce(&Dead) + Send + 'static) {
        let mut state = self.lock();
        match state.dead.first().cloned() {
            Some(dead) => {
                drop(state);
                tell(&dead);
            }
            None => state.on_death = Some(Box::new(tell)),
        }
    }

    /// The parts that are dead.
    pub fn dead(&self) -> Vec<Dead> {
        self.lock().dead.clone()
    }

    /// All parts by name: those of this daemon, and threads of libraries that panicked in this process.
    pub fn list(&self) -> Vec<PartStatus> {
        let state = self.lock();
        let mut all: BTreeMap<&str, PartStatus> = BTreeMap::new();
        for live in state.parts.values() {
            let part = all
                .entry(&live.name)
                .or_insert_with(|| PartStatus::running(&live.name));
            part.threads += 1;
            if live.pausing {
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
        for (name, past) in &state.past {
            if let Some(part) = all.get_mut(name.as_str()) {
                part.restarts = past.restarts;
                part.cause.get_or_insert_with(|| past.cause.clone());
            }
        }
        all.into_values().chain(panics::of_libraries()).collect()
    }

    /// The one place in the daemon that starts a thread which outlives its caller.
    fn start(
        &self,
        name: &str,
        run: impl FnOnce(Place) + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let mut place = self.enter(name);
        place.begun = false;
        thread::Builder::new()
            .name(format!("{PREFIX}{name}"))
            .spawn(move || {
                place.begun = true;
                run(place);
            })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The part has ended as it should.
    pub fn leave(mut self) {
        self.left = true;
        self.parts.lock().parts.remove(&self.id);
    }

    /// The part has ended by itself. While the daemon ends, that is as it should be.
    fn die(mut self, cause: &str) {
        self.end(cause);
    }

    fn end(&mut self, cause: &str) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        let mut state = self.parts.lock();
        state.parts.remove(&self.id);
        if !self.begun || state.closing {
            return;
        }
        let dead = Dead {
            name: self.name.clone(),
            cause: cause.to_owned(),
        };
        state.dead.push(dead.clone());
        let tell = state.on_death.take();
        drop(state);
        metrics::gauge!("hotshoe_dead_parts").increment(1.0);
        tracing::error!(part = dead.name, cause, "a part of this program is dead");
        if let Some(tell) = tell {
            tell(&dead);
        }
    }

    /// Waits until the part may begin again. False where the daemon ends.
    fn pause(&self, cause: &str, pause: Duration) -> bool {
        let mut state = self.parts.lock();
        if state.closing {
            return false;
        }
        let past = state.past.entry(self.name.clone()).or_default();
        past.restarts += 1;
        cause.clone_into(&mut past.cause);
        if let Some(live) = state.parts.get_mut(&self.id) {
            live.pausing = true;
        }
        drop(state);
        metrics::counter!("hotshoe_part_restarts_total", "part" => self.name.clone()).increment(1);
        tracing::error!(
            part = self.name,
            cause,
            ?pause,
            "a part of this program ended and begins again"
        );
        let (mut state, _) = self
            .parts
            .shared
            .closed
            .wait_timeout_while(self.parts.lock(), pause, |state| !state.closing)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = state.parts.get_mut(&self.id) {
            live.pausing = false;
        }
        !state.closing
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.end("it ended by itself");
    }
}

/// Starts a thread that ends before its caller goes on.
///
/// # Errors
/// Where the machine has no thread left.
pub fn scoped<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    name: &str,
    run: impl FnOnce() + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, ()>> {
    thread::Builder::new()
        .name(format!("{PREFIX}{name}"))
        .spawn_scoped(scope, run)
}

/// What a panic said, instead of the panic.
fn caught(run: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|payload| Err(format!("it panicked: {}", panics::message(&*payload))))
}

#[cfg(test)]
mod tests;
