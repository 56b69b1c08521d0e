//! The rollouts that this device is a member of: what is stated about them, and what the device has reported.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use hotshoe_delivery::RolloutFile;
use hotshoe_drift::Source;
use hotshoe_protocol::rollout::StatedRollout;
use hotshoe_protocol::status::{DriftStatus, Observed as Counted};
use hotshoe_rollout::{
    Arm, ArmFigures, Deferral, Health, Placement, Received, Reporting, Rollout, RolloutError,
    Rollouts, place,
};
use hotshoe_store::Phase;
use hotshoe_trust::{Device, Digest, Time, TrustRoot};

use crate::command::CommandError;
use crate::deploy::statement::refuse;
use crate::serving::WantedMetric;
use crate::serving::latency::float;

/// Pause before a reversal that failed is tried again.
pub(super) const REVERSAL_PAUSE: Duration = Duration::from_secs(10);

/// A rollout in which the device is a member.
pub(super) struct Member {
    /// Its place.
    pub placement: Placement,
    /// Its reports.
    pub reporting: Reporting,
    /// How the plan's release ended on this device before it was verified, with the stable name of the cause.
    pub ended: Option<(Phase, String)>,
    /// How the release before it served.
    pub baseline: Health,
    /// The value of the metric of a comparison, once it is known.
    pub metric: ArmFigures,
    /// Why the device could not go back, and when it tries again.
    pub cannot_go_back: Option<(String, Option<Instant>)>,
    plan: Digest,
}

/// Owns what the device knows of rollouts.
pub(super) struct DeviceRollouts {
    file: RolloutFile,
    rollouts: Rollouts,
    /// By the name of the release.
    members: BTreeMap<String, Member>,
    /// Why the device puts a new release off, and when that was looked at.
    deferral: Option<(Option<Deferral>, Instant)>,
}

impl DeviceRollouts {
    /// Takes over what was known before the start.
    pub(super) fn open(data: &Path, trust: &TrustRoot, device: &Device, now: Time) -> Self {
        let (file, stored) = RolloutFile::open(data, trust, now);
        let mut own = Self {
            file,
            rollouts: stored.rollouts,
            members: BTreeMap::new(),
            deferral: None,
        };
        own.follow(device);
        own
    }

    /// Takes what is stated about a rollout. Returns what changed, if anything.
    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        trust: &TrustRoot,
        device: &Device,
        now: Time,
    ) -> Result<Option<Received>, CommandError> {
        let stated = StatedRollout::parse(bytes);
        let stated = stated.map_err(|error| refuse(error.name(), super::chain(&error)))?;
        let refused = |error: RolloutError| refuse(error.name(), super::chain(&error));
        let received = self
            .rollouts
            .receive(&stated.plan, &stated.statements, trust, now);
        let mut received = received.map_err(refused)?;
        let refused = received.refused.take().map(refused);
        if received.is_changed {
            self.follow(device);
            self.save();
        }
        match refused {
            Some(error) if !received.is_changed => Err(error),
            _ => Ok(received.is_changed.then_some(received)),
        }
    }

    /// Other keys are trusted: what they do not sign is forgotten.
    pub(super) fn verify_again(&mut self, trust: &TrustRoot, device: &Device) {
        self.rollouts = self.rollouts.verified_by(trust);
        self.follow(device);
        self.save();
    }

    /// Finds the device's place in each rollout. Those that are for others are known too, so that no older plan of their name comes back.
    fn follow(&mut self, device: &Device) {
        self.members
            .retain(|name, _| self.rollouts.get(name).is_some());
        for rollout in self.rollouts.iter() {
            let plan = rollout.plan();
            let Some(placement) = place(plan, device) else {
                self.members.remove(&plan.name);
                continue;
            };
            let known = self.members.get(&plan.name);
            if known.is_some_and(|member| member.plan == plan.digest()) {
                continue;
            }
            // Numbers of reports go on over the plans of one run.
            let reporting = known.map(|member| member.reporting.clone());
            let member = Member {
                placement,
                reporting: reporting.unwrap_or_else(|| Reporting::since(self.file.run())),
                ended: None,
                baseline: Health::default(),
                metric: ArmFigures::default(),
                cannot_go_back: None,
                plan: plan.digest(),
            };
            tracing::info!(
                name = plan.name,
                generation = plan.generation,
                stage = placement.stage,
                "the device is a member of a rollout"
            );
            self.members.insert(plan.name.clone(), member);
        }
    }

    fn save(&self) {
        if let Err(error) = self.file.save(&self.rollouts, &[]) {
            tracing::error!(
                cause = super::chain(&error),
                "cannot store the rollouts that are known; after a restart, the device asks for them again"
            );
        }
    }

    /// The names of the releases whose rollouts the device is a member of.
    pub(super) fn names(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// A rollout with what the device did about it.
    pub(super) fn get(&self, name: &str) -> Option<(&Rollout, &Member)> {
        Some((self.rollouts.get(name)?, self.members.get(name)?))
    }

    /// The same, to change what the device did about it.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<(&Rollout, &mut Member)> {
        Some((self.rollouts.get(name)?, self.members.get_mut(name)?))
    }

    /// Notes that a release was refused before it was verified.
    pub(super) fn refused(&mut self, release: Digest, cause: &str) {
        for (name, member) in &mut self.members {
            let plan = self.rollouts.get(name).map(|rollout| rollout.plan());
            if plan.is_some_and(|plan| plan.release == release) {
                member.ended = Some((Phase::Refused, cause.to_owned()));
            }
        }
    }

    /// Forgets that a release was refused.
    pub(super) fn forgive(&mut self, release: Digest) {
        for (name, member) in &mut self.members {
            let plan = self.rollouts.get(name).map(|rollout| rollout.plan());
            if plan.is_some_and(|plan| plan.release == release) {
                member.ended = None;
            }
        }
    }

    /// Why the device puts a new release off, looked at no more than once in a second.
    pub(super) fn deferral(
        &mut self,
        now: Instant,
        look: impl FnOnce() -> Option<Deferral>,
    ) -> Option<Deferral> {
        let is_new = |at: &Instant| now.saturating_duration_since(*at) < Duration::from_secs(1);
        if let Some((deferral, at)) = &self.deferral
            && is_new(at)
        {
            return *deferral;
        }
        let deferral = look();
        self.deferral = Some((deferral, now));
        deferral
    }
}

impl Member {
    /// What this device collects of the insights of the release that serves, for the comparison of the plan. `None` if there is none, if it
    /// has not begun on this device, or if the device has its value.
    pub(super) fn wanted_metric(&self, rollout: &Rollout, serves: Digest) -> Option<WantedMetric> {
        let plan = rollout.plan();
        let compare = plan.compare.as_ref()?;
        let stage = self.placement.stage;
        let is_compared = stage <= compare.through_stage && stage <= rollout.control().stage();
        let release = match self.placement.arm {
            Arm::New => plan.release,
            Arm::Kept => plan.previous,
        };
        if !is_compared || self.metric.samples > 0 || release != serves {
            return None;
        }
        // A metric that the daemon does not know gives no value.
        let source: Source = compare.metric.parse().ok()?;
        Some(WantedMetric {
            plan: plan.digest(),
            release,
            source,
            samples: compare.samples,
        })
    }
}

/// How a release served: its counts, the mean energy of a sample, and its drift. Of the latency, a device says its p95 alone.
pub(super) fn health(
    counted: &Counted,
    joules_per_sample: Option<f64>,
    drift: Option<&DriftStatus>,
) -> Health {
    let mut health = Health {
        samples: counted.samples,
        errors: counted.errors,
        traps: counted.traps,
        ..Health::default()
    };
    if let Some(p95_us) = counted.p95_us {
        let p95_ms = float(p95_us) / 1e3;
        health.latency_ms.add_of(p95_ms, counted.samples);
    }
    if let Some(joules) = joules_per_sample {
        health.energy_mj.add_of(joules * 1e3, counted.samples);
    }
    if let Some((drift, ratio)) = drift.and_then(|it| Some((it, it.ratio?))) {
        // Without those of the window that has not ended.
        let judged = drift.measured.saturating_sub(drift.samples);
        health.drift_permille.add_of(ratio * 1e3, judged);
    }
    health
}
