//! Discovery of a source that has a release, when more sources announce themselves than can be asked one by one: a request for a small
//! object goes to all at once, and sources that deliver it are preferred.

use std::time::{Duration, Instant};

use hotshoe_link::{MAX_BROADCAST_BYTES, PendingRequest};

use super::FetchError;
use super::context::FetchContext;
use super::plan::Plan;

/// Interval of broadcasts.
const EVERY: Duration = Duration::from_secs(2);

/// The broadcasts of one fetch.
#[derive(Debug, Default)]
pub(crate) struct SourceDiscovery {
    called: Option<(Instant, PendingRequest)>,
}

impl SourceDiscovery {
    /// Requests the smallest want from all sources, if there are many unknown ones and no known one, and it is time.
    pub(crate) fn poll(
        &mut self,
        context: &FetchContext<'_>,
        plan: &Plan,
        now: Instant,
    ) -> Result<(), FetchError> {
        let is_due =
            |(at, _): &(Instant, PendingRequest)| now.saturating_duration_since(*at) >= EVERY;
        if !self.called.as_ref().is_none_or(is_due) || !context.sources.has_many_unknown() {
            return Ok(());
        }
        let Some(want) = plan
            .smallest()
            .filter(|want| want.most <= MAX_BROADCAST_BYTES)
        else {
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
