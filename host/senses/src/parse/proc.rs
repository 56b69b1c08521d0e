//! What `/proc` says of the whole system.

use super::fields::Fields;
use crate::reading::{Load, Memory, Pressure, Stall};
use crate::tree::{LOAD, MEMORY, UPTIME};

pub(super) fn load(fields: &mut Fields<'_>) -> Option<Load> {
    fields.parsed(LOAD, |text| {
        let mut words = text.split_whitespace().map(positive);
        Some(Load {
            one: words.next()??,
            five: words.next()??,
            fifteen: words.next()??,
        })
    })
}

pub(super) fn memory(fields: &mut Fields<'_>) -> Option<Memory> {
    fields.parsed(MEMORY, |text| {
        let bytes = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            kib.checked_mul(1_024)
        };
        Some(Memory {
            total_bytes: bytes("MemTotal:")?,
            available_bytes: bytes("MemAvailable:")?,
            swap_total_bytes: bytes("SwapTotal:"),
            swap_free_bytes: bytes("SwapFree:"),
        })
    })
}

pub(super) fn pressure(fields: &mut Fields<'_>, path: &str) -> Option<Pressure> {
    fields.parsed(path, |text| {
        let line = |name| text.lines().find_map(|line| line.strip_prefix(name));
        let full = match line("full ") {
            Some(line) => Some(stall(line)?),
            // Older kernels have none for the processor.
            None => None,
        };
        Some(Pressure {
            some: stall(line("some ")?)?,
            full,
        })
    })
}

fn stall(line: &str) -> Option<Stall> {
    let value = |name: &str| {
        let mut pairs = line.split_whitespace().filter_map(|it| it.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let percent = |name| positive(value(name)?).filter(|percent| *percent <= 100.0);
    Some(Stall {
        avg10: percent("avg10")?,
        avg60: percent("avg60")?,
        avg300: percent("avg300")?,
        total_us: value("total")?.parse().ok()?,
    })
}

pub(super) fn uptime(fields: &mut Fields<'_>) -> Option<f64> {
    fields.parsed(UPTIME, |text| positive(text.split_whitespace().next()?))
}

/// A finite number that is not negative.
fn positive(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}
