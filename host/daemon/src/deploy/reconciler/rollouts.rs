//! Rollouts: a plan becomes an ordinary wanted release, and what the device does is reported by the phase of that release.

use hotshoe_protocol::rollout::DeviceReport;
use hotshoe_protocol::status::RolloutStatus;
use hotshoe_rollout::{
    Deferral, Directive, Health, Observed, Plan, Situation, State, Wanted, judge, progress, project,
};
use hotshoe_store::{Cause, Phase};
use hotshoe_trust::ReleaseKind;

use super::Reconciler;
use crate::command::CommandError;
use crate::deploy::kinds::KindReleases;
use crate::deploy::package_queue::WantedRelease;
use crate::deploy::pending_release::PendingRelease;
use crate::deploy::reporter::{Reporter, Subject};
use crate::deploy::rollouts::{Member, REVERSAL_PAUSE, health};
use crate::deploy::serving::Serving;
use crate::hardware::hardware;

/// Most rollouts in the status.
const MAX_SHOWN: usize = 16;
/// The message of what an abort or a reversal ends.
const BY_ROLLOUT: &str = "by the rollout";

impl Reconciler {
    /// Handles what is stated about a rollout.
    pub(super) fn on_rollout(&mut self, bytes: &[u8]) {
        let (trust, now) = (self.loader.trust(), self.time());
        let device = self.loader.device();
        let heard = self.rollouts.hear(bytes, &trust, device, now);
        let received = match heard {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(error) => return self.reporter.ignored(error.name()),
        };
        if let Some((rollout, _)) = self.rollouts.get(&received.name) {
            let step = match rollout.control().directive() {
                Directive::Run => "run",
                Directive::Pause(_) => "pause",
                Directive::Abort(_) => "abort",
                Directive::Reverse(_) => "reverse",
            };
            let stage = rollout.control().stage();
            self.reporter.rollout_stated(rollout.plan(), step, stage);
        }
        self.follow_rollouts();
    }

    /// Does what each rollout wants of this device now, and reports it.
    pub(super) fn follow_rollouts(&mut self) {
        let deferral = self.deferral().map(Deferral::as_str);
        let published_status = self.reporter.published_status();
        published_status.change(|view| view.deferral = deferral);
        let mut is_changed = false;
        for name in self.rollouts.names() {
            let Some((wanted, phase)) = self.judge_rollout(&name) else {
                continue;
            };
            match wanted {
                Wanted::Begin => self.begin_rollout(&name),
                Wanted::Cancel => self.cancel_rollout(&name, phase),
                Wanted::GoBack => self.reverse_rollout(&name),
                Wanted::CannotGoBack => {
                    if let Some((_, member)) = self.rollouts.get_mut(&name) {
                        member.cannot_go_back = Some(("no_previous".to_owned(), None));
                    }
                }
                Wanted::Nothing | Wanted::Wait { .. } | Wanted::GoOn => {}
            }
            is_changed |= self.report_rollout(&name);
        }
        self.follow_comparisons();
        if is_changed {
            self.show_rollouts();
        }
    }

    /// Collects the metric of a comparison of the release that serves, and reports it once it is known.
    fn follow_comparisons(&mut self) {
        let current = self.serving.current();
        let serves = current.map(|current| current.release().digest());
        let mut wanted = None;
        for name in self.rollouts.names() {
            let Some((rollout, member)) = self.rollouts.get_mut(&name) else {
                continue;
            };
            let of_member = serves.and_then(|serves| member.wanted_metric(rollout, serves));
            let Some(of_member) = of_member else {
                continue;
            };
            match self.serving.metric(of_member.plan) {
                Some(mean) => {
                    member.metric.add(mean);
                    member.reporting.repeat();
                }
                // One release serves, so that a second plan waits for the first.
                None => wanted = wanted.or(Some(of_member)),
            }
        }
        self.serving.want_metric(wanted.as_ref());
    }

    /// Shows the rollouts in the status.
    pub(super) fn show_rollouts(&mut self) {
        let deferral = self.deferral();
        let names = self.rollouts.names();
        let known = names.iter().filter_map(|name| self.rollouts.get(name));
        let shown = known.take(MAX_SHOWN).map(|(rollout, member)| {
            let plan = rollout.plan();
            let (state, cause) = self.stated(plan, member, deferral);
            RolloutStatus {
                name: plan.name.clone(),
                generation: plan.generation,
                rollout: plan.digest(),
                number: plan.rollout,
                stage: member.placement.takes_at(plan),
                state: state.as_str().to_owned(),
                cause: Some(cause).filter(|cause| !cause.is_empty()),
            }
        });
        let shown: Vec<RolloutStatus> = shown.collect();
        self.reporter
            .published_status()
            .change(|view| view.rollouts = shown);
    }

    /// The state of the device in a rollout, with the stable name of the cause.
    fn stated(&self, plan: &Plan, member: &Member, deferral: Option<Deferral>) -> (State, String) {
        let (phase, cause) = self.progress(plan, member);
        match (project(phase, deferral), deferral) {
            (State::Deferred, Some(deferral)) => (State::Deferred, deferral.as_str().to_owned()),
            (state, _) => (state, cause),
        }
    }

    fn judge_rollout(&mut self, name: &str) -> Option<(Wanted, Phase)> {
        let deferral = self.deferral();
        let (rollout, member) = self.rollouts.get(name)?;
        let plan = rollout.plan();
        let (phase, _) = self.progress(plan, member);
        let previous = match ReleaseKind::of_name(name) {
            ReleaseKind::Pipeline => self.ledger.ledger().previous.as_ref(),
            kind => self.kinds.get(&kind).and_then(KindReleases::previous),
        };
        let situation = Situation {
            phase,
            deferral,
            has_previous: previous.is_some_and(|slot| slot.release == plan.previous),
            now: self.time(),
        };
        let wanted = judge(plan, rollout.control(), &member.placement, &situation);
        Some((wanted, phase))
    }

    /// The phase of the plan's release on this device, and the stable name of the cause.
    fn progress(&self, plan: &Plan, member: &Member) -> (Phase, String) {
        let kind = ReleaseKind::of_name(&plan.name);
        if kind != ReleaseKind::Pipeline {
            let releases = self.kinds.get(&kind);
            let known = releases
                .and_then(|it| it.progress(plan))
                .or_else(|| member.ended.clone());
            return known.unwrap_or_else(|| (Phase::Absent, String::new()));
        }
        let is_it = |pending: &&PendingRelease| pending.digest() == plan.release;
        let pending = self.pending.as_ref().filter(is_it);
        let working = pending.map(PendingRelease::phase);
        let cannot = member.cannot_go_back.as_ref();
        match (progress(plan, self.ledger.ledger(), working), cannot) {
            (Some((Phase::Live, _)), Some((cause, _))) => (Phase::Live, cause.clone()),
            (Some((phase, cause)), _) => (phase, cause.to_owned()),
            (None, _) if self.admission.is_waiting(plan.release) => {
                (Phase::Fetching, String::new())
            }
            (None, _) => {
                let ended = member.ended.clone();
                ended.unwrap_or_else(|| (Phase::Absent, String::new()))
            }
        }
    }

    /// Why the device puts a new release off.
    fn deferral(&mut self) -> Option<Deferral> {
        let is_open = self.config.deploy.may_activate(self.time());
        let (reporter, alerts) = (&self.reporter, &self.config.alerts);
        self.rollouts.deferral(self.clock.now(), || {
            if !is_open {
                return Some(Deferral::Window);
            }
            let sensors = reporter.published_status().governor()?.sensors;
            let percent = sensors.charge_ratio? * 100.0;
            let low = u32::try_from(alerts.battery_warning_percent).unwrap_or(u32::MAX);
            let is_low = percent <= f64::from(low) && sensors.mains != Some(true);
            is_low.then_some(Deferral::Battery)
        })
    }

    /// Wants the release of the plan, as a statement that deploys and activates it does.
    fn begin_rollout(&mut self, name: &str) {
        let Some((rollout, _)) = self.rollouts.get(name) else {
            return;
        };
        let plan = rollout.plan();
        let (issued, now) = (plan.issued, self.time());
        let mut wanted = WantedRelease {
            subject: Subject {
                release: plan.release,
                name: plan.name.clone(),
                generation: plan.generation,
                statement: Some(plan.digest()),
            },
            bundles: plan.bundles.clone(),
            activate: true,
            issued,
            signed: true,
        };
        let refused = match ReleaseKind::of_name(name) {
            ReleaseKind::Pipeline => {
                wanted.issued = self.admission.counts_from(issued, now);
                let ledger = self.ledger.ledger();
                match self.admission.is_displaced(wanted.issued, ledger) {
                    // Another deployer's statement is newer than the plan.
                    true => Some("superseded"),
                    false => self.want(&wanted),
                }
            }
            kind => self.want_kind(kind, &mut wanted),
        };
        let baseline = counted(&self.serving, &self.reporter);
        if let Some((_, member)) = self.rollouts.get_mut(name) {
            member.baseline = baseline;
            if let Some(cause) = refused {
                member.ended = Some((Phase::Refused, cause.to_owned()));
            }
        }
    }

    /// Cancels the release of a rollout that ended, or rolls back its trial.
    fn cancel_rollout(&mut self, name: &str, phase: Phase) {
        let Some((rollout, _)) = self.rollouts.get(name) else {
            return;
        };
        let release = rollout.plan().release;
        let kind = ReleaseKind::of_name(name);
        if kind != ReleaseKind::Pipeline {
            return self.end_kind(kind, release, Cause::new("rollout_ended", BY_ROLLOUT));
        }
        if phase == Phase::Trial {
            if self.trial.is_running() {
                self.roll_back(Cause::new("rollout_ended", BY_ROLLOUT));
            }
            return;
        }
        if let Err(error) = self.cancel_release(Some(release), BY_ROLLOUT) {
            tracing::debug!(%error, "the release of a rollout cannot be cancelled");
        }
    }

    /// Goes back to the previous release of the plan. The threshold signed that, so that the floor does not matter; it stays.
    fn reverse_rollout(&mut self, name: &str) {
        let now = self.clock.now();
        let kind = ReleaseKind::of_name(name);
        if kind != ReleaseKind::Pipeline {
            return self.reverse_kind(kind, name);
        }
        let Some((rollout, member)) = self.rollouts.get(name) else {
            return;
        };
        let waits = member.cannot_go_back.as_ref().and_then(|(_, until)| *until);
        // A trial of another release, or a transition that is not written, ends first.
        let is_busy = self.trial.is_running() || !self.ledger.is_settled();
        if is_busy || waits.is_some_and(|until| now < until) {
            return;
        }
        let plan = rollout.plan();
        let previous = self.ledger.ledger().previous.clone();
        let Some(previous) = previous.filter(|slot| slot.release == plan.previous) else {
            return;
        };
        let message = format!("rollout {} is reversed", plan.digest());
        let cause = Cause::new("rollout_reversed", message);
        let done = self.restore_previous(&previous, cause);
        if let Err(error) = &done {
            tracing::error!(
                cause = crate::deploy::chain(error),
                "the device cannot go back to the previous release; will try again"
            );
        }
        if let Some((_, member)) = self.rollouts.get_mut(name) {
            let failed = done
                .err()
                .map(|error: CommandError| error.name().to_owned());
            member.cannot_go_back = failed.map(|cause| (cause, Some(now + REVERSAL_PAUSE)));
        }
    }

    /// Reports the state of the device in a rollout, if that is due; whether it was.
    fn report_rollout(&mut self, name: &str) -> bool {
        let deferral = self.deferral();
        let Some((rollout, member)) = self.rollouts.get(name) else {
            return false;
        };
        let (state, cause) = self.stated(rollout.plan(), member, deferral);
        let (now, serving, reporter) = (self.time(), &self.serving, &self.reporter);
        let Some((rollout, member)) = self.rollouts.get_mut(name) else {
            return false;
        };
        let (baseline, metric) = (&member.baseline, member.metric);
        let observe = || Observed {
            health: match state {
                State::Trial | State::Confirmed => counted(serving, reporter),
                _ => Health::default(),
            },
            baseline: baseline.clone(),
            metric,
            ..Observed::of(state, &cause)
        };
        let (plan, reporting) = (rollout.plan(), &mut member.reporting);
        let Some(report) = reporting.due(plan, state, &cause, now, observe) else {
            return false;
        };
        let class = hardware().class.clone();
        let labels = self.loader.device().labels.clone();
        let said = DeviceReport::new(class, report).labelled(labels);
        let is_sent = self.reporter.rollout_report(&said);
        let member = self.rollouts.get_mut(name).filter(|_| !is_sent);
        if let Some((_, member)) = member {
            member.reporting.repeat();
        }
        true
    }
}

/// How the serving release serves in the mode in force.
fn counted(serving: &Serving, reporter: &Reporter) -> Health {
    let Some(current) = serving.current() else {
        return Health::default();
    };
    let governor = reporter.published_status().governor();
    let joules_per_sample = governor.and_then(|governor| governor.joules_per_sample);
    let drift = current.drift().map(|watch| watch.status());
    let seen = current.observer().seen().of(&serving.in_force());
    health(&seen, joules_per_sample, drift.as_ref())
}
