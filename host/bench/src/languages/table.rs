//! The figures of all languages: as rows for the report and as one table for each task.

use hotshoe_trust::World;
use serde::Serialize;
use serde_json::json;

use crate::report::{Counts, Report, Row, Unit};
use hotshoe_release::machine::Machine;
use hotshoe_release::terminal::{Terminal, size};

/// All results.
pub(crate) struct Outcome {
    /// Rounds of each language.
    pub rounds: usize,
    /// The figures by task and language. The others are compared with the first language.
    pub tasks: Vec<(World, Vec<(&'static str, Figures)>)>,
    /// Languages without figures.
    pub left_out: Vec<LeftOut>,
}

/// A language that this machine could not build.
#[derive(Serialize)]
pub(crate) struct LeftOut {
    /// Its name.
    pub language: &'static str,
    /// The reason.
    pub reason: String,
}

/// One component's figures: times in microseconds, the rest in bytes.
pub(crate) struct Figures {
    /// The size of the component file.
    pub component: f64,
    /// The time to load it and compile it to machine code, without cached code.
    pub load: f64,
    /// The time to create and drop an instance.
    pub instance: f64,
    /// The time of a call on an existing instance.
    pub call: f64,
    /// Peak linear memory of an instance.
    pub memory: f64,
    /// The times of the first build of a new project and of the next one after a change; only for the first task.
    pub builds: Option<[f64; 2]>,
}

/// One figure.
struct Figure {
    name: &'static str,
    unit: Unit,
    value: f64,
}

impl Figures {
    fn all(&self) -> Vec<Figure> {
        let figure = |name, unit, value| Figure { name, unit, value };
        let mut all = vec![
            figure("component", Unit::Kilobytes, self.component),
            figure("load", Unit::Millis, self.load),
            figure("instance", Unit::Micros, self.instance),
            figure("call", Unit::Micros, self.call),
            figure("memory", Unit::Kilobytes, self.memory),
        ];
        if let Some([first, next]) = self.builds {
            all.push(figure("first build", Unit::Millis, first));
            all.push(figure("next build", Unit::Millis, next));
        }
        all
    }
}

impl Figure {
    fn row(&self, what: &str, against: Option<(&'static str, &Self)>) -> Row {
        let name = format!("{what}: {}", self.name);
        match against {
            None => Row::alone(&name, self.unit, self.measured(), None),
            Some((language, other)) => {
                let other = (language, other.measured());
                Row::compared(&name, self.unit, self.measured(), other, None)
            }
        }
    }

    /// The figure as a row.
    fn measured(&self) -> f64 {
        match self.unit {
            Unit::Kilobytes => self.value / 1000.0,
            _ => self.value,
        }
    }

    /// The figure as a cell, with the ratio.
    fn cell(&self, against: Option<&Self>) -> String {
        let value = match self.unit {
            Unit::Kilobytes => size(self.value as u64),
            _ => time(self.value),
        };
        let ratio = against.and_then(|other| {
            let ratio = self.value / other.value;
            ratio.is_finite().then_some(ratio)
        });
        match ratio {
            None => value,
            Some(ratio) if ratio < 0.95 => format!("{value} (x{ratio:.2})"),
            Some(ratio) if ratio < 9.95 => format!("{value} (x{ratio:.1})"),
            Some(ratio) => format!("{value} (x{ratio:.0})"),
        }
    }
}

impl Outcome {
    /// The report as JSON.
    pub(crate) fn report(&self) -> Report {
        let mut rows = Vec::new();
        for (world, languages) in &self.tasks {
            let first = languages.first().map(|(name, it)| (*name, it.all()));
            for (number, (language, figures)) in languages.iter().enumerate() {
                let what = format!("{world} in {language}");
                let first = first.as_ref().filter(|_| number > 0);
                for (at, figure) in figures.all().iter().enumerate() {
                    let against = first.and_then(|(name, all)| Some((*name, all.get(at)?)));
                    rows.push(figure.row(&what, against));
                }
            }
        }
        let counts = Counts::from([
            ("rounds", json!(self.rounds)),
            ("left_out", json!(self.left_out)),
        ]);
        Report::new("languages", counts, rows)
    }

    /// The report as text.
    pub(crate) fn text(&self, terminal: &Terminal) -> String {
        let mut parts = vec![terminal.dim(&Machine::here().text())];
        for (world, languages) in &self.tasks {
            let first = languages
                .first()
                .map(|(_, it)| it.all())
                .unwrap_or_default();
            let mut header = vec![world.to_string()];
            header.extend(first.iter().map(|figure| figure.name.to_owned()));
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            let rows = languages.iter().enumerate().map(|(number, (name, it))| {
                let figures = it.all();
                let cells = figures.iter().enumerate();
                let cells = cells.map(|(at, it)| it.cell(first.get(at).filter(|_| number > 0)));
                std::iter::once((*name).to_owned()).chain(cells).collect()
            });
            parts.push(terminal.figures(&header, rows));
        }
        for LeftOut { language, reason } in &self.left_out {
            parts.push(format!("{language} is left out: {reason}"));
        }
        parts.join("\n\n")
    }
}

/// A time in a fitting unit.
fn time(micros: f64) -> String {
    let (value, unit) = match micros {
        it if it < 999.5 => (it, "us"),
        it if it < 999_500.0 => (it / 1e3, "ms"),
        it => (it / 1e6, "s"),
    };
    let decimals = usize::from(value < 99.95);
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn figures(scale: f64) -> Figures {
        Figures {
            component: 20_000.0 * scale,
            load: 40_000.0 * scale,
            instance: 8.0 * scale,
            call: 5.0 * scale,
            memory: 1_114_112.0 * scale,
            builds: (scale > 1.0).then_some([2e6 * scale, 1e6]),
        }
    }

    #[test]
    fn every_language_is_compared_with_the_first() {
        let outcome = Outcome {
            rounds: 1,
            tasks: vec![(
                World::Policy,
                vec![("Rust", figures(1.0)), ("Go", figures(30.0))],
            )],
            left_out: vec![LeftOut {
                language: "C",
                reason: "no compiler".to_owned(),
            }],
        };
        let text = outcome.text(&Terminal::new(true));
        for cell in ["20.0 kB", "600.0 kB (x30)", "1.2 s (x30)", "150 us (x30)"] {
            assert!(text.contains(cell), "{cell}: {text}");
        }
        assert!(text.ends_with("C is left out: no compiler"), "{text}");
        let report = serde_json::to_value(outcome.report()).unwrap();
        assert_eq!(report["left_out"][0]["language"], "C");
        let rows = report["rows"].as_array().unwrap();
        let call = rows
            .iter()
            .find(|row| row["name"] == "policy in Go: call")
            .unwrap();
        assert_eq!(call["value"], 150.0);
        assert_eq!(call["ratio"], 30.0);
        assert_eq!(call["against"], "Rust");
    }

    #[test]
    fn times_are_given_in_the_unit_that_fits() {
        for (micros, text) in [
            (4.25, "4.2 us"),
            (150.0, "150 us"),
            (1500.0, "1.5 ms"),
            (999_700.0, "1.0 s"),
            (123e6, "123 s"),
        ] {
            assert_eq!(time(micros), text);
        }
    }
}
