//! The measurement of the modes of the serving release, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_engine::low_priority;
use hotshoe_store::Store;
use hotshoe_trust::{Device, Digest};

use crate::serving::ServingRelease;

/// Owns the flag of the measurement that runs.
pub(super) struct Measurement {
    parts: Supervisor,
    running: Option<Running>,
    /// The release that was measured last.
    measured: Option<Digest>,
}

struct Running {
    release: Digest,
    cancel: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Measurement {
    /// Without a measurement.
    pub(super) const fn new(parts: Supervisor) -> Self {
        Self {
            parts,
            running: None,
            measured: None,
        }
    }

    /// Measures the modes of `serving` once, and gives up what it measures of another release. `None` while nothing may be measured: its
    /// model runs would count in the latency of a trial, or delay the load of a release.
    pub(super) fn follow(
        &mut self,
        store: &Store,
        device: &Device,
        serving: Option<&Arc<ServingRelease>>,
    ) {
        let wanted = serving.filter(|serving| !serving.release().modes.is_empty());
        let wanted = wanted.map(|serving| (serving, serving.release().digest()));
        if let Some(running) = &self.running {
            if wanted.is_none_or(|(_, digest)| digest != running.release) {
                running.cancel.store(true, Ordering::Release);
            }
            if !running.thread.is_finished() {
                return;
            }
            let is_whole = !running.cancel.load(Ordering::Acquire);
            self.measured = is_whole.then_some(running.release);
            self.running = None;
        }
        if let Some((serving, digest)) = wanted
            && self.measured != Some(digest)
        {
            self.start(store, device, serving, digest);
        }
    }

    fn start(
        &mut self,
        store: &Store,
        device: &Device,
        serving: &Arc<ServingRelease>,
        release: Digest,
    ) {
        let cancel = Arc::new(AtomicBool::new(false));
        let (blobs, device) = (store.blobs().unlocked(), device.clone());
        let (pipeline, flag) = (Arc::clone(serving.pipeline()), Arc::clone(&cancel));
        let started = self.parts.task("modes", move || {
            if let Err(error) = low_priority() {
                tracing::debug!(%error, "cannot lower the priority of the thread that measures modes");
            }
            pipeline.measure_modes(|blob| blobs.read(blob), &device, &flag);
        });
        match started {
            Ok(thread) => {
                self.running = Some(Running {
                    release,
                    cancel,
                    thread,
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot start a thread to measure modes; their figures stay unknown");
                self.measured = Some(release);
            }
        }
    }

    /// Ends what runs, before its next sample.
    pub(super) fn stop(&self) {
        if let Some(running) = &self.running {
            running.cancel.store(true, Ordering::Release);
        }
    }
}
