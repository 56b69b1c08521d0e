//! Sums of energy: of all time, and of each mode.

use std::collections::BTreeMap;

use hotshoe_senses::{Energy, PowerSource};
use hotshoe_trust::Digest;

/// Most modes whose energy is kept. A release has fewer.
const MAX_MODES: usize = 32;

/// Energy by source, since the two measure different parts of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct EnergySum {
    rapl: Sum,
    battery: Sum,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sum {
    joules: f64,
    /// The time in which it is known.
    seconds: f64,
    /// Samples that were processed in that time.
    samples: u64,
}

impl Sum {
    fn since(self, before: Self) -> Self {
        Self {
            joules: self.joules - before.joules,
            seconds: self.seconds - before.seconds,
            samples: self.samples.saturating_sub(before.samples),
        }
    }
}

impl EnergySum {
    pub(super) fn add(&mut self, energy: &Energy, samples: u64) {
        let sum = match energy.source {
            PowerSource::Rapl => &mut self.rapl,
            PowerSource::Battery => &mut self.battery,
        };
        sum.joules += energy.joules;
        sum.seconds += energy.seconds;
        sum.samples += samples;
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            rapl: self.rapl.since(before.rapl),
            battery: self.battery.since(before.battery),
        }
    }

    /// The energy of the counters where it is known, else of the batteries.
    pub(super) fn energy(&self) -> Option<Energy> {
        let (source, sum) = self.known()?;
        Some(Energy {
            source,
            joules: sum.joules,
            seconds: sum.seconds,
        })
    }

    fn known(&self) -> Option<(PowerSource, Sum)> {
        let sums = [
            (PowerSource::Rapl, self.rapl),
            (PowerSource::Battery, self.battery),
        ];
        sums.into_iter().find(|(_, sum)| sum.seconds > 0.0)
    }

    fn figures(&self) -> PowerFigures {
        let Some((_, sum)) = self.known() else {
            return PowerFigures::default();
        };
        #[expect(clippy::cast_precision_loss, reason = "2^53 samples are enough")]
        let samples = sum.samples as f64;
        PowerFigures {
            joules_per_sample: (sum.samples > 0).then(|| sum.joules / samples),
            watts: Some(sum.joules / sum.seconds),
        }
    }
}

/// What the device took in a mode, its idle power included.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PowerFigures {
    /// For each sample that was processed, with a result or a failure. `None` without such a sample as well.
    pub joules_per_sample: Option<f64>,
    /// The mean.
    pub watts: Option<f64>,
}

/// Energy by mode. Another release begins with none: its modes may be others under the same names.
#[derive(Debug, Clone, Default)]
pub(super) struct ModeEnergy {
    release: Option<Digest>,
    modes: BTreeMap<String, EnergySum>,
}

impl ModeEnergy {
    /// Follows the serving release.
    pub(super) fn follow(&mut self, release: Option<Digest>) {
        if self.release != release {
            self.release = release;
            self.modes.clear();
        }
    }

    /// Adds the energy of a time in which this mode was in force, and the samples that were processed in it.
    pub(super) fn add(&mut self, mode: Option<&str>, energy: &Energy, samples: u64) {
        let mode = mode.unwrap_or_default();
        if self.modes.len() < MAX_MODES || self.modes.contains_key(mode) {
            let sum = self.modes.entry(mode.to_owned()).or_default();
            sum.add(energy, samples);
        }
    }

    /// The figures of each mode. The name of no mode is empty.
    pub(super) fn read(&self) -> BTreeMap<String, PowerFigures> {
        let modes = self.modes.iter();
        modes
            .map(|(name, sum)| (name.clone(), sum.figures()))
            .collect()
    }
}
