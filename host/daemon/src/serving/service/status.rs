//! The status of the device.

use hotshoe_protocol::status::{KeyStatus, QueueStatus, ReleaseStatus, STATUS_FORMAT, Status};
use hotshoe_trust::Time;

use super::Service;
use crate::hardware::hardware;

impl Service {
    /// Why no release serves. `None` if one does.
    pub fn not_ready(&self) -> Option<String> {
        if self.serving.load().is_some() {
            return None;
        }
        Some(match self.published_status.view().cannot_serve {
            Some(cause) => format!("no release serves: the live release cannot serve ({cause})"),
            None => "no release serves: the device waits for its first one".to_owned(),
        })
    }

    /// The current status.
    pub fn status(&self) -> Status {
        let serving = self.serving.load();
        let health = serving.as_ref().map(|served| served.observer().seen());
        let mut view = self.published_status.view();
        let config = self.running.config();
        if let (Some(trial), Some(seen)) = (&mut view.slots.trial, &health) {
            trial.samples = seen.all.samples;
            if let Some(judged) = view.judged.take() {
                trial.samples = seen.of(&judged).samples;
                trial.is_paused = judged != self.variation();
                trial.mode = judged.mode;
            }
            trial.seconds = view
                .probation_since
                .map_or(0, |since| self.clock.elapsed(since).as_secs());
        }
        Status {
            format: STATUS_FORMAT,
            site: self.identity.site.clone(),
            device: self.identity.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels: self.identity.labels.clone(),
            hardware: Some(hardware().clone()),
            release: serving.as_ref().map(|s| ReleaseStatus::of(s.release())),
            cannot_serve: view.cannot_serve.filter(|_| serving.is_none()),
            slots: view.slots,
            deploy: view.deploy,
            rollouts: view.rollouts,
            kinds: view.kinds,
            deferral: view.deferral.map(str::to_owned),
            last_rollback: view.last_rollback,
            health: health.map(|seen| seen.all),
            trust_version: view.trust_version,
            development: config.development,
            key: self.link.key().and_then(KeyStatus::of),
            swaps: view.swaps,
            rollbacks: view.rollbacks,
            refused: view.refused,
            ignored: view.ignored,
            last_swap_ns: view.last_swap_ns,
            stale: view.stale,
            uptime_s: self.clock.elapsed(self.started).as_secs(),
            workers: self.worker_slots.len(),
            queue: QueueStatus {
                len: self.queue.len(),
                capacity: self.queue.capacity(),
                policy: config.intake.when_full.name().to_owned(),
            },
            counters: self.tally.snapshot(),
            stages: self.latency.snapshot(),
            models: serving
                .as_ref()
                .map(|served| served.pipeline().model_status())
                .unwrap_or_default(),
            components: serving
                .as_ref()
                .map(|served| served.component_status(self.clock.now()))
                .unwrap_or_default(),
            memory: view.memory.as_ref().map(crate::memory::status),
            session: self.link.status(),
            same_name: self.link.same_name(),
            time: Time::try_from(self.clock.wall()).ok(),
            parts: self.link.parts().list(),
            log: crate::log::status(),
            reload: self.running.last(),
            watch: self
                .failed_files
                .as_ref()
                .map(|failed_files| failed_files.status()),
            audit: view.audit,
            kept_back: self.kept_back.snapshot(),
            outbox: self.outbox.as_ref().map(|outbox| outbox.status()),
            telemetry: self.trace_tap.status(),
            private_telemetry: self.private_telemetry.get().map(|figures| figures.status()),
            governor: self.published_status.governor(),
            drift: serving
                .as_ref()
                .and_then(|served| Some(served.drift()?.status())),
            alerts: self.published_status.alerts(),
            events: self.published_status.events().recent(),
        }
    }
}
