//! The deploy thread's reports: status, events over Zenoh, metrics, log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_audit::{Actor, AuditKind};
use hotshoe_base::Clock;
use hotshoe_delivery::FetchWait;
use hotshoe_egress::Classifier;
use hotshoe_link::Link;
use hotshoe_protocol::event::{self, EventCause, KnownKind};
use hotshoe_protocol::rollout::DeviceReport;
use hotshoe_protocol::status::{DeployEvent, KindStatus, WaitReason};
use hotshoe_rollout::SignedPlan;
use hotshoe_store::{Cause, Phase, Slot};
use hotshoe_trust::{Digest, NewTrust, Order, ReleaseKind};
use parking_lot::Mutex;
use serde_json::Value;

use crate::audit::{AuditRecorder, SIGNERS};
use crate::command::{Command, CommandError};
use crate::deploy::name_monitor::NameMonitor;
use crate::deploy::wall_time;
use crate::serving::{DeployView, PublishedStatus};

/// Least time between two events of one frequent kind, in milliseconds.
const PROGRESS_MS: u64 = 250;

/// The subject of a report: a release, as the statement claims it until it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// The digest of its manifest.
    pub release: Digest,
    /// Its name.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// The digest of the newest statement that wants it, where one is known.
    pub statement: Option<Digest>,
}

impl Subject {
    /// The release in a slot.
    pub(super) fn of(slot: &Slot) -> Self {
        Self {
            release: slot.release,
            name: slot.name.clone(),
            generation: slot.generation,
            statement: None,
        }
    }
}

/// Publishes reports. Shared with the thread that fetches.
pub(super) struct Reporter {
    published_status: Arc<PublishedStatus>,
    link: Arc<Link>,
    site: String,
    device: String,
    clock: Clock,
    progress: Mutex<Option<Instant>>,
    displaced: Mutex<Option<Instant>>,
}

impl Reporter {
    pub(super) fn new(
        published_status: Arc<PublishedStatus>,
        link: Arc<Link>,
        site: String,
        device: String,
        clock: Clock,
    ) -> Self {
        Self {
            published_status,
            link,
            site,
            device,
            clock,
            progress: Mutex::new(None),
            displaced: Mutex::new(None),
        }
    }

    /// The published status.
    pub(super) fn published_status(&self) -> &PublishedStatus {
        &self.published_status
    }

    /// Number of connected peers.
    pub(super) fn peers(&self) -> usize {
        self.link.status().peers
    }

    /// Reports the start of a fetch of a package, if it is the first.
    pub(super) fn begins(&self, subject: &Subject) {
        let deploy = self.published_status.view().deploy;
        if deploy.release != Some(subject.release) || deploy.phase != Phase::Fetching {
            self.phase(subject, Phase::Fetching, None);
        }
    }

    /// Reports a new phase of a release.
    pub(super) fn phase(&self, subject: &Subject, phase: Phase, cause: Option<Cause>) {
        self.phase_with(subject, phase, cause, &[], |_| {});
    }

    /// The same for a release without a pipeline, with its kind's part of the status.
    pub(super) fn phase_of_kind(
        &self,
        subject: &Subject,
        phase: Phase,
        cause: Option<Cause>,
        (kind, status): (ReleaseKind, KindStatus),
    ) {
        self.phase_with(subject, phase, cause, &[], |view| {
            view.kinds.insert(kind, status);
        });
    }

    /// Reports that a release was verified, and which keys signed it.
    pub(super) fn verified(&self, subject: &Subject, signers: &[String]) {
        let details = [(SIGNERS, signers.into())];
        self.phase_with(subject, Phase::Verified, None, &details, |_| {});
    }

    /// Reports the last phase before the start again.
    pub(super) fn resumed(&self, subject: &Subject, phase: Phase, cause: Option<Cause>) {
        self.phase_with(subject, phase, cause, &[("resumed", true.into())], |_| {});
    }

    fn phase_with(
        &self,
        subject: &Subject,
        phase: Phase,
        cause: Option<Cause>,
        details: &[(&str, Value)],
        also: impl FnOnce(&mut DeployView),
    ) {
        let mut before = phase;
        let mut bytes = (0, 0);
        self.published_status.change(|view| {
            before = view.deploy.phase;
            let deploy = &mut view.deploy;
            if deploy.release != Some(subject.release) || phase == Phase::Fetching {
                (deploy.fetched, deploy.total) = (0, 0);
            }
            deploy.phase = phase;
            deploy.release = Some(subject.release);
            deploy.name = Some(subject.name.clone());
            deploy.generation = Some(subject.generation);
            deploy.cause = cause.clone();
            deploy.waiting = None;
            bytes = (deploy.fetched, deploy.total);
            also(view);
        });
        crate::metrics::phase(before, phase);
        self.record(KnownKind::of(phase), subject, cause.clone(), details);
        self.publish(subject, phase, bytes, cause);
    }

    /// Reports what a release waits for, if it is the one in the status.
    pub(super) fn waiting(&self, subject: &Subject, waiting: WaitReason) {
        self.published_status.change(|view| {
            if view.deploy.release == Some(subject.release) {
                view.deploy.waiting = Some(waiting);
            }
        });
    }

    /// Tells the publisher of a release that another one takes its place, before it was verified. The status stays that of the other.
    pub(super) fn displaced(&self, subject: &Subject, cause: Cause) {
        let mut last = self.displaced.lock();
        // Unsigned statements can come in floods.
        let interval = Duration::from_millis(PROGRESS_MS);
        if last.is_some_and(|last| self.clock.elapsed(last) < interval) {
            return;
        }
        *last = Some(self.clock.now());
        drop(last);
        self.tell_displaced(subject, cause);
    }

    /// As [`Self::displaced`], each time: the release that takes the place is verified, so that there is no flood.
    pub(super) fn tell_displaced(&self, subject: &Subject, cause: Cause) {
        tracing::info!(name = subject.name, generation = subject.generation, %cause, "a statement is not followed");
        self.publish(subject, Phase::Absent, (0, 0), Some(cause));
    }

    /// Reports a failed attempt that will be retried.
    pub(super) fn retry(&self, subject: &Subject, cause: Cause) {
        self.record(KnownKind::ReleaseRetried, subject, Some(cause.clone()), &[]);
        self.published_status.change(|view| {
            if view.deploy.release == Some(subject.release) {
                view.deploy.cause = Some(cause);
                view.deploy.waiting = Some(WaitReason::Retry);
            }
        });
    }

    /// Reports the duration of a swap of the release that serves.
    pub(super) fn swapped(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.published_status
            .change(|view| view.last_swap_ns = Some(nanos));
    }

    /// Counts a trial that has begun.
    pub(super) fn trial_begun(&self) {
        self.published_status.change(|view| view.swaps += 1);
        metrics::counter!("hotshoe_swaps_total").increment(1);
    }

    /// Counts a trial that was rolled back.
    pub(super) fn trial_rolled_back(&self) {
        metrics::counter!("hotshoe_rollbacks_total").increment(1);
        self.published_status.change(|view| view.rollbacks += 1);
    }

    /// Reports fetched bytes, and what the fetch waits for, if nothing has arrived for a while.
    pub(super) fn progress(
        &self,
        subject: &Subject,
        fetched: u64,
        total: u64,
        waits: Option<Cause>,
    ) {
        self.published_status.change(|view| {
            let deploy = &mut view.deploy;
            if deploy.release != Some(subject.release) {
                return;
            }
            (deploy.fetched, deploy.total) = (fetched, total);
            // The cause of a failed attempt stays until there is a newer one.
            let is_wait = |cause: &Cause| FetchWait::is_name(&cause.name);
            if waits.is_some() || deploy.cause.as_ref().is_some_and(is_wait) {
                deploy.cause = waits;
            }
        });
        let mut last = self.progress.lock();
        let interval = Duration::from_millis(PROGRESS_MS).max(self.published_status.interval());
        let due = last.is_none_or(|last| self.clock.elapsed(last) >= interval);
        if due || fetched == total {
            *last = Some(self.clock.now());
            drop(last);
            self.publish(subject, Phase::Fetching, (fetched, total), None);
        }
    }

    /// Reports a refused or failed release, with its phase.
    pub(super) fn refused(&self, subject: &Subject, phase: Phase, cause: Cause) {
        metrics::counter!("hotshoe_refused_total", "reason" => cause.name.clone()).increment(1);
        self.published_status
            .change(|view| count(&mut view.refused, &cause.name));
        self.phase(subject, phase, Some(cause));
    }

    /// Counts a statement or order that is ignored. There is no event, because there may be floods of them.
    pub(super) fn ignored(&self, reason: &str) {
        self.ignored_as(AuditKind::StatementRefused, reason);
    }

    /// As [`Self::ignored`], with another kind of audit record.
    pub(super) fn ignored_as(&self, kind: AuditKind, reason: &str) {
        tracing::debug!(reason, "ignored a statement");
        if let Some(audit) = self.audit() {
            let by = Actor::Deployer { keys: Vec::new() };
            let entry = audit.entry(kind).by(by).with("reason", reason);
            audit.record_limited(entry, reason, 1);
        }
        self.published_status
            .change(|view| count(&mut view.ignored, reason));
    }

    /// Reports that the live release cannot serve, and that no other one can.
    pub(super) fn cannot_serve(&self, subject: &Subject, cause: Cause) {
        self.phase(subject, Phase::Failed, Some(cause.clone()));
        self.record(
            KnownKind::NoReleaseServes,
            subject,
            Some(cause.clone()),
            &[],
        );
        self.published_status
            .change(|view| view.cannot_serve = Some(cause));
    }

    /// Reports that the daemon kept ending with a live release, and the generation that serves in its place.
    pub(super) fn crash_loop(&self, subject: &Subject, cause: Cause, serves: Option<&Slot>) {
        let serves = serves.map(|slot| format!("{} {}", slot.name, slot.generation));
        let serves = serves.unwrap_or_else(|| "none".to_owned());
        let details = [("serves", serves.into())];
        self.record(KnownKind::CrashLoop, subject, Some(cause), &details);
    }

    /// Reports that the serving release drifts, and that the previous one cannot serve in its place.
    pub(super) fn drift_fallback_failed(&self, error: &CommandError) {
        let cause = EventCause::new(error.name(), super::chain(error));
        let events = self.published_status.events();
        let device = event::Subject::Device;
        events.record(KnownKind::DriftFallbackFailed, device, Some(cause), &[]);
    }

    /// Records an operator's command, and how it was refused.
    pub(super) fn command(&self, command: &Command, refused: Option<&CommandError>) {
        let Some(audit) = self.audit() else {
            return;
        };
        if *command == Command::History {
            return;
        }
        let outcome = refused.map_or("done", CommandError::name);
        let entry = audit.entry(AuditKind::Command).by(Actor::Operator);
        audit.record(command.described(entry).with("outcome", outcome));
    }

    /// Records an order that was carried out.
    pub(super) fn order(&self, order: &Order, signers: Vec<String>) {
        if let Some(audit) = self.audit() {
            let by = Actor::Deployer { keys: signers };
            let entry = audit.entry(AuditKind::Order).by(by);
            let entry = entry.with("order", order.kind());
            audit.record(entry.with("release", order.release().to_string()));
        }
    }

    /// Records a change of a rollout that this device is a member of.
    pub(super) fn rollout_stated(&self, plan: &SignedPlan, step: &str, stage: u32) {
        let digest = plan.digest().to_string();
        tracing::info!(
            name = plan.name,
            rollout = digest,
            step,
            stage,
            "a rollout has changed"
        );
        if let Some(audit) = self.audit() {
            let by = Actor::Deployer { keys: Vec::new() };
            let entry = audit.entry(AuditKind::Order).by(by);
            let entry = entry.with("order", format!("rollout-{step}"));
            let entry = entry.with("stage", stage.to_string());
            let entry = entry.with("rollout", digest);
            audit.record(entry.with("release", plan.release.to_string()));
        }
    }

    /// Publishes the state of the device in a rollout; whether it is on its way.
    pub(super) fn rollout_report(&self, said: &DeviceReport) -> bool {
        self.link
            .publish_rollout_report(said)
            .inspect_err(|error| tracing::debug!(%error, "cannot publish a report"))
            .is_ok()
    }

    /// Records that the trusted keys were replaced, and which keys of both versions signed that.
    pub(super) fn trust_replaced(&self, new: &NewTrust) {
        if let Some(audit) = self.audit() {
            let keys = new.root.keys().map(|key| key.name().to_owned());
            let mut entry = audit
                .entry(AuditKind::TrustReplaced)
                .by(Actor::Deployer {
                    keys: new.signers.clone(),
                })
                .with("new_signers", new.new_signers.join(" "))
                .with("version", new.root.version().to_string())
                .with("keys", keys.collect::<Vec<_>>().join(" "))
                .with("digest", Digest::of(new.text.as_bytes()).to_string());
            for (name, generation) in &new.resets {
                entry = entry.with(&format!("reset {name}"), generation.to_string());
            }
            audit.record(entry);
        }
    }

    fn audit(&self) -> Option<&AuditRecorder> {
        self.published_status.events().audit()
    }

    /// Reports that no peer is connected.
    pub(super) fn no_peers(&self, cause: &str, message: &str) {
        let cause = EventCause::new(cause, message);
        let events = self.published_status.events();
        let device = event::Subject::Device;
        events.record(KnownKind::PeersLost, device, Some(cause), &[]);
    }

    /// Reports other daemons with this device's name, if that has changed.
    pub(super) fn same_name(&self, monitor: &mut NameMonitor) {
        let changed = monitor.check(self.link.same_name(), &self.site, &self.device);
        if let Some((kind, cause)) = changed {
            let events = self.published_status.events();
            events.record(kind, event::Subject::Device, cause, &[]);
        }
    }

    fn record(
        &self,
        kind: KnownKind,
        subject: &Subject,
        cause: Option<Cause>,
        details: &[(&str, Value)],
    ) {
        let release = event::Subject::Release {
            name: subject.name.clone(),
            generation: subject.generation,
            digest: subject.release,
        };
        let cause = cause.map(EventCause::from);
        let events = self.published_status.events();
        events.record(kind, release, cause, details);
    }

    fn publish(&self, subject: &Subject, phase: Phase, bytes: (u64, u64), cause: Option<Cause>) {
        let event = DeployEvent {
            site: self.site.clone(),
            device: self.device.clone(),
            release: subject.release,
            name: subject.name.clone(),
            generation: subject.generation,
            phase,
            fetched: bytes.0,
            total: bytes.1,
            cause,
            statement: subject.statement,
            at: wall_time(&self.clock),
        };
        if let Err(error) = self.link.publish_event(Classifier::host(&event)) {
            tracing::debug!(%error, "cannot publish an event");
        }
    }
}

/// Increments the count of a name.
fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    *counts.entry(name.to_owned()).or_default() += 1;
}
