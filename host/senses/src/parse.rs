//! Turns a sensor tree into a reading. What is missing stays missing, and what has another format makes its own sensor missing, with its
//! path among the faults. No I/O.

mod fields;
mod power;
mod proc;

use crate::reading::{CoolingDevice, CpuPolicy, Reading, ThermalZone};
use crate::tree::{
    COOLING, CPUS, Kind, PRESSURE_CPU, PRESSURE_IO, PRESSURE_MEMORY, RAPL, THERMAL, Tree,
};
use fields::Fields;

/// Temperatures that a sensor can have, in millidegrees. Drivers report others (-274,000, the largest number) when they have none.
const MILLIDEGREES: std::ops::RangeInclusive<i64> = -60_000..=200_000;
/// Frequencies that a processor can have, in kHz. Some drivers report 0 for what they do not know.
const KHZ: std::ops::RangeInclusive<u64> = 1..=100_000_000;

/// The reading of a tree.
pub fn parse(tree: &Tree) -> Reading {
    let mut fields = Fields::of(tree);
    let (batteries, mains) = power::supplies(&mut fields);
    let mut reading = Reading {
        thermal: sensors(&mut fields, &THERMAL, thermal_zone),
        cooling: sensors(&mut fields, &COOLING, cooling_device),
        cpus: sensors(&mut fields, &CPUS, cpu_policy),
        load: proc::load(&mut fields),
        memory: proc::memory(&mut fields),
        cpu_pressure: proc::pressure(&mut fields, PRESSURE_CPU),
        memory_pressure: proc::pressure(&mut fields, PRESSURE_MEMORY),
        io_pressure: proc::pressure(&mut fields, PRESSURE_IO),
        data: tree.space(),
        batteries,
        mains,
        rapl: sensors(&mut fields, &RAPL, power::rapl_zone),
        uptime_s: proc::uptime(&mut fields),
        is_clock_synchronised: tree.is_clock_synchronised(),
        faults: Vec::new(),
        left_out: tree.left_out(),
    };
    reading.faults = fields.into_faults();
    reading
}

/// One sensor of each folder of a kind. `read` gets the folder's path and its name.
fn sensors<T>(
    fields: &mut Fields<'_>,
    kind: &Kind,
    read: impl Fn(&mut Fields<'_>, &str, &str) -> Option<T>,
) -> Vec<T> {
    let names = fields.sensors(kind);
    let one = |name: &str| read(fields, &format!("{}/{name}", kind.folder), name);
    names.into_iter().filter_map(one).collect()
}

fn thermal_zone(fields: &mut Fields<'_>, folder: &str, name: &str) -> Option<ThermalZone> {
    let label = fields.label(&format!("{folder}/type"));
    let millidegrees: i64 = fields.number(&format!("{folder}/temp"), &MILLIDEGREES)?;
    #[expect(clippy::cast_precision_loss, reason = "it is within MILLIDEGREES")]
    let celsius = millidegrees as f64 / 1e3;
    Some(ThermalZone {
        zone: name.to_owned(),
        label,
        celsius,
    })
}

fn cooling_device(fields: &mut Fields<'_>, folder: &str, name: &str) -> Option<CoolingDevice> {
    let label = fields.label(&format!("{folder}/type"));
    let max_state = fields.number(&format!("{folder}/max_state"), &(0..=u32::MAX));
    Some(CoolingDevice {
        device: name.to_owned(),
        label,
        state: fields.number(&format!("{folder}/cur_state"), &(0..=u32::MAX))?,
        max_state,
    })
}

fn cpu_policy(fields: &mut Fields<'_>, folder: &str, name: &str) -> Option<CpuPolicy> {
    let policy = CpuPolicy {
        policy: name.to_owned(),
        current_khz: fields.number(&format!("{folder}/scaling_cur_freq"), &KHZ),
        permitted_khz: fields.number(&format!("{folder}/scaling_max_freq"), &KHZ),
        max_khz: fields.number(&format!("{folder}/cpuinfo_max_freq"), &KHZ),
    };
    let known = [policy.current_khz, policy.permitted_khz, policy.max_khz];
    known.iter().any(Option::is_some).then_some(policy)
}
