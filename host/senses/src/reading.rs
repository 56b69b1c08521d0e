//! What the sensors of a device say at one time. What is missing is `None` or not in the list, and never zero.

use serde::Serialize;

use crate::fault_kind::FaultKind;

/// What all sensors say.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Reading {
    /// Thermal zones with a temperature.
    pub thermal: Vec<ThermalZone>,
    /// Cooling devices with a state.
    pub cooling: Vec<CoolingDevice>,
    /// Groups of processors that share a frequency.
    pub cpus: Vec<CpuPolicy>,
    /// Load of the system.
    pub load: Option<Load>,
    /// Memory of the system.
    pub memory: Option<Memory>,
    /// Time lost for lack of processor time.
    pub cpu_pressure: Option<Pressure>,
    /// Time lost for lack of memory.
    pub memory_pressure: Option<Pressure>,
    /// Time lost in waiting for disks.
    pub io_pressure: Option<Pressure>,
    /// Space of the data folder.
    pub data: Option<Space>,
    /// Batteries of the device itself, without those of mice and the like.
    pub batteries: Vec<Battery>,
    /// Supplies that are not batteries.
    pub mains: Vec<Mains>,
    /// Energy counters of the processor.
    pub rapl: Vec<RaplZone>,
    /// Time since the system started, in seconds.
    pub uptime_s: Option<f64>,
    /// Whether a time server has set the system's clock, by systemd's time client. `None` on systems without it: the call that asks the kernel
    /// is `unsafe`.
    pub is_clock_synchronised: Option<bool>,
    /// Sensors that are there and have no valid value, by path.
    pub faults: Vec<SensorFault>,
    /// Sensors that were not read because there are too many of their kind.
    pub left_out: usize,
}

/// A sensor that has no valid value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SensorFault {
    /// Its path relative to the root, or `data folder`.
    pub path: String,
    /// Why.
    pub kind: FaultKind,
}

/// A thermal zone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ThermalZone {
    /// Its folder's name, such as `thermal_zone0`.
    pub zone: String,
    /// What the driver calls it, such as `cpu-thermal`.
    pub label: Option<String>,
    /// Temperature in degrees Celsius.
    pub celsius: f64,
}

/// A fan, or something else that cools by its state, such as a processor that slows down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoolingDevice {
    /// Its folder's name, such as `cooling_device0`.
    pub device: String,
    /// What the driver calls it, such as `pwm-fan`.
    pub label: Option<String>,
    /// Its state; 0 does not cool.
    pub state: u32,
    /// Its highest state.
    pub max_state: Option<u32>,
}

/// Processors that share a frequency. All in kHz.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CpuPolicy {
    /// Its folder's name, such as `policy0`.
    pub policy: String,
    /// The present frequency.
    pub current_khz: Option<u64>,
    /// The highest that the system permits now.
    pub permitted_khz: Option<u64>,
    /// The highest that the processor has.
    pub max_khz: Option<u64>,
}

impl CpuPolicy {
    /// Whether the system permits less than the processor's highest frequency: because of heat, of power, or of a setting.
    pub fn is_throttled(&self) -> Option<bool> {
        Some(self.permitted_khz? < self.max_khz?)
    }
}

/// Average number of tasks that run or wait.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Load {
    /// Over one minute.
    pub one: f64,
    /// Over five minutes.
    pub five: f64,
    /// Over fifteen minutes.
    pub fifteen: f64,
}

/// Memory of the system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All.
    pub total_bytes: u64,
    /// What programs can get without swapping.
    pub available_bytes: u64,
    /// Swap.
    pub swap_total_bytes: Option<u64>,
    /// Free swap.
    pub swap_free_bytes: Option<u64>,
}

/// Time that tasks lose for lack of something.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pressure {
    /// Time in which at least one task waited.
    pub some: Stall,
    /// Time in which all tasks waited.
    pub full: Option<Stall>,
}

/// Share of time in percent, and the sum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stall {
    /// Over 10 s, in percent.
    pub avg10: f64,
    /// Over 60 s, in percent.
    pub avg60: f64,
    /// Over 300 s, in percent.
    pub avg300: f64,
    /// Since the system started, in microseconds.
    pub total_us: u64,
}

/// Space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Space {
    /// All, in bytes.
    pub total_bytes: u64,
    /// What users other than root can still get, in bytes.
    pub free_bytes: u64,
    /// All inodes; `None` where the file system makes them as needed.
    pub total_inodes: Option<u64>,
    /// What users other than root can still get; `None` as above.
    pub free_inodes: Option<u64>,
}

/// A battery.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Battery {
    /// Its folder's name, such as `BAT0`.
    pub supply: String,
    /// Charge in percent.
    pub charge_percent: Option<f64>,
    /// Energy when full, in watt-hours.
    pub full_wh: Option<f64>,
    /// Whether it charges.
    pub charging: Option<Charging>,
    /// Power that flows into or out of it, in watts.
    pub watts: Option<f64>,
}

/// What a battery does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Charging {
    /// It charges.
    Charging,
    /// It supplies the device.
    Discharging,
    /// It does neither, and is not full.
    NotCharging,
    /// It is full.
    Full,
}

/// A supply that is not a battery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mains {
    /// Its folder's name, such as `AC`.
    pub supply: String,
    /// Whether it supplies the device.
    pub is_online: bool,
}

/// An energy counter of the processor (RAPL).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RaplZone {
    /// Its folder's name, such as `intel-rapl:0`.
    pub zone: String,
    /// What it counts: `package-0`, `psys`, `dram`, `core`, `uncore`.
    pub label: Option<String>,
    /// The counter, in microjoules.
    pub energy_uj: u64,
    /// Where the counter starts again from zero, in microjoules.
    pub range_uj: Option<u64>,
}

impl Reading {
    /// The hottest thermal zone.
    pub fn hottest(&self) -> Option<&ThermalZone> {
        let zones = self.thermal.iter();
        zones.max_by(|one, other| one.celsius.total_cmp(&other.celsius))
    }

    /// Charge of all batteries together, in percent: weighted by their energy where all tell it, else the mean.
    pub fn charge_percent(&self) -> Option<f64> {
        let known: Vec<(f64, Option<f64>)> = self
            .batteries
            .iter()
            .filter_map(|battery| Some((battery.charge_percent?, battery.full_wh)))
            .collect();
        let are_weighted = known.iter().all(|(_, full)| full.is_some());
        let weight = |full: Option<f64>| full.filter(|_| are_weighted).unwrap_or(1.0);
        let all: f64 = known.iter().map(|(_, full)| weight(*full)).sum();
        let charged: f64 = known
            .iter()
            .map(|(percent, full)| percent * weight(*full))
            .sum();
        (all > 0.0).then(|| (charged / all).min(100.0))
    }

    /// Whether a supply that is not a battery suffices: one is online, and no battery discharges. `None` if there is none of them.
    pub fn is_on_mains(&self) -> Option<bool> {
        if self.mains.is_empty() {
            return None;
        }
        let is_online = self.mains.iter().any(|mains| mains.is_online);
        let mut batteries = self.batteries.iter();
        let discharges = batteries.any(|it| it.charging == Some(Charging::Discharging));
        Some(is_online && !discharges)
    }

    /// What the batteries supply to the device, in watts. `None` if no battery discharges, or one that does has no figure.
    pub fn discharge_watts(&self) -> Option<f64> {
        let batteries = self.batteries.iter();
        let discharging: Vec<Option<f64>> = batteries
            .filter(|it| it.charging == Some(Charging::Discharging))
            .map(|it| it.watts)
            .collect();
        if discharging.is_empty() {
            return None;
        }
        discharging.into_iter().sum()
    }

    /// Whether the system permits one of the processors less than its highest frequency. `None` if none tells.
    pub fn is_throttled(&self) -> Option<bool> {
        let known = self.cpus.iter().filter_map(CpuPolicy::is_throttled);
        known.reduce(|one, other| one || other)
    }
}
