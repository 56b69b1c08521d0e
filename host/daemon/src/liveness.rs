//! Whether the daemon goes on: its workers come back from their samples, the deploy thread makes its steps, and no part is dead.
//!
//! One thread looks, replaces what can be replaced, and tells the service manager that the daemon is alive, only while that is so. A part that
//! is stuck and cannot be replaced is given up: the daemon drains and exits with 1, or the watchdog of the service manager ends it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::Config;

use crate::deploy::StartRecord;
use crate::service_manager::ServiceManager;
use crate::serving::{Service, WorkerWatch};

/// Interval of the checks. With a short watchdog it is a quarter of that.
const PERIOD: Duration = Duration::from_millis(500);
/// Shortest interval of the checks.
const LEAST_PERIOD: Duration = Duration::from_millis(10);
/// The part of a daemon that changes its release.
const DEPLOY: &str = "deploy";

/// The thread that looks whether the daemon goes on. It ends when this is dropped.
pub(crate) struct Liveness {
    _running: SyncSender<Infallible>,
}

/// What the thread looks at.
pub(crate) struct Watched {
    pub service: Arc<Service>,
    /// The steps of the deploy thread.
    pub steps: Arc<AtomicU64>,
    pub starts: Arc<StartRecord>,
    pub manager: Arc<ServiceManager>,
}

/// The longest step of the deploy thread, and the longest start: a release with several components, each of which may use
/// `compile.cpu-seconds` on a busy machine, and then loads its models.
pub(crate) fn longest_step(config: &Config) -> Duration {
    Duration::from_secs(config.compile.cpu_seconds.saturating_mul(2)) + Duration::from_secs(3_600)
}

impl Liveness {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(crate) fn start(
        watched: Watched,
        config: &Config,
        supervisor: &Supervisor,
    ) -> io::Result<Self> {
        let (running, ended) = sync_channel::<Infallible>(0);
        let clock = supervisor.clock().clone();
        let watchdog = watched.manager.watchdog();
        let period = watchdog.map_or(PERIOD, |time| (time / 4).clamp(LEAST_PERIOD, PERIOD));
        let mut checks = Checks {
            deploy: Steps::new(clock.clone(), longest_step(config)),
            workers: WorkerWatch::new(
                clock.clone(),
                config.workers.threads,
                config.workers.stuck_after(),
            ),
            parts: supervisor.clone(),
            most: period * 2,
            watched,
        };
        let run = move || {
            loop {
                checks.check();
                let next = clock.deadline(period);
                match clock.recv_until(&ended, next) {
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                }
            }
        };
        // Not joined: where a part hangs, this thread may hang with it, and the process ends all the same.
        supervisor.restarted("liveness", run)?;
        Ok(Self { _running: running })
    }
}

struct Checks {
    watched: Watched,
    workers: WorkerWatch,
    deploy: Steps,
    parts: Supervisor,
    /// The longest time between two checks that counts: while the process stood still, so did its parts.
    most: Duration,
}

impl Checks {
    fn check(&mut self) {
        let Watched {
            service,
            steps,
            starts,
            manager,
        } = &self.watched;
        service.replace_stuck(&mut self.workers, self.most);
        let steps = steps.load(Ordering::Relaxed);
        if self.deploy.is_stuck(steps, self.most) {
            let seconds = self.deploy.longest.as_secs();
            self.parts.give_up(
                DEPLOY,
                &format!("it has made no step for more than {seconds} s"),
            );
        }
        starts.check();
        if self.parts.dead().is_empty() {
            manager.alive();
            manager.set_status(&status(service));
        }
    }
}

/// The steps of a thread.
struct Steps {
    clock: Clock,
    last: Instant,
    seen: u64,
    /// Since the last new step, by the checks.
    age: Duration,
    longest: Duration,
    is_given_up: bool,
}

impl Steps {
    fn new(clock: Clock, longest: Duration) -> Self {
        Self {
            last: clock.now(),
            clock,
            seen: 0,
            age: Duration::ZERO,
            longest,
            is_given_up: false,
        }
    }

    /// Whether the thread has made no step for too long. True once.
    fn is_stuck(&mut self, steps: u64, most: Duration) -> bool {
        let now = self.clock.now();
        self.age += now.saturating_duration_since(self.last).min(most);
        self.last = now;
        if steps != self.seen {
            (self.seen, self.age) = (steps, Duration::ZERO);
        }
        let is_stuck = self.age > self.longest && !self.is_given_up;
        self.is_given_up |= is_stuck;
        is_stuck
    }
}

/// What the daemon does, in a few words.
fn status(service: &Service) -> String {
    let mut text = match (service.serving(), service.not_ready()) {
        (Some(served), _) => {
            let release = served.release();
            format!("serves {} {}", release.name, release.generation)
        }
        (None, reason) => reason.unwrap_or_default(),
    };
    if service.is_resting() {
        text += ", rests";
    }
    match service.stuck() {
        0 => {}
        stuck => text += &format!(", {stuck} stuck workers"),
    }
    text
}

#[cfg(test)]
mod tests {
    use hotshoe_base::VirtualClock;

    use super::*;

    #[test]
    fn a_thread_without_a_step_is_stuck_once_and_a_process_that_stood_still_is_not() {
        let time = VirtualClock::at(std::time::SystemTime::UNIX_EPOCH);
        let second = Duration::from_secs(1);
        let mut steps = Steps::new(time.clock(), second * 3);
        // The machine slept for an hour between two checks.
        time.advance(second * 3_600);
        assert!(!steps.is_stuck(1, second));
        let mut check = |step| {
            time.advance(second);
            steps.is_stuck(step, second)
        };
        let found = [1, 1, 1, 2, 2, 2, 2, 2, 2].map(&mut check);
        let expected = [false, false, false, false, false, false, false, true, false];
        assert_eq!(found, expected);
    }
}
