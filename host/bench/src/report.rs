use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use hotshoe_release::machine::Machine;
use hotshoe_release::terminal::Terminal;

/// The report of a bench.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    machine: Machine,
    /// Counts beside the rows.
    #[serde(flatten)]
    counts: Counts,
    rows: Vec<Row>,
}

/// Named counts.
pub(crate) type Counts = BTreeMap<&'static str, Value>;

/// One figure and its baseline.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    name: String,
    value: f64,
    unit: Unit,
    /// The 95th percentile, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    p95: Option<f64>,
    /// The other side, if there is one.
    against: Option<String>,
    against_value: Option<f64>,
    /// `value` / `against_value`.
    ratio: Option<f64>,
    /// The target of the ratio, or of the value if there is no other side.
    target: Option<f64>,
    /// Whether the target is an upper or a lower bound.
    bound: Bound,
    /// Whether the target is met; none without a target.
    met: Option<bool>,
}

/// Whether a target is an upper or a lower bound.
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

/// The unit in which values are shown. Times are stored in microseconds, everything else in the unit itself.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanos,
    /// Kilobytes (1000 bytes).
    #[serde(rename = "kB")]
    Kilobytes,
    /// Megabytes (1000000 bytes).
    #[serde(rename = "MB")]
    Megabytes,
    /// Megabytes per second.
    #[serde(rename = "MB/s")]
    MegabytesPerSecond,
    /// Percent.
    #[serde(rename = "%")]
    Percent,
    /// A count.
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

    /// A value with its unit, to three significant digits: no run reproduces more.
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

/// Rounds to three decimals, so that the printed value decides whether the target is met.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl Row {
    /// A figure without a baseline; the target is in its unit.
    pub(crate) fn alone(name: &str, unit: Unit, measured: f64, target: Option<f64>) -> Self {
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

    /// A figure and that of the other side; the target applies to their ratio.
    pub(crate) fn compared(
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

    /// Sets a lower bound for the ratio, or for the value if there is no other side.
    #[must_use]
    pub(crate) fn at_least(self, target: f64) -> Self {
        self.bounded(Bound::AtLeast, target)
    }

    /// Sets an upper bound for the ratio, or for the value if there is no other side.
    #[must_use]
    pub(crate) fn at_most(self, target: f64) -> Self {
        self.bounded(Bound::AtMost, target)
    }

    fn bounded(mut self, bound: Bound, target: f64) -> Self {
        self.target = Some(target);
        self.bound = bound;
        let judged = match self.against {
            Some(_) => self.ratio,
            None => Some(self.value),
        };
        self.met = judged.map(|value| bound.holds(value, target));
        self
    }

    /// Adds the 95th percentile.
    #[must_use]
    pub(crate) fn with_p95(mut self, measured: f64) -> Self {
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
    /// The report of a bench on this machine.
    pub(crate) fn new(bench: &'static str, counts: Counts, rows: Vec<Row>) -> Self {
        Self {
            bench,
            machine: Machine::here(),
            counts,
            rows,
        }
    }

    /// The machine and a table as text.
    pub(crate) fn text(&self, terminal: &Terminal) -> String {
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
