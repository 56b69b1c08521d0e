//! Measurements of the serving release, each on a thread of its own: of its backends, and of its modes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_engine::low_priority;
use hotshoe_store::Store;
use hotshoe_trust::{Device, Digest};

use crate::serving::ServingRelease;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measured {
    /// The backends that were left open when the release was loaded.
    Backends,
    /// The figures of the modes.
    Modes,
}

impl Measured {
    const fn part(self) -> &'static str {
        match self {
            Self::Backends => "backend-race",
            Self::Modes => "modes",
        }
    }

    fn is_open(self, serving: &ServingRelease) -> bool {
        match self {
            Self::Backends => serving.pipeline().has_races(),
            Self::Modes => !serving.release().modes.is_empty(),
        }
    }
}

/// Owns the flag of the measurement that runs.
pub(super) struct Measurement {
    what: Measured,
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
    pub(super) const fn new(what: Measured, parts: Supervisor) -> Self {
        Self {
            what,
            parts,
            running: None,
            measured: None,
        }
    }

    /// Measures `serving` once, and gives up what it measures of another release. `None` while nothing may be measured.
    pub(super) fn follow(
        &mut self,
        store: &Store,
        device: &Device,
        serving: Option<&Arc<ServingRelease>>,
    ) {
        let wanted = serving.map(|serving| (serving, serving.release().digest()));
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
        if wanted.is_some_and(|(_, digest)| self.measured != Some(digest)) {
            self.measured = None;
        }
        if let Some((serving, digest)) = wanted
            && self.measured.is_none()
            && self.what.is_open(serving)
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
        let what = self.what;
        let started = self.parts.task(what.part(), move || {
            if let Err(error) = low_priority() {
                tracing::debug!(%error, "cannot lower the priority of a thread that measures");
            }
            let read = |blob: &_| blobs.read(blob);
            match what {
                Measured::Backends => pipeline.race_backends(read, &device, &flag),
                Measured::Modes => pipeline.measure_modes(read, &device, &flag),
            }
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
                tracing::warn!(%error, part = what.part(), "cannot start a thread that measures; the release serves without it");
                self.measured = Some(release);
            }
        }
    }

    /// Whether it runs, or has just ended.
    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Ends what runs, before its next sample.
    pub(super) fn stop(&self) {
        if let Some(running) = &self.running {
            running.cancel.store(true, Ordering::Release);
        }
    }
}
