use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::machine::Machine;
use crate::terminal::Terminal;

/// What a bench prints.
#[derive(Debug, Serialize)]
pub struct Report {
    bench: &'static str,
    machine: Machine,
    /// What was counted, beside the rows.
    #[serde(flatten)]
    counts: Counts,
    rows: Vec<Row>,
}

/// What was counted, each under its own name.
pub type Counts = BTreeMap<&'static str, Value>;

/// One figure, with what it is compared with.
#[derive(Debug, Serialize)]
pub struct Row {
    name: String,
    value: f64,
    unit: Unit,
    /// The time within which 19 of 20 runs end, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    p95: Option<f64>,
    /// The other side, if there is one.
    against: Option<String>,
    against_value: Option<f64>,
    /// `value` / `against_value`.
    ratio: Option<f64>,
    /// What the ratio should be, or the value where there is no other side.
    target: Option<f64>,
    /// On which side of the target it should be.
    bound: Bound,
    /// Whether that holds; none without a target.
    met: Option<bool>,
}

/// On which side of its target a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtMost,
    AtLeast,
}

impl Bound {
    fn holds(self, value: f64, target: f64) -> bool {
        match self {
            Self::AtMost => value <= target,
            Self::AtLeast => value >= target,
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::AtMost => "<=",
            Self::AtLeast => ">=",
        }
    }
}

/// What values are shown in. Times are measured in microseconds, and everything else in what it is shown in.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanos,
    /// Thousands of bytes.
    #[serde(rename = "kB")]
    Kilobytes,
    /// Millions of bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// Millions of bytes a second.
    #[serde(rename = "MB/s")]
    MegabytesPerSecond,
    /// Hundredths.
    #[serde(rename = "%")]
    Percent,
    /// A number of things.
    #[serde(rename = "count")]
    Count,
}

impl Unit {
    fn of(self, measured: f64) -> f64 {
        rounded(match self {
            Self::Millis => measured / 1000.0,
            Self::Nanos => measured * 1000.0,
            Self::Micros
            | Self::Kilobytes
            | Self::Megabytes
            | Self::MegabytesPerSecond
            | Self::Percent
            | Self::Count => measured,
        })
    }

    /// A value with the unit behind it. Three figures are more than any run repeats.
    fn text(self, value: f64) -> String {
        let decimals = if value < 10.0 { 2 } else { 1 };
        match self {
            Self::Millis => format!("{value:.decimals$} ms"),
            Self::Micros => format!("{value:.decimals$} us"),
            Self::Nanos => format!("{value:.0} ns"),
            Self::Kilobytes => format!("{value:.decimals$} kB"),
            Self::Megabytes => format!("{value:.decimals$} MB"),
            Self::MegabytesPerSecond => format!("{value:.0} MB/s"),
            Self::Percent => format!("{value:.decimals$} %"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

/// To three decimals: what is printed is what is judged.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl Row {
    /// A figure that stands alone; the target is in its unit.
    pub fn alone(name: &str, unit: Unit, measured: f64, target: Option<f64>) -> Self {
        let value = unit.of(measured);
        Self {
            name: name.to_owned(),
            value,
            unit,
            p95: None,
            against: None,
            against_value: None,
            ratio: None,
            target,
            bound: Bound::AtMost,
            met: target.map(|target| value <= target),
        }
    }

    /// A figure and that of the other side; the target is for their ratio.
    pub fn compared(
        name: &str,
        unit: Unit,
        measured: f64,
        (against, against_measured): (&str, f64),
        target: Option<f64>,
    ) -> Self {
        let ratio = (against_measured > 0.0).then(|| rounded(measured / against_measured));
        Self {
            name: name.to_owned(),
            value: unit.of(measured),
            unit,
            p95: None,
            against: Some(against.to_owned()),
            against_value: Some(unit.of(against_measured)),
            ratio,
            target,
            bound: Bound::AtMost,
            met: target.zip(ratio).map(|(target, ratio)| ratio <= target),
        }
    }

    /// More is better: the ratio, or the value where there is no other side, should be at least this.
    #[must_use]
    pub fn at_least(mut self, target: f64) -> Self {
        self.target = Some(target);
        self.bound = Bound::AtLeast;
        let judged = match self.against {
            Some(_) => self.ratio,
            None => Some(self.value),
        };
        self.met = judged.map(|value| self.bound.holds(value, target));
        self
    }

    /// With the time within which 19 of 20 runs end.
    #[must_use]
    pub fn with_p95(mut self, measured: f64) -> Self {
        self.p95 = Some(self.unit.of(measured));
        self
    }

    fn cells(&self, terminal: &Terminal) -> Vec<String> {
        let number = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.3}"));
        let against = self.against.as_ref().zip(self.against_value);
        let target = self.target.map_or_else(String::new, |target| {
            let target = match self.against {
                Some(_) => format!("{target:.2}"),
                None => self.unit.text(target),
            };
            format!("{} {target}", self.bound.sign())
        });
        vec![
            self.name.clone(),
            match self.p95 {
                Some(p95) => format!(
                    "{}, p95 {}",
                    self.unit.text(self.value),
                    self.unit.text(p95)
                ),
                None => self.unit.text(self.value),
            },
            against.map_or_else(String::new, |(name, value)| {
                format!("{} {name}", self.unit.text(value))
            }),
            number(self.ratio),
            target,
            match self.met {
                Some(true) => terminal.good("met"),
                Some(false) => terminal.bad("missed"),
                None => String::new(),
            },
        ]
    }
}

impl Report {
    /// Of a bench that ran on this machine.
    pub fn new(bench: &'static str, counts: Counts, rows: Vec<Row>) -> Self {
        Self {
            bench,
            machine: Machine::here(),
            counts,
            rows,
        }
    }

    /// The machine and a table.
    pub fn text(&self, terminal: &Terminal) -> String {
        let table = terminal.table(
            &["what", "measured", "against", "ratio", "target", ""],
            self.rows.iter().map(|row| row.cells(terminal)),
        );
        format!("{}\n{table}", terminal.dim(&self.machine.text()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_is_judged_by_its_ratio_or_else_by_its_value() {
        let row = Row::compared(
            "page",
            Unit::Millis,
            1049.0,
            ("plain Rust", 1000.0),
            Some(1.05),
        );
        assert_eq!(
            serde_json::to_value(&row).unwrap(),
            json!({"name": "page", "value": 1.049, "unit": "ms", "against": "plain Rust", "against_value": 1.0,
                   "ratio": 1.049, "target": 1.05, "bound": "at_most", "met": true})
        );
        let row = Row::alone("call", Unit::Micros, 2.5, Some(2.0));
        assert_eq!(
            serde_json::to_value(&row).unwrap(),
            json!({"name": "call", "value": 2.5, "unit": "us", "against": null, "against_value": null,
                   "ratio": null, "target": 2.0, "bound": "at_most", "met": false})
        );
        assert_eq!(Row::alone("call", Unit::Micros, 2.5, None).met, None);
    }

    #[test]
    fn where_more_is_better_the_target_is_the_least() {
        let unit = Unit::MegabytesPerSecond;
        let row = |value| Row::compared("get", unit, value, ("raw", 100.0), None).at_least(0.8);
        assert_eq!(row(80.0).met, Some(true));
        assert_eq!(row(79.0).met, Some(false));
        let alone = Row::alone("get", unit, 50.0, None).at_least(60.0);
        assert_eq!(alone.met, Some(false));
    }
}
