//! The rounds of the governor's thread: sensors and figures, a plan, and what follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::GovernorConfig;
use hotshoe_engine::MeasuredMode;
use hotshoe_infer::Backend;
use hotshoe_pipeline::{Governor, ModeFigures};
use hotshoe_protocol::status::{GovernorFailure, GovernorStatus, ModeStatus, WaitStatus};
use hotshoe_senses::{
    Because, LadderLimits, Places, Plan, Reading, Rest, Sample, Sampler, SignedModes, Waiting, Wish,
};
use hotshoe_trust::{Digest, Release};

use super::decider::{Decider, Rules};
use super::outputs::{Outputs, Wanted, WriteError, write_in_time};
use super::report::{Reporter, items, sensor_faults, sensors};
use super::state::Setting;
use super::{convert, state};
use crate::in_force::InForce;
use crate::reload::RunningConfig;
use crate::serving::figures::{Figures, FiguresWindow};
use crate::serving::intake::micros_since_epoch;
use crate::serving::{PublishedStatus, Service, ServingRelease};

/// Longest time of one read of a sensor.
const READ_TIMEOUT: Duration = Duration::from_millis(250);
/// The period of `most-changes-per-hour`.
const HOUR: Duration = Duration::from_secs(3_600);
/// Where the kernel takes the order to hibernate, below the folder of sensors, and the order.
const POWER_STATE: &str = "sys/power/state";
const HIBERNATE: &str = "disk";

/// The state of the governor's thread.
pub(super) struct Rounds {
    service: Arc<Service>,
    running: Arc<RunningConfig>,
    published_status: Arc<PublishedStatus>,
    supervisor: Supervisor,
    clock: Clock,
    started: Instant,
    sampler: Sampler,
    figures: Figures,
    decider: Decider,
    outputs: Outputs,
    reporter: Reporter,
    release: Serving,
    cores: Option<usize>,
    /// What may run models. A plan may name one that is not there, which changes nothing.
    backends: Vec<String>,
    in_force: Arc<InForce>,
    /// The last rest ended, or the device has hibernated for the one in force.
    has_hibernated: bool,
    /// The time of all rounds.
    busy: Duration,
}

/// What a round needs of the serving release.
#[derive(Default)]
struct Serving {
    loaded: Option<Arc<ServingRelease>>,
    digest: Option<Digest>,
    governor: Option<Governor>,
    modes: SignedModes,
    full_mode: Option<String>,
    /// How many variants the models have behind their preferred one, at most.
    smaller_variants: u32,
}

impl Serving {
    fn of(loaded: Option<Arc<ServingRelease>>) -> Self {
        let Some(loaded) = loaded else {
            return Self::default();
        };
        let release = loaded.release();
        Self {
            digest: Some(release.digest()),
            governor: loaded.pipeline().governor(),
            modes: convert::signed_modes(release),
            full_mode: release.full_mode().map(str::to_owned),
            smaller_variants: smaller_variants(release),
            loaded: Some(loaded),
        }
    }

    fn figures(&self) -> Vec<ModeFigures> {
        let loaded = self.loaded.as_ref();
        loaded.map_or_else(Vec::new, |it| it.pipeline().mode_figures())
    }

    /// The modes as governors get them, without their energy.
    fn measured(&self) -> Vec<MeasuredMode> {
        let modes = self.figures().into_iter().map(|it| MeasuredMode {
            name: it.name,
            mode: it.mode,
            agreement_ratio: it.agreement_ratio,
            p95_ms: it.p95_ms,
            memory_bytes: it.memory_bytes,
            joules_per_sample: None,
        });
        modes.collect()
    }

    /// The mode that the release asks for while it drifts.
    fn drift_wish(&self) -> Vec<Wish> {
        let watch = self.loaded.as_ref().and_then(|it| it.drift());
        let wished = watch.and_then(|watch| {
            let (mode, reason) = watch.wished_mode()?;
            // Naming the full mode is the same as naming none.
            let is_full = self.full_mode.as_deref() == Some(mode);
            let plan = Plan {
                mode: (!is_full).then(|| Because::new(mode.to_owned(), &reason)),
                ..Plan::default()
            };
            let from = "drift".to_owned();
            Some(Wish { from, plan })
        });
        wished.into_iter().collect()
    }

    /// The mode in force by the name that governors know: the full one has a name, too.
    fn mode<'a>(&'a self, in_force: &'a InForce) -> Option<&'a str> {
        let signed = in_force.mode.as_deref();
        signed.or(self.full_mode.as_deref())
    }
}

impl Rounds {
    pub(super) fn new(
        service: Arc<Service>,
        running: Arc<RunningConfig>,
        published_status: Arc<PublishedStatus>,
        supervisor: &Supervisor,
    ) -> Self {
        let config = running.config();
        let places = Places {
            root: config.governor.sensors.clone(),
            data: config.data.clone(),
            read_timeout: READ_TIMEOUT,
        };
        let clock = supervisor.clock().clone();
        Self {
            service,
            running,
            reporter: Reporter::new(Arc::clone(published_status.events())),
            published_status,
            sampler: Sampler::new(places, supervisor.clone()),
            started: clock.now(),
            clock,
            figures: Figures::default(),
            decider: Decider::default(),
            outputs: Outputs::new(supervisor.clone()),
            supervisor: supervisor.clone(),
            release: Serving::default(),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            backends: [Backend::Ort, Backend::Tract]
                .map(|it| it.to_string())
                .into(),
            in_force: Arc::default(),
            has_hibernated: false,
            busy: Duration::ZERO,
        }
    }

    /// The time between two rounds.
    pub(super) fn period(&self) -> Duration {
        self.running.config().governor.period()
    }

    /// One round.
    pub(super) fn round(&mut self) {
        let config = self.running.config();
        let began = self.clock.now();
        let reading = self.sampler.round();
        let sample = Sample {
            at: self.clock.elapsed(self.started),
            took: self.clock.elapsed(began),
            reading,
        };
        let before = self.in_force.plan.clone();
        // Before anything is decided on a mode that another release does not have.
        if self.follow_release(sample.at) {
            self.put_in_force();
        }
        let mode = self.release.mode(&self.in_force);
        let raw = self.service.figures();
        let figures = self.figures.next(raw, &sample.reading, mode);
        let (has_changed, waits) = self.decide(&config.governor, &sample, &figures);
        if has_changed {
            self.put_in_force();
        }
        // A release without the mode changes it as well.
        if !before.wishes_same(&self.in_force.plan) {
            let full = self.release.full_mode.as_deref();
            self.reporter.changed(&before, &self.in_force.plan, full);
        }
        self.carry_out(&config.governor);
        self.reporter.sensors(&sample.reading.faults, sample.at);
        self.busy += self.clock.elapsed(began);
        self.publish(&sample, &figures, waits);
    }

    /// Turns the outputs off. The daemon ends.
    pub(super) fn close(&mut self) {
        for fault in self.outputs.turn_off() {
            self.reporter.output_failed(&fault);
        }
    }

    /// Takes over the modes and the governor of a release that serves now. True if it is another one.
    fn follow_release(&mut self, at: Duration) -> bool {
        let loaded = self.service.serving();
        let is_same = match (&loaded, &self.release.loaded) {
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return false;
        }
        let next = Serving::of(loaded);
        if next.digest != self.release.digest {
            self.decider.follow_release(&next.modes, at);
            self.reporter.follow_release();
        }
        self.release = next;
        true
    }

    fn decide(
        &mut self,
        config: &GovernorConfig,
        sample: &Sample,
        figures: &FiguresWindow,
    ) -> (bool, Option<Waiting>) {
        let rules = rules(config, &self.release.modes);
        let outputs: Vec<String> = config.outputs.keys().cloned().collect();
        let setting = Setting {
            now_us: micros_since_epoch(self.clock.wall()),
            cores: self.cores,
            deadline_ms: config.deadline_ms.map(milliseconds),
            mode: self.release.mode(&self.in_force),
            mode_age: self.mode_age(sample.at),
            outputs: &outputs,
            backends: &self.backends,
            smaller_variants: self.release.smaller_variants,
        };
        let moment = state::moment(sample, figures, &setting);
        // Only a governor is asked with the whole state.
        let state = self
            .release
            .governor
            .is_some()
            .then(|| state::device_state(sample, figures, &self.release.measured(), &setting));
        let full = self.release.full_mode.as_deref();
        let asked = self.release.governor.as_mut().zip(state);
        let called = asked.map(|(governor, state)| {
            let made = governor.govern(&state);
            made.map(|plan| convert::plan(&plan, full, state.now_us))
        });
        if let Some(Err(failure)) = &called {
            Reporter::count(failure);
        }
        self.decider.others_wish(self.release.drift_wish());
        let decided = self.decider.step(&rules, called, &moment, sample.at);
        let component = self.release.governor.as_ref().map(Governor::name);
        let component = component.unwrap_or_default();
        if let Some(failure) = &decided.failed {
            self.reporter.failed(component, failure, sample.at);
        }
        if decided.has_recovered {
            self.reporter.recovered(component);
        }
        (decided.before.is_some(), decided.waits)
    }

    fn mode_age(&self, at: Duration) -> Duration {
        at.saturating_sub(self.decider.mode_since())
    }

    /// Puts the plan of the ladder in force, from the next sample on.
    fn put_in_force(&mut self) {
        let plan = self.decider.in_force();
        let rest = |plan: &Plan| plan.rest.as_ref().map(|it| it.value);
        // For another reason, it ends when it did: the time of day may have been set.
        let rest_ends = if rest(plan) == rest(&self.in_force.plan) {
            self.in_force.rest_ends
        } else {
            rest_ends(plan, &self.clock)
        };
        self.in_force = Arc::new(InForce::of(plan, &self.release.modes, rest_ends));
        self.service.put_in_force(Arc::clone(&self.in_force));
        let interval = self.in_force.status_interval_s.unwrap_or(0);
        self.published_status.set_interval(interval);
    }

    /// What is not read by the samples themselves: resting files, backends, outputs, hibernation.
    fn carry_out(&mut self, config: &GovernorConfig) {
        self.service
            .rest(self.in_force.rests(self.clock.now()).is_some());
        if let Some(loaded) = &self.release.loaded {
            let pipeline = loaded.pipeline();
            pipeline.avoid_backends(&self.in_force.avoid, &self.supervisor);
        }
        for fault in self.outputs.set(&wanted(config, &self.in_force.plan)) {
            self.reporter.output_failed(&fault);
        }
        self.hibernate(config);
    }

    /// Hibernates once for each plan that says so, after the accepted samples have ended.
    fn hibernate(&mut self, config: &GovernorConfig) {
        let rest = self.in_force.rest.as_ref().map(|it| it.value);
        if rest != Some(Rest::Hibernate) || !config.hibernate {
            self.has_hibernated = false;
            return;
        }
        if self.has_hibernated || self.service.in_flight() > 0 {
            return;
        }
        self.has_hibernated = true;
        let file = config.sensors.join(POWER_STATE);
        let written = write_in_time(&self.supervisor, &file, HIBERNATE.to_owned());
        match written {
            // The write ends when the device is awake again.
            Ok(()) | Err(WriteError::TimedOut { .. }) => {}
            Err(error) => {
                let (fault, message) = (error.fault(), error.to_string());
                self.reporter.file_failed(&file, fault, &message);
            }
        }
    }

    fn publish(&mut self, sample: &Sample, figures: &FiguresWindow, waits: Option<Waiting>) {
        let status = self.status(sample, figures, waits);
        let reason = self.in_force.plan.mode.as_ref();
        let reason = reason.map_or("", |it| it.reason.as_str());
        self.reporter.gauge_mode(status.mode.as_deref(), reason);
        let seconds = self.busy.as_secs_f64();
        self.reporter.gauge(&status.sensors, seconds);
        self.published_status.set_governor(status);
    }

    fn status(
        &self,
        sample: &Sample,
        figures: &FiguresWindow,
        waits: Option<Waiting>,
    ) -> GovernorStatus {
        let reading: &Reading = &sample.reading;
        let modes = self.release.figures().into_iter().map(|it| {
            let power = figures.power(Some(&it.name));
            ModeStatus {
                name: it.name,
                level: it.level,
                agreement_ratio: it.agreement_ratio,
                p95_ms: it.p95_ms,
                memory_bytes: it.memory_bytes,
                joules_per_sample: power.joules_per_sample,
                watts: power.watts,
            }
        });
        let failure = self.decider.failure().map(|failure| GovernorFailure {
            fault: failure.fault.name().to_owned(),
            message: failure.message.clone(),
        });
        let elapsed = self.clock.elapsed(self.started).as_secs_f64();
        let mode = self.release.mode(&self.in_force);
        GovernorStatus {
            by: self.decider.by().to_owned(),
            component: self
                .release
                .governor
                .as_ref()
                .map(|it| it.name().to_owned()),
            failure,
            plan: items(&self.in_force.plan),
            mode: mode.map(str::to_owned),
            mode_seconds: self.mode_age(sample.at).as_secs_f64(),
            joules_per_sample: figures.power(mode).joules_per_sample,
            waits: waits.map(|it| WaitStatus {
                limit: it.limit.name().to_owned(),
                seconds: it.until.saturating_sub(sample.at).as_secs_f64(),
            }),
            changes: self.decider.changes(),
            refused_plans: self.decider.refused(),
            modes: modes.collect(),
            sensors: sensors(reading, figures.watts),
            sensor_faults: sensor_faults(&reading.faults),
            cost_ratio: (elapsed > 0.0).then(|| self.busy.as_secs_f64() / elapsed),
        }
    }
}

fn smaller_variants(release: &Release) -> u32 {
    let models = release.models.values();
    let behind = models.map(|model| model.variants.len().saturating_sub(1));
    u32::try_from(behind.max().unwrap_or(0)).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "at most 3,600,000, as the configuration says"
)]
const fn milliseconds(deadline_ms: u64) -> f64 {
    deadline_ms as f64
}

fn rules(config: &GovernorConfig, modes: &SignedModes) -> Rules {
    Rules {
        limits: LadderLimits {
            least: Duration::from_millis(config.least_time_ms),
            calm: Duration::from_millis(config.calm_ms),
            most_changes: config.most_changes_per_hour as usize,
            period: HOUR,
        },
        modes: modes.clone(),
        outputs: config.outputs.keys().cloned().collect::<BTreeSet<_>>(),
        may_hibernate: config.hibernate,
    }
}

/// Every output of the configuration: one that the plan leaves out is off.
fn wanted(config: &GovernorConfig, plan: &Plan) -> Wanted {
    let outputs = config.outputs.iter().map(|(name, output)| {
        let percent = plan.outputs.get(name).map_or(0, |it| it.value);
        (name.clone(), (output.clone(), percent))
    });
    outputs.collect()
}

/// When a rest ends by itself. The time of day is read once, when the rest begins.
fn rest_ends(plan: &Plan, clock: &Clock) -> Option<Instant> {
    let rest = plan.rest.as_ref()?;
    let Rest::Until(seconds) = rest.value else {
        return None;
    };
    let until = std::time::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    let left = until.duration_since(clock.wall()).unwrap_or_default();
    Some(clock.deadline(left))
}
