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
    troubled: Mutex<BTreeMap<String, Trouble>>,
}

/// A component whose last call broke off.
#[derive(Debug)]
struct Trouble {
    in_a_row: u32,
    last: Failure,
    waiting: Option<Waiting>,
}

/// A component that is left alone.
#[derive(Debug)]
struct Waiting {
    wait: Duration,
    until: Instant,
    /// One sample is let through to see whether it works again.
    trying: bool,
}

/// Leave to call a component once.
#[must_use]
pub struct Leave<'a> {
    all: &'a BackOffs,
    component: &'a str,
    /// It is the one call that tries whether the component works again.
    tries: bool,
}

impl BackOffs {
    /// Leave to call `component` at `now`.
    ///
    /// # Errors
    /// [`Fault::BackingOff`], with what it broke off by and when it is tried again.
    pub fn leave<'a>(&'a self, component: &'a str, now: Instant) -> Result<Leave<'a>, Failure> {
        let mut troubled = self.lock();
        let mut tries = false;
        if let Some(trouble) = troubled.get_mut(component)
            && let Some(waiting) = &mut trouble.waiting
        {
            if waiting.trying || now < waiting.until {
                return Err(refusal(component, trouble, now));
            }
            waiting.trying = true;
            tries = true;
        }
        drop(troubled);
        Ok(Leave {
            all: self,
            component,
            tries,
        })
    }

    /// What the status says of a component at `now`: the calls that broke off in a row, and how it is left alone.
    pub fn status(&self, component: &str, now: Instant) -> (u32, Option<BackOffStatus>) {
        let troubled = self.lock();
        let Some(trouble) = troubled.get(component) else {
            return (0, None);
        };
        let status = trouble.waiting.as_ref().map(|waiting| BackOffStatus {
            fault: trouble.last.fault.name().to_owned(),
            message: trouble.last.message.clone(),
            wait_ms: micros(waiting.wait) / 1000,
            left_ms: micros(waiting.until.saturating_duration_since(now)) / 1000,
        });
        (trouble.in_a_row, status)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Trouble>> {
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(component: &str, trouble: &Trouble, now: Instant) -> Failure {
    let left = trouble.waiting.as_ref().map_or(Duration::ZERO, |waiting| {
        waiting.until.saturating_duration_since(now)
    });
    let message = format!(
        "`{component}` broke off {} times in a row and is left alone for {} ms more; the last time: {}",
        trouble.in_a_row,
        left.as_millis(),
        trouble.last.message
    );
    Failure::new(Fault::BackingOff, message)
}

impl Leave<'_> {
    /// Tells how the call ended at `now`.
    pub fn ended(self, failure: Option<&Failure>, now: Instant) {
        let broke_off = failure.filter(|failure| failure.fault.ends_instance());
        let mut troubled = self.all.lock();
        let Some(failure) = broke_off else {
            if let Some(trouble) = troubled.remove(self.component)
                && trouble.waiting.is_some()
            {
                tell(self.component, false);
                tracing::info!(component = self.component, "the component works again");
            }
            return;
        };
        let trouble = troubled
            .entry(self.component.to_owned())
            .or_insert_with(|| Trouble {
                in_a_row: 0,
                last: failure.clone(),
                waiting: None,
            });
        trouble.in_a_row = trouble.in_a_row.saturating_add(1);
        trouble.last = failure.clone();
        let wait = match &trouble.waiting {
            None if trouble.in_a_row < FAULTS_IN_A_ROW => return,
            None => FIRST_WAIT,
            Some(waiting) if self.tries => (waiting.wait * 2).min(LONGEST_WAIT),
            // A call that was under way before.
            Some(_) => return,
        };
        if trouble.waiting.is_none() {
            tell(self.component, true);
        }
        trouble.waiting = Some(Waiting {
            wait,
            until: now + wait,
            trying: false,
        });
        tracing::warn!(
            component = self.component,
            in_a_row = trouble.in_a_row,
            wait_ms = micros(wait) / 1000,
            cause = trouble.last.message,
            "the component breaks off again and again; it is left alone for a while"
        );
    }
}

/// A call whose end nobody told: the daemon itself failed in it. Another sample may try.
impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if !self.tries {
            return;
        }
        let mut troubled = self.all.lock();
        let trouble = troubled.get_mut(self.component);
        if let Some(waiting) = trouble.and_then(|trouble| trouble.waiting.as_mut()) {
            waiting.trying = false;
        }
    }
}

/// The release serves no more.
impl Drop for BackOffs {
    fn drop(&mut self) {
        let troubled = std::mem::take(&mut *self.lock());
        for (component, trouble) in troubled {
            if trouble.waiting.is_some() {
                metrics::gauge!("hotshoe_backing_off", "component" => component).set(0.0);
            }
        }
    }
}

fn tell(component: &str, waits: bool) {
    let component = component.to_owned();
    if waits {
        metrics::counter!("hotshoe_back_offs_total", "component" => component.clone()).increment(1);
    }
    metrics::gauge!("hotshoe_backing_off", "component" => component).set(u8::from(waits));
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
        match all.leave("x", now) {
            Ok(leave) => {
                leave.ended(failure, now);
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
        let late = all.leave("x", now).unwrap();
        for _ in 0..FAULTS_IN_A_ROW {
            assert!(call(&all, now, Some(&trap())));
        }
        late.ended(Some(&trap()), now);
        assert_eq!(wait(&all, now), Some(micros(FIRST_WAIT) / 1000));
        let later = now + FIRST_WAIT;
        let trying = all.leave("x", later).unwrap();
        assert!(!call(&all, later, None));
        drop(trying);
        assert!(call(&all, later, None));
        // A late call neither ends the try of another one nor counts as it.
        let now = later + FIRST_WAIT;
        let late = all.leave("z", now).unwrap();
        for _ in 0..FAULTS_IN_A_ROW {
            all.leave("z", now).unwrap().ended(Some(&trap()), now);
        }
        let now = now + FIRST_WAIT;
        let trying = all.leave("z", now).unwrap();
        late.ended(Some(&trap()), now);
        assert!(all.leave("z", now).is_err());
        let first = Some(micros(FIRST_WAIT) / 1000);
        assert_eq!(all.status("z", now).1.map(|status| status.wait_ms), first);
        drop(trying);
        // Another component has nothing to do with it.
        assert!(all.leave("y", now).is_ok());
    }
}
