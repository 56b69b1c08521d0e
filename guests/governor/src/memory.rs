//! What the governor keeps from one plan to the next. A new instance begins with nothing, and derives it again.

/// How many limits a sensor is over.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) level: usize,
    pub(crate) reason: String,
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
}

impl Step {
    /// A sensor that is gone keeps its level for `hold_us`.
    pub(crate) fn update(&mut self, value: Option<Value>, hold_us: u64, now_us: u64) {
        match value {
            Some(value) => {
                self.level = value.level.max(self.level.min(value.held));
                self.reason = value.reason;
                (self.was_known, self.missing_since_us) = (true, None);
            }
            None if self.was_known => {
                let since = *self.missing_since_us.get_or_insert(now_us);
                if now_us.saturating_sub(since) >= hold_us {
                    self.level = 0;
                }
            }
            None => {}
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
