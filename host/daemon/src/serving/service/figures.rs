//! What the service says of itself to the governor.

use hotshoe_engine::Queue;

use super::Service;
use crate::serving::Variation;
use crate::serving::figures::{Counts, Raw};
use crate::serving::observed::mode_of;

impl Service {
    /// How the release that serves runs now.
    pub fn variation(&self) -> Variation {
        let (serving, in_force) = (self.serving.load(), self.in_force.load());
        let mode = serving
            .as_deref()
            .and_then(|served| mode_of(served.release(), in_force.mode.as_deref()));
        Variation {
            mode: mode.map(str::to_owned),
            skip_variants: in_force.skip_variants,
        }
    }

    /// What the parts of the daemon say now, for [`Figures::next`](crate::serving::figures::Figures::next).
    pub fn figures(&self) -> Raw {
        let serving = self.serving.load();
        let view = self.published_status.view();
        let (deadline_misses, traps) = self.tally.misses();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let age = self.queue.oldest_age();
        Raw {
            release: serving.as_deref().map(|served| served.release().digest()),
            queue: Queue {
                depth: count(self.queue.len()),
                capacity: count(self.queue.capacity()),
                oldest_age_ms: age.map(|age| age.as_secs_f64() * 1e3),
            },
            counts: Counts::of(&self.tally.snapshot(), deadline_misses, traps),
            runs: serving
                .as_deref()
                .map(|served| served.pipeline().model_runs())
                .unwrap_or_default(),
            latencies: self.latency.read(),
            site_reachable: self.link.site_reachable(),
            statement_age: view.statement_heard.map(|heard| self.clock.elapsed(heard)),
            on_trial: view.probation_since.is_some(),
        }
    }
}
