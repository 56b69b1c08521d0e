//! Batteries, mains and energy counters.

use std::ops::RangeInclusive;

use super::fields::Fields;
use crate::reading::{Battery, Charging, Mains, RaplZone};
use crate::tree::SUPPLIES;

/// Values of a supply, in microvolts, microamperes, microwatts and millionths of an hour of them. A current may be negative.
const MICRO: RangeInclusive<i64> = -1_000_000_000_000..=1_000_000_000_000;

/// The device's batteries, and its other supplies.
pub(super) fn supplies(fields: &mut Fields<'_>) -> (Vec<Battery>, Vec<Mains>) {
    let (mut batteries, mut mains) = (Vec::new(), Vec::new());
    for name in fields.sensors(&SUPPLIES) {
        let folder = format!("{}/{name}", SUPPLIES.folder);
        // The battery of a mouse, or an empty bay.
        let is_others = fields.text(&format!("{folder}/scope")) == Some("Device");
        let is_empty = fields.text(&format!("{folder}/present")) == Some("0");
        if is_others || is_empty {
            continue;
        }
        match fields.text(&format!("{folder}/type")) {
            Some("Battery" | "UPS") => batteries.push(battery(fields, &folder, name)),
            // 2 is online with another voltage than the usual.
            Some(_) => {
                let online = fields.number(&format!("{folder}/online"), &(0..=2_u8));
                mains.extend(online.map(|online| Mains {
                    supply: name.to_owned(),
                    is_online: online > 0,
                }));
            }
            None => {}
        }
    }
    (batteries, mains)
}

fn battery(fields: &mut Fields<'_>, folder: &str, name: &str) -> Battery {
    let mut micro = |file: &str| amount(fields, &format!("{folder}/{file}"));
    let full = micro("energy_full");
    let of_energy = share(micro("energy_now"), full);
    let of_charge = share(micro("charge_now"), micro("charge_full"));
    let product = micro("current_now")
        .zip(micro("voltage_now"))
        .map(|(current, voltage)| current * voltage);
    let watts = micro("power_now").or(product);
    let capacity: Option<u8> = fields.number(&format!("{folder}/capacity"), &(0..=100));
    let charging = fields.parsed(&format!("{folder}/status"), |text| {
        Some(match text {
            "Charging" => Some(Charging::Charging),
            "Discharging" => Some(Charging::Discharging),
            "Not charging" => Some(Charging::NotCharging),
            "Full" => Some(Charging::Full),
            "Unknown" => None,
            _ => return None,
        })
    });
    Battery {
        supply: name.to_owned(),
        charge_percent: capacity.map(f64::from).or(of_energy).or(of_charge),
        full_wh: full.filter(|full| *full > 0.0),
        charging: charging.flatten(),
        watts,
    }
}

/// A value in units: volts, amperes, watts or hours of them. Drivers disagree on the sign of a current that flows out.
fn amount(fields: &mut Fields<'_>, path: &str) -> Option<f64> {
    let micro: i64 = fields.number(path, &MICRO)?;
    #[expect(clippy::cast_precision_loss, reason = "it is within MICRO")]
    let amount = micro.unsigned_abs() as f64 / 1e6;
    Some(amount)
}

/// A part of a whole, in percent.
fn share(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    let whole = whole.filter(|whole| *whole > 0.0)?;
    Some((100.0 * part? / whole).min(100.0))
}

pub(super) fn rapl_zone(fields: &mut Fields<'_>, folder: &str, name: &str) -> Option<RaplZone> {
    let label = fields.label(&format!("{folder}/name"));
    let range = fields.number(&format!("{folder}/max_energy_range_uj"), &(1..=u64::MAX));
    Some(RaplZone {
        zone: name.to_owned(),
        label,
        energy_uj: fields.number(&format!("{folder}/energy_uj"), &(0..=u64::MAX))?,
        range_uj: range,
    })
}
