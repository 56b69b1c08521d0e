use serde::Serialize;

use super::machine::Machine;
use crate::terminal::Terminal;

/// What a bench prints.
#[derive(Debug, Serialize)]
pub struct Report {
    bench: &'static str,
    machine: Machine,
    rows: Vec<Row>,
}

/// One figure, with what it is compared with.
#[derive(Debug, Serialize)]
pub struct Row {
    name: String,
    value: f64,
    unit: Unit,
    /// The other side, if there is one.
    against: Option<String>,
    against_value: Option<f64>,
    /// `value` / `against_value`.
    ratio: Option<f64>,
    /// The most that the ratio may be, or the value where there is no other side.
    target: Option<f64>,
    /// Whether that holds; none without a target.
    met: Option<bool>,
}

/// What values are shown in. All are measured in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
}

impl Unit {
    fn of(self, micros: f64) -> f64 {
        rounded(match self {
            Self::Millis => micros / 1000.0,
            Self::Micros => micros,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Micros => "us",
        }
    }
}

/// To three decimals: what is printed is what is judged.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl Row {
    /// A figure that stands alone; the target is in its unit.
    pub fn alone(name: &str, unit: Unit, micros: f64, target: Option<f64>) -> Self {
        let value = unit.of(micros);
        Self {
            name: name.to_owned(),
            value,
            unit,
            against: None,
            against_value: None,
            ratio: None,
            target,
            met: target.map(|target| value <= target),
        }
    }

    /// A figure and that of the other side; the target is for their ratio.
    pub fn compared(
        name: &str,
        unit: Unit,
        micros: f64,
        (against, against_micros): (&str, f64),
        target: Option<f64>,
    ) -> Self {
        let ratio = (against_micros > 0.0).then(|| rounded(micros / against_micros));
        Self {
            name: name.to_owned(),
            value: unit.of(micros),
            unit,
            against: Some(against.to_owned()),
            against_value: Some(unit.of(against_micros)),
            ratio,
            target,
            met: target.zip(ratio).map(|(target, ratio)| ratio <= target),
        }
    }

    fn cells(&self, terminal: &Terminal) -> Vec<String> {
        let number = |value: Option<f64>, decimals: usize| {
            value.map_or_else(String::new, |value| format!("{value:.decimals$}"))
        };
        // Three figures are more than any run repeats.
        let time = |value: f64| {
            let decimals = if value < 10.0 { 2 } else { 1 };
            format!("{value:.decimals$} {}", self.unit.name())
        };
        let against = self.against.as_ref().zip(self.against_value);
        vec![
            self.name.clone(),
            time(self.value),
            against.map_or_else(String::new, |(name, value)| {
                format!("{} {name}", time(value))
            }),
            number(self.ratio, 3),
            match (self.target, self.ratio) {
                (Some(target), None) => time(target),
                (target, _) => number(target, 2),
            },
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
    pub fn new(bench: &'static str, rows: Vec<Row>) -> Self {
        Self {
            bench,
            machine: Machine::here(),
            rows,
        }
    }

    /// The machine and a table.
    pub fn text(&self, terminal: &Terminal) -> String {
        let table = terminal.table(
            &["what", "median", "against", "ratio", "at most", ""],
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
                   "ratio": 1.049, "target": 1.05, "met": true})
        );
        let row = Row::alone("call", Unit::Micros, 2.5, Some(2.0));
        assert_eq!(
            serde_json::to_value(&row).unwrap(),
            json!({"name": "call", "value": 2.5, "unit": "us", "against": null, "against_value": null,
                   "ratio": null, "target": 2.0, "met": false})
        );
        assert_eq!(Row::alone("call", Unit::Micros, 2.5, None).met, None);
    }
}
