//! Who has a release, where more say so than can be asked one by one: all are called at once for something small, and whoever brings it is
//! asked first from then on.

use std::time::{Duration, Instant};

use hotshoe_link::{PendingRequest, MAX_BROADCAST_BYTES};

use super::FetchError;
use super::plan::Plan;
use super::run::FetchContext;

/// How often all are called.
const EVERY: Duration = Duration::from_secs(2);

/// The calls of one fetch.
#[derive(Debug, Default)]
pub struct SourceDiscovery {
    called: Option<(Instant, PendingRequest)>,
}

impl SourceDiscovery {
    /// Calls for the smallest of what is wanted, where many strangers and nobody else are there, and it is time.
    pub fn poll(
        &mut self,
        context: &FetchContext<'_>,
        plan: &Plan,
        now: Instant,
    ) -> Result<(), FetchError> {
        let is_due = |(at, _): &(Instant, PendingRequest)| now.saturating_duration_since(*at) >= EVERY;
        if !self.called.as_ref().is_none_or(is_due) || !context.sources.has_many_unknown() {
            return Ok(());
        }
        let Some(want) = plan.smallest().filter(|want| want.most <= MAX_BROADCAST_BYTES) else {
            return Ok(());
        };
        let object = (want.digest, want.most);
        let asked = context
            .sources
            .broadcast(context.site, context.own, object, EVERY)?;
        self.called = Some((now, asked));
        Ok(())
    }
}
