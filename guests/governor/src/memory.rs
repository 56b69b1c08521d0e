//! What the governor keeps from one plan to the next. A new instance begins with nothing, and derives it again.

/// How many limits a sensor is over.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) level: usize,
    pub(crate) reason: String,
    /// Which of several sensors says it.
    sensor: Option<String>,
    was_known: bool,
    missing_since_us: Option<u64>,
}

/// What a sensor says.
pub(crate) struct Value {
    /// Limits that it is over.
    pub(crate) level: usize,
    /// Limits that it is over or near.
    pub(crate) held: usize,
    pub(crate) reason: String,
    /// Which of several sensors says it.
    pub(crate) sensor: Option<String>,
}

impl Step {
    /// A sensor that is gone keeps its level for `hold_us`, also where others are there: they tell nothing of its place.
    pub(crate) fn update(
        &mut self,
        value: Option<Value>,
        is_gone: impl Fn(&str) -> bool,
        hold_us: u64,
        at_us: u64,
    ) {
        let is_lower = value.as_ref().is_none_or(|it| it.level < self.level);
        let is_lost = is_lower && self.sensor.as_deref().is_some_and(is_gone);
        if value.is_none() && !self.was_known {
            return;
        }
        if value.is_none() || is_lost {
            let since = *self.missing_since_us.get_or_insert(at_us);
            if at_us.saturating_sub(since) < hold_us {
                return;
            }
        }
        match value {
            Some(value) => {
                self.level = value.level.max(self.level.min(value.held));
                (self.reason, self.sensor) = (value.reason, value.sensor);
                (self.was_known, self.missing_since_us) = (true, None);
            }
            None => self.level = 0,
        }
    }

    pub(crate) const fn is_missing(&self) -> bool {
        self.missing_since_us.is_some()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) heat: Step,
    pub(crate) charge: Step,
    /// Level of the mode that the latency asked for; 0 for none.
    pub(crate) latency_level: u32,
}
