//! What all rules want together.

use hotshoe_sdk::governor::{
    self, Alert, Avoidance, Drive, Interval, Mode, ModeChoice, Plan, Rate, RateChoice, Severity,
};

use super::thresholds::Thresholds;

#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// The highest level, with the choice.
    mode: Option<(u32, ModeChoice)>,
    /// The highest step of the rate.
    rate: Option<(usize, RateChoice)>,
    pub(crate) status: Option<Interval>,
    pub(crate) outputs: Vec<Drive>,
    pub(crate) avoid: Vec<Avoidance>,
    alerts: Vec<Alert>,
    pub(crate) stop: Option<String>,
    pub(crate) hibernate: Option<String>,
}

impl Wishes {
    /// A step of the rate: 0 for all samples, 1 for a part of them, more for few of that part.
    pub(crate) fn slow(&mut self, step: usize, by: &Thresholds, reason: &str) {
        let is_stricter = self.rate.as_ref().is_none_or(|(other, _)| step > *other);
        if step == 0 || !is_stricter {
            return;
        }
        let max_per_second = (step > 1).then(|| 1000.0 / f64::from(by.interval_ms.max(1)));
        let rate = Rate {
            every: by.every,
            max_per_second,
            only_on_motion: false,
        };
        let reason = reason.to_owned();
        self.rate = Some((step, RateChoice { rate, reason }));
    }

    /// A mode, unless one of a higher level is wanted already.
    pub(crate) fn mode(&mut self, mode: Option<&Mode>, reason: &str) {
        let Some(mode) = mode else { return };
        let is_stricter = self
            .mode
            .as_ref()
            .is_none_or(|(level, _)| mode.level > *level);
        if is_stricter {
            let choice = ModeChoice {
                name: mode.name.clone(),
                reason: reason.to_owned(),
            };
            self.mode = Some((mode.level, choice));
        }
    }

    pub(crate) fn alert(&mut self, name: &str, severity: Severity, reason: &str) {
        self.alerts.push(Alert {
            name: name.to_owned(),
            severity,
            reason: reason.to_owned(),
        });
    }

    pub(crate) fn into_plan(self) -> Plan {
        Plan {
            mode: self.mode.map(|(_, choice)| choice),
            rate: self.rate.map(|(_, choice)| choice),
            status_interval: self.status,
            outputs: self.outputs,
            alerts: self.alerts,
            avoid: self.avoid,
            hibernate: self.hibernate,
            stop: self.stop,
            ..governor::nothing()
        }
    }
}
