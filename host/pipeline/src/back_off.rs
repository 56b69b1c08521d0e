//! A component that breaks off again and again is left alone for a while, so that its traps and its new instances take no time from
//! the rest of the device.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hotshoe_base::micros;
use hotshoe_engine::{Failure, Fault};
use hotshoe_protocol::status::BackOffStatus;

/// Calls of a component that may break off one after the other before it is left alone.
pub const FAULTS_IN_A_ROW: u32 = 5;
/// How long it is left alone at first.
pub const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How long it is left alone at most: each try that breaks off as well doubles the time.
pub const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The components of one release that break off, shared by all workers of it. Time comes in from outside.
#[derive(Debug, Default)]
pub struct BackOffs {
    /// Those alone whose last call broke off.
    streaks: Mutex<BTreeMap<String, FaultStreak>>,
}

/// A component whose last call broke off.
#[derive(Debug)]
struct FaultStreak {
    in_a_row: u32,
    last: Failure,
    pause: Option<Pause>,
}

/// A component that is left alone.
#[derive(Debug)]
struct Pause {
    wait: Duration,
    until: Instant,
    /// One sample is let through to see whether it works again.
    trial_running: bool,
}

/// CallPermit to call a component once.
#[must_use]
pub struct CallPermit<'a> {
    all: &'a BackOffs,
    component: &'a str,
    /// It is the one call that tries whether the component works again.
    is_trial: bool,
}

impl BackOffs {
    /// CallPermit to call `component` at `now`.
    ///
    /// # Errors
    /// [`Fault::BackingOff`], with what it broke off by and when it is tried again.
    pub fn permit<'a>(&'a self, component: &'a str, now: Instant) -> Result<CallPermit<'a>, Failure> {
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

    /// What the status says of a component at `now`: the calls that broke off in a row, and how it is left alone.
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
        self.streaks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(component: &str, streak: &FaultStreak, now: Instant) -> Failure {
    let left = streak.pause.as_ref().map_or(Duration::ZERO, |pause| {
        pause.until.saturating_duration_since(now)
    });
    let message = format!(
        "`{component}` broke off {} times in a row and is left alone for {} ms more; the last time: {}",
        streak.in_a_row,
        left.as_millis(),
        streak.last.message
    );
    Failure::new(Fault::BackingOff, message)
}

impl CallPermit<'_> {
    /// Tells how the call ended at `now`.
    pub fn ended(self, failure: Option<&Failure>, now: Instant) {
        let trapped = failure.filter(|failure| failure.fault.ends_instance());
        let mut streaks = self.all.lock();
        let Some(failure) = trapped else {
            if let Some(streak) = streaks.remove(self.component)
                && streak.pause.is_some()
            {
                record_metrics(self.component, false);
                tracing::info!(component = self.component, "the component works again");
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
            // A call that was under way before.
            Some(_) => return,
        };
        if streak.pause.is_none() {
            record_metrics(self.component, true);
        }
        streak.pause = Some(Pause {
            wait,
            until: now + wait,
            trial_running: false,
        });
        tracing::warn!(
            component = self.component,
            in_a_row = streak.in_a_row,
            wait_ms = micros(wait) / 1000,
            cause = streak.last.message,
            "the component breaks off again and again; it is left alone for a while"
        );
    }
}

/// A call whose end nobody told: the daemon itself failed in it. Another sample may try.
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

/// The release serves no more.
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

    /// One call at a moment: false where there was no leave.
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
        // And begins with the shortest wait.
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
        // A call that began before the row was full.
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
        // A late call neither ends the try of another one nor counts as it.
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
        // Another component has nothing to do with it.
        assert!(all.permit("y", now).is_ok());
    }
}
