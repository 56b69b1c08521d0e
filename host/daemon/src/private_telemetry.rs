//! Figures with differential privacy: the windows that workers add results to, and the thread that publishes them (0094, 0103).

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, UNIX_EPOCH};

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_base::{Clock, chain};
use hotshoe_config::{
    Config, ConfigError, ContributorField, FIGURES_OUTPUT, PrivateTelemetryConfig,
};
use hotshoe_differential_privacy::{
    Boot, Budget, Definition, Noise, PublishError, Window, publish,
};
use hotshoe_drift::{Source, SourceError, Value, measure};
use hotshoe_egress::Classifier;
use hotshoe_engine::Insight;
use hotshoe_outbox::Host;
use hotshoe_pipeline::StageTime;
use hotshoe_protocol::status::PrivateTelemetryStatus;
use parking_lot::Mutex;

use crate::outbox::DurableOutputs;

/// The value of a figure that is the time of all stages of a sample, in microseconds.
const LATENCY: &str = "latency-us";
/// What joins the names of a component and of a model that it ran. The time of the component includes that of the model.
const INNER: char = '/';

/// Why the figures cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum PrivateTelemetryError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The value of a figure is not a source.
    #[error("`private-telemetry.figures.{figure}.value` cannot be measured")]
    Source {
        /// The figure.
        figure: String,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// The value of a figure is not a number.
    #[error(
        "`private-telemetry.figures.{figure}.value` is not a number; use count, mean, min or max of a field, or `latency-us`"
    )]
    NotANumber {
        /// The figure.
        figure: String,
    },
    /// A value of the whole sample would be added for each of its contributors, so that one of them could change more than the noise hides.
    #[error(
        "`private-telemetry.figures.{figure}.value` is of a whole sample, and `private-telemetry.contributor` has several of them; leave one of the two out"
    )]
    ValueOfSeveral {
        /// The figure.
        figure: String,
    },
}

impl PrivateTelemetryError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Config(_) => "invalid_config",
            Self::Source { .. } => "figure_not_measurable",
            Self::NotANumber { .. } => "figure_not_a_number",
            Self::ValueOfSeveral { .. } => "figure_value_of_several",
        }
    }
}

/// What a figure takes of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// 1.
    One,
    /// The time of all stages, in microseconds.
    Latency,
    /// The number of the source with this index.
    Measured(usize),
}

/// A figure, and its window.
struct Figure {
    definition: Definition,
    taken: Taken,
    scale: f64,
    window: Window,
}

/// The windows of a device. Workers add to them.
pub(crate) struct PrivateTelemetry {
    /// What is measured. Empty with `contributor`.
    sources: Vec<Source>,
    contributor: Option<ContributorField>,
    /// Samples whose insight cannot have the field of the contributor.
    without_contributor: AtomicU64,
    figures: Mutex<Vec<Figure>>,
    window: Duration,
}

impl PrivateTelemetry {
    /// Empty windows of the figures of a configuration.
    pub(crate) fn new(config: &PrivateTelemetryConfig) -> Result<Self, PrivateTelemetryError> {
        let mut sources = Vec::new();
        let mut figures = Vec::new();
        for (figure, definition) in config.definitions()? {
            let name = || definition.name().to_owned();
            if config.contributor.is_some() && figure.value.is_some() {
                return Err(PrivateTelemetryError::ValueOfSeveral { figure: name() });
            }
            let taken = match figure.value.as_deref() {
                None => Taken::One,
                Some(LATENCY) => Taken::Latency,
                Some(text) => {
                    let source: Source =
                        text.parse()
                            .map_err(|source| PrivateTelemetryError::Source {
                                figure: name(),
                                source,
                            })?;
                    if !matches!(source, Source::Number { .. }) {
                        return Err(PrivateTelemetryError::NotANumber { figure: name() });
                    }
                    sources.push(source);
                    Taken::Measured(sources.len() - 1)
                }
            };
            figures.push(Figure {
                taken,
                scale: figure.scale.into(),
                window: Window::new(definition.clone()),
                definition,
            });
        }
        Ok(Self {
            sources,
            contributor: config.contributor,
            without_contributor: AtomicU64::new(0),
            figures: Mutex::new(figures),
            window: config.window(),
        })
    }

    /// Adds a result to the windows. Does nothing if its class may not even be counted.
    pub(crate) fn take(
        &self,
        classifier: &Classifier,
        insight: &Insight,
        stages: &[StageTime],
        source: &str,
    ) {
        if !classifier.may_count() {
            return;
        }
        let contributors = match self.contributor {
            None => BTreeSet::from([source]),
            Some(field) => {
                let Some(found) = contributors(insight, field) else {
                    self.without_contributor.fetch_add(1, Ordering::Relaxed);
                    return;
                };
                found
            }
        };
        let json = if self.sources.is_empty() {
            serde_json::Value::Null
        } else {
            // An insight is plain data, which always has a JSON form.
            serde_json::to_value(insight).unwrap_or_default()
        };
        let measured = measure(&self.sources, &json, |_, _| None).0;
        let stages = stages.iter().filter(|stage| !stage.name.contains(INNER));
        let micros: u64 = stages.map(|stage| stage.micros).sum();
        let mut figures = self.figures.lock();
        for figure in figures.iter_mut() {
            let value = match figure.taken {
                Taken::One => 1.0,
                #[expect(clippy::cast_precision_loss, reason = "a time in microseconds")]
                Taken::Latency => micros as f64,
                Taken::Measured(at) => match measured.get(at) {
                    Some(Some(Value::Number(number))) => *number,
                    _ => continue,
                },
            };
            let value = whole(value * figure.scale);
            for contributor in &contributors {
                figure.window.add(contributor, value);
            }
        }
    }

    /// What the device's status has of the figures. It has no count of samples whose list is empty: that would show who was there.
    pub(crate) fn status(&self) -> PrivateTelemetryStatus {
        PrivateTelemetryStatus {
            samples_without_contributor: self.without_contributor.load(Ordering::Relaxed),
        }
    }

    /// Ends the windows, and begins new ones.
    fn end(&self) -> Vec<Window> {
        let mut figures = self.figures.lock();
        let ended = figures.iter_mut().map(|figure| {
            let next = Window::new(figure.definition.clone());
            std::mem::replace(&mut figure.window, next)
        });
        ended.collect()
    }
}

/// All contributors of a sample, each once: with a limit for each sample, one of them could take the place of others. `None` if an insight of this
/// kind does not have the field.
fn contributors(insight: &Insight, field: ContributorField) -> Option<BTreeSet<&str>> {
    Some(match (field, insight) {
        (ContributorField::Detections, Insight::Detections { detections }) => {
            detections.iter().map(|it| it.label.as_str()).collect()
        }
        (ContributorField::Lines, Insight::Text { lines }) => {
            lines.iter().map(|it| it.text.as_str()).collect()
        }
        (ContributorField::Scalars, Insight::Scalars { scalars }) => {
            scalars.iter().map(|it| it.name.as_str()).collect()
        }
        _ => return None,
    })
}

/// The nearest integer. Bounds clip it later.
fn whole(value: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it saturates, and what is not a number is 0"
    )]
    let value = value.round() as i64;
    value
}

/// The thread that publishes, until it is dropped.
pub(crate) struct PrivateTelemetryThread {
    /// Its end is the signal.
    _running: Sender<Infallible>,
}

impl PrivateTelemetryThread {
    /// Starts the thread `private-telemetry`. A device whose budget cannot be read, or without a thread, serves all the same, and publishes no
    /// figures.
    pub(crate) fn start(
        config: &Config,
        telemetry: &Arc<PrivateTelemetry>,
        outbox: Option<Arc<DurableOutputs>>,
        supervisor: &Supervisor,
    ) -> Option<Self> {
        let clock = supervisor.clock().clone();
        let budget = open_budget(config, &clock)?;
        let mut publisher = Publisher {
            telemetry: Arc::clone(telemetry),
            outbox,
            budget,
            noise: Noise::system(),
            clock,
        };
        let (stop, stopped) = channel::<Infallible>();
        let started = supervisor.restarted("private-telemetry", move || {
            publisher.run(&stopped);
            Ok(())
        });
        if let Err(error) = started {
            tracing::error!(%error, "cannot start a thread; no figures are published");
            return None;
        }
        Some(Self { _running: stop })
    }
}

/// The budget in the locked data folder.
fn open_budget(config: &Config, clock: &Clock) -> Option<Budget> {
    let limit = config.private_telemetry.as_ref()?.epsilon().ok()?;
    let host = Host::here();
    let boot = Boot {
        id: host.boot,
        uptime: host.uptime,
    };
    let disk = Disk::new(Faults::never());
    let opened = Budget::open(&config.data, disk, clock.clone(), boot, limit);
    opened
        .inspect_err(|error| {
            let (name, cause) = (error.name(), chain(error));
            tracing::error!(name, cause, "no figures are published");
        })
        .ok()
}

struct Publisher {
    telemetry: Arc<PrivateTelemetry>,
    outbox: Option<Arc<DurableOutputs>>,
    budget: Budget,
    noise: Noise,
    clock: Clock,
}

impl Publisher {
    fn run(&mut self, stopped: &Receiver<Infallible>) {
        loop {
            // The times of windows do not depend on what is in them.
            let next = self.clock.deadline(self.telemetry.window);
            if self.clock.recv_until(stopped, next) != Err(RecvTimeoutError::Timeout) {
                // A window that did not end is dropped: a shorter one would cost as much.
                return;
            }
            match self.publish() {
                Ok(figures) => tracing::debug!(
                    figures,
                    left_millionths = self.budget.left_millionths(),
                    "published figures"
                ),
                Err(error) => {
                    let (name, cause) = (error.name(), chain(&error));
                    tracing::warn!(name, cause, "the figures of a window are not published");
                }
            }
        }
    }

    /// Publishes the windows that end now; returns the number of figures.
    fn publish(&mut self) -> Result<usize, PublishError> {
        let windows = self.telemetry.end();
        let figures = publish(windows, &mut self.budget, &mut self.noise)?;
        let since = self.clock.wall().duration_since(UNIX_EPOCH);
        let until_ms = since.unwrap_or_default().as_millis();
        let body = Classifier::figures(
            u64::try_from(until_ms).unwrap_or(u64::MAX),
            self.telemetry.window.as_secs(),
            &figures,
        );
        if let Some(outbox) = &self.outbox {
            // Nothing waits for it.
            drop(outbox.offer(FIGURES_OUTPUT, body.class(), || body.clone()));
        }
        Ok(figures.len())
    }
}

#[cfg(test)]
mod tests;
