//! What serves: the release that the workers use, the one to go back to, and the saved state of components.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_engine::StateSnapshot;
use hotshoe_store::Store;
use hotshoe_trust::Digest;

use crate::serving::{Seen, Service, ServingRelease, ShadowMirror, Variation, WantedMetric};

/// Least time between two writes of the components' state.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Owns the pointer that the workers read; no other part writes it.
pub(super) struct Serving {
    service: Arc<Service>,
    clock: Clock,
    current: Option<Arc<ServingRelease>>,
    /// The release before the trial, if it is kept in memory.
    old: Option<Arc<ServingRelease>>,
    /// Replaced releases that a worker still uses.
    retired: Vec<Arc<ServingRelease>>,
    saved: Option<SavedState>,
}

/// The state that was saved last.
#[derive(Clone, Copy)]
struct SavedState {
    release: Digest,
    /// The count of changes that the disk has.
    changes: u64,
    at: Instant,
}

/// What a swap to a trial leaves.
pub(super) struct TrialSwap {
    /// Last counts of the release before.
    pub before: Option<Seen>,
    /// Duration of the swap of the pointer.
    pub took: Duration,
}

impl Serving {
    /// Takes over what the start has loaded.
    pub(super) const fn new(
        service: Arc<Service>,
        current: Option<Arc<ServingRelease>>,
        old: Option<Arc<ServingRelease>>,
        clock: Clock,
    ) -> Self {
        Self {
            service,
            clock,
            current,
            old,
            retired: Vec::new(),
            saved: None,
        }
    }

    /// The release that serves.
    pub(super) const fn current(&self) -> Option<&Arc<ServingRelease>> {
        self.current.as_ref()
    }

    /// Whether the device rests.
    pub(super) fn is_resting(&self) -> bool {
        self.service.is_resting()
    }

    /// How the release that serves runs now.
    pub(super) fn in_force(&self) -> Variation {
        self.service.variation()
    }

    /// Says which metric of insights is collected for a comparison, if any.
    pub(super) fn want_metric(&self, wanted: Option<&WantedMetric>) {
        self.service.compared().want(wanted);
    }

    /// The mean of the metric that a plan asks for, once it is known.
    pub(super) fn metric(&self, plan: Digest) -> Option<f64> {
        self.service.compared().mean(plan)
    }

    /// Gives a shadow copies of samples, or ends that.
    pub(super) fn mirror(&self, mirror: Option<Arc<ShadowMirror>>) {
        self.service.shadow(mirror);
    }

    /// Gives a release that is about to go on trial the current state, on disk too, and returns it. Called before the ledger names the
    /// trial: after a restart it would otherwise start without state.
    pub(super) fn prepare_trial(
        &self,
        store: &Store,
        trial: &ServingRelease,
    ) -> Option<StateSnapshot> {
        let state = self.hand_over_state(trial);
        keep_state(store, trial, state.as_ref(), None);
        state
    }

    /// Swaps a trial in. `on_disk` is the state that [`Self::prepare_trial`] saved.
    pub(super) fn begin_trial(
        &mut self,
        store: &Store,
        trial: &Arc<ServingRelease>,
        on_disk: Option<&StateSnapshot>,
        keep_old: bool,
    ) -> TrialSwap {
        let before = self.current.as_ref().map(|old| old.observer().seen());
        // Saved before the state is handed over, so that this write does not widen the gap between hand-over and swap.
        self.save_state(store);
        // No disk access between this and the swap: changes in between are lost.
        let state = self.hand_over_state(trial);
        let (old, took) = self.swap(Some(Arc::clone(trial)));
        keep_state(store, trial, state.as_ref(), on_disk);
        if keep_old {
            self.old = old;
        } else {
            self.retire(old);
        }
        TrialSwap { before, took }
    }

    /// Ends a trial that is confirmed: the release before is no longer needed.
    pub(super) fn confirm_trial(&mut self) {
        let old = self.old.take();
        self.retire(old);
    }

    /// The release before the trial, if it is in memory.
    pub(super) fn take_old(&mut self) -> Option<Arc<ServingRelease>> {
        let old = self.old.take()?;
        // As after loading from disk: its models have not seen the samples of the trial.
        old.pipeline().forget_sources();
        Some(old)
    }

    /// Makes another release serve, and returns the duration of the swap of the pointer.
    pub(super) fn replace(&mut self, next: Option<Arc<ServingRelease>>) -> Duration {
        let (before, took) = self.swap(next);
        self.retire(before);
        took
    }

    /// Drops the retired releases that no worker uses any more, so that this thread drops them and not a worker.
    pub(super) fn drop_unused(&mut self) {
        self.retired.retain(|served| {
            Arc::strong_count(served) > 1 || Arc::strong_count(served.pipeline()) > 1
        });
    }

    /// Saves the state of the serving components from time to time, if it has changed.
    pub(super) fn save_state_if_due(&mut self, store: &Store) {
        let is_due = |saved: &SavedState| self.clock.elapsed(saved.at) >= SAVE_INTERVAL;
        if self.saved.as_ref().is_none_or(is_due) {
            self.save_state(store);
        }
    }

    /// Saves the state of the serving components, if it has changed.
    pub(super) fn save_state(&mut self, store: &Store) {
        let Some(current) = &self.current else {
            return;
        };
        let release = current.release().digest();
        let changes = current.pipeline().state_changes();
        let saved = self.saved.filter(|saved| saved.release == release);
        let before = saved.map_or(0, |saved| saved.changes);
        if before == changes {
            return;
        }
        let bytes = current.pipeline().state_snapshot().to_bytes();
        let mut on_disk = changes;
        if let Err(error) = store.save_state(release, &bytes) {
            tracing::warn!(
                cause = super::chain(&error),
                "cannot save the state of the components"
            );
            // So that it is retried even without further changes.
            on_disk = before;
        }
        self.saved = Some(SavedState {
            release,
            changes: on_disk,
            at: self.clock.now(),
        });
    }

    /// Copies the state of the serving release to the trial, and returns it.
    fn hand_over_state(&self, trial: &ServingRelease) -> Option<StateSnapshot> {
        let state = self.current.as_ref()?.pipeline().state_snapshot();
        trial.pipeline().restore_state(&state);
        Some(state)
    }

    fn swap(
        &mut self,
        next: Option<Arc<ServingRelease>>,
    ) -> (Option<Arc<ServingRelease>>, Duration) {
        let (before, took) = self.service.swap(next.clone());
        crate::metrics::release(
            before.as_deref().map(ServingRelease::release),
            next.as_deref().map(ServingRelease::release),
        );
        self.current = next;
        if let Some(before) = &before {
            before.drop_ready_workers();
        }
        (before, took)
    }

    fn retire(&mut self, served: Option<Arc<ServingRelease>>) {
        self.retired.extend(served);
        self.drop_unused();
    }
}

/// Saves the state that a trial was given, if the disk has another one. Restoring does not count as a change, so it would not be
/// saved later.
fn keep_state(
    store: &Store,
    trial: &ServingRelease,
    state: Option<&StateSnapshot>,
    on_disk: Option<&StateSnapshot>,
) {
    let Some(state) = state.filter(|state| on_disk != Some(*state)) else {
        return;
    };
    let digest = trial.release().digest();
    let saved = if state.is_empty() {
        store.drop_state(digest)
    } else {
        store.save_state(digest, &state.to_bytes())
    };
    if let Err(error) = saved {
        let cause = super::chain(&error);
        tracing::warn!(cause, "cannot save the state of the trial");
    }
}
