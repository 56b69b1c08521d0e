//! Back-off for components: a component that traps repeatedly is paused, so that its traps and new instances do not slow down the rest
//! of the device.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hotshoe_base::{Clock, micros};
use hotshoe_engine::{Failure, Fault};
use hotshoe_protocol::status::BackOffStatus;
use parking_lot::{Mutex, MutexGuard};

/// Consecutive traps of a component after which it is paused.
pub const FAULTS_IN_A_ROW: u32 = 5;
/// First pause.
pub const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest pause. Each trial call that also traps doubles the pause.
pub const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The back-off state of the components of one release, shared by all its workers.
#[derive(Debug, Default)]
pub struct BackOffs {
    /// Only components whose last call trapped.
    streaks: Mutex<BTreeMap<String, FaultStreak>>,
    clock: Clock,
    observer: Observer,
}

/// A component was paused, or works again.
#[derive(Debug, Clone, Copy)]
pub struct BackOffChange<'a> {
    /// Its name in the release.
    pub component: &'a str,
    /// The last failure before the pause; `None` if it works again.
    pub paused: Option<&'a Failure>,
}

/// Callback for changes.
type OnChange = Box<dyn Fn(&BackOffChange<'_>) + Send + Sync>;

#[derive(Default)]
struct Observer(OnceLock<OnChange>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// The consecutive traps of a component.
#[derive(Debug)]
struct FaultStreak {
    in_a_row: u32,
    last: Failure,
    pause: Option<Pause>,
}

/// The pause of a component.
#[derive(Debug)]
struct Pause {
    wait: Duration,
    until: Instant,
    /// Whether one call is running to try whether the component works again.
    trial_running: bool,
}

/// A permit for one call of a component.
#[must_use]
pub struct CallPermit<'a> {
    all: &'a BackOffs,
    component: &'a str,
    /// Whether it is the call that tries whether the component works again.
    is_trial: bool,
}

impl BackOffs {
    /// A state whose workers measure the pauses by `clock`.
    pub fn timed_by(clock: Clock) -> Self {
        Self {
            streaks: Mutex::default(),
            clock,
            observer: Observer::default(),
        }
    }

    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Calls `callback` when a component is paused for the first time, and when it works again. Only the first callback counts.
    pub fn observe(&self, callback: impl Fn(&BackOffChange<'_>) + Send + Sync + 'static) {
        let _ = self.observer.0.set(Box::new(callback)); // a release that serves again has it already
    }

    fn report(&self, component: &str, paused: Option<&Failure>) {
        if let Some(callback) = self.observer.0.get() {
            callback(&BackOffChange { component, paused });
        }
    }

    /// A permit to call `component` at `now`.
    ///
    /// # Errors
    /// [`Fault::BackingOff`], with the last failure and the rest of the pause.
    pub fn permit<'a>(
        &'a self,
        component: &'a str,
        now: Instant,
    ) -> Result<CallPermit<'a>, Failure> {
        let mut streaks = self.lock();
        let mut is_trial = false;
        if let Some(streak) = streaks.get_mut(component)
            && let Some(pause) = &mut streak.pause
        {
            if pause.trial_running || now < pause.until {
                return Err(refusal(component, streak, now));
            }
            pause.trial_running = true;
            is_trial = true;
        }
        drop(streaks);
        Ok(CallPermit {
            all: self,
            component,
            is_trial,
        })
    }

    /// The status of a component at `now`: its consecutive traps, and its pause.
    pub fn status(&self, component: &str, now: Instant) -> (u32, Option<BackOffStatus>) {
        let streaks = self.lock();
        let Some(streak) = streaks.get(component) else {
            return (0, None);
        };
        let status = streak.pause.as_ref().map(|pause| BackOffStatus {
            fault: streak.last.fault.name().to_owned(),
            message: streak.last.message.clone(),
            wait_ms: micros(pause.wait) / 1000,
            left_ms: micros(pause.until.saturating_duration_since(now)) / 1000,
        });
        (streak.in_a_row, status)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, FaultStreak>> {
        self.streaks.lock()
    }
}

fn refusal(component: &str, streak: &FaultStreak, now: Instant) -> Failure {
    let left = streak.pause.as_ref().map_or(Duration::ZERO, |pause| {
        pause.until.saturating_duration_since(now)
    });
    let message = format!(
        "`{component}` failed {} times in a row and is paused for {} ms; last failure: {}",
        streak.in_a_row,
        left.as_millis(),
        streak.last.message
    );
    Failure::new(Fault::BackingOff, message)
}

impl CallPermit<'_> {
    /// Records the end of the call at `now`.
    pub fn ended(self, failure: Option<&Failure>, now: Instant) {
        let trapped = failure.filter(|failure| failure.fault.ends_instance());
        let mut streaks = self.all.lock();
        let Some(failure) = trapped else {
            if let Some(streak) = streaks.remove(self.component)
                && streak.pause.is_some()
            {
                record_metrics(self.component, false);
                self.all.report(self.component, None);
            }
            return;
        };
        let streak = streaks
            .entry(self.component.to_owned())
            .or_insert_with(|| FaultStreak {
                in_a_row: 0,
                last: failure.clone(),
                pause: None,
            });
        streak.in_a_row = streak.in_a_row.saturating_add(1);
        streak.last = failure.clone();
        let wait = match &streak.pause {
            None if streak.in_a_row < FAULTS_IN_A_ROW => return,
            None => FIRST_WAIT,
            Some(pause) if self.is_trial => (pause.wait * 2).min(LONGEST_WAIT),
            // A call that began before the pause.
            Some(_) => return,
        };
        let is_first = streak.pause.is_none();
        streak.pause = Some(Pause {
            wait,
            until: now + wait,
            trial_running: false,
        });
        if is_first {
            record_metrics(self.component, true);
            self.all.report(self.component, Some(&streak.last));
        } else {
            tracing::warn!(
                component = self.component,
                in_a_row = streak.in_a_row,
                wait_ms = micros(wait) / 1000,
                cause = streak.last.message,
                "the component is paused for longer"
            );
        }
    }
}

/// A dropped permit: the daemon itself failed during the call. Another sample may try.
impl Drop for CallPermit<'_> {
    fn drop(&mut self) {
        if !self.is_trial {
            return;
        }
        let mut streaks = self.all.lock();
        let streak = streaks.get_mut(self.component);
        if let Some(pause) = streak.and_then(|streak| streak.pause.as_mut()) {
            pause.trial_running = false;
        }
    }
}

/// Resets the metrics when the release no longer serves.
impl Drop for BackOffs {
    fn drop(&mut self) {
        let streaks = std::mem::take(&mut *self.lock());
        for (component, streak) in streaks {
            if streak.pause.is_some() {
                metrics::gauge!("hotshoe_backing_off", "component" => component).set(0.0);
            }
        }
    }
}

fn record_metrics(component: &str, is_paused: bool) {
    let component = component.to_owned();
    if is_paused {
        metrics::counter!("hotshoe_back_offs_total", "component" => component.clone()).increment(1);
    }
    metrics::gauge!("hotshoe_backing_off", "component" => component).set(u8::from(is_paused));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use hotshoe_engine::ErrorCode;

    use super::*;

    fn trap() -> Failure {
        Failure::new(Fault::Trap, "it trapped")
    }

    /// One call; false if it was refused.
    fn call(all: &BackOffs, now: Instant, failure: Option<&Failure>) -> bool {
        match all.permit("x", now) {
            Ok(permit) => {
                permit.ended(failure, now);
                true
            }
            Err(refused) => {
                assert_eq!(refused.fault, Fault::BackingOff);
                false
            }
        }
    }

    fn wait(all: &BackOffs, now: Instant) -> Option<u64> {
        all.status("x", now).1.map(|status| status.wait_ms)
    }

    #[test]
    fn faults_in_a_row_lead_to_waits_that_double_up_to_the_longest() {
        let all = BackOffs::default();
        let mut now = Instant::now();
        for _ in 1..FAULTS_IN_A_ROW {
            assert!(call(&all, now, Some(&trap())));
        }
        assert_eq!(wait(&all, now), None);
        assert!(call(&all, now, Some(&trap())));
        let mut expected = FIRST_WAIT;
        for _ in 0..12 {
            assert_eq!(wait(&all, now), Some(micros(expected) / 1000));
            assert!(!call(&all, now, None));
            now += expected - Duration::from_millis(1);
            assert!(!call(&all, now, None));
            now += Duration::from_millis(1);
            assert!(call(&all, now, Some(&trap())));
            expected = (expected * 2).min(LONGEST_WAIT);
        }
        assert_eq!(expected, LONGEST_WAIT);
        now += expected;
        assert!(call(&all, now, None), "it works again");
        assert_eq!(all.status("x", now), (0, None));
        // And starts with the first pause.
        for _ in 0..FAULTS_IN_A_ROW {
            assert!(call(&all, now, Some(&trap())));
        }
        assert_eq!(wait(&all, now), Some(micros(FIRST_WAIT) / 1000));
    }

    #[test]
    fn one_that_works_or_fails_in_order_in_between_ends_the_row() {
        let all = BackOffs::default();
        let now = Instant::now();
        let orderly = Failure::new(Fault::Guest(ErrorCode::InvalidInput), "a bad sample");
        for between in [None, Some(&orderly)] {
            for _ in 1..FAULTS_IN_A_ROW {
                assert!(call(&all, now, Some(&trap())));
            }
            assert!(call(&all, now, between));
            assert_eq!(all.status("x", now), (0, None));
        }
    }

    #[test]
    fn one_sample_alone_tries_and_an_untold_end_lets_another_try() {
        let all = BackOffs::default();
        let now = Instant::now();
        // A call that began before the pause.
        let late = all.permit("x", now).unwrap();
        for _ in 0..FAULTS_IN_A_ROW {
            assert!(call(&all, now, Some(&trap())));
        }
        late.ended(Some(&trap()), now);
        assert_eq!(wait(&all, now), Some(micros(FIRST_WAIT) / 1000));
        let later = now + FIRST_WAIT;
        let trial_running = all.permit("x", later).unwrap();
        assert!(!call(&all, later, None));
        drop(trial_running);
        assert!(call(&all, later, None));
        // A late call neither ends the trial call nor counts as it.
        let now = later + FIRST_WAIT;
        let late = all.permit("z", now).unwrap();
        for _ in 0..FAULTS_IN_A_ROW {
            all.permit("z", now).unwrap().ended(Some(&trap()), now);
        }
        let now = now + FIRST_WAIT;
        let trial_running = all.permit("z", now).unwrap();
        late.ended(Some(&trap()), now);
        assert!(all.permit("z", now).is_err());
        let first = Some(micros(FIRST_WAIT) / 1000);
        assert_eq!(all.status("z", now).1.map(|status| status.wait_ms), first);
        drop(trial_running);
        // Other components are not affected.
        assert!(all.permit("y", now).is_ok());
    }
}
