//! The results by operator, for people (`table.md`) and for programs (`table.json`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::case::{self, Outcome};
use crate::workers::{Outcomes, Results};

#[derive(Debug, Default, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Count {
    passed: usize,
    wrong: usize,
    not_supported: usize,
    crashed: usize,
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Wrong(_) => self.wrong += 1,
            Outcome::Unsupported(_) => self.not_supported += 1,
            Outcome::Crashed(_) => self.crashed += 1,
        }
    }

    fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Self {
        let mut count = Self::default();
        outcomes.for_each(|outcome| count.add(outcome));
        count
    }
}

/// One line.
pub(crate) fn totals(outcomes: &Outcomes) -> String {
    let count = Count::of(outcomes.values());
    format!(
        "{} cases, {} passed, {} wrong, {} not supported, {} crashed",
        outcomes.len(),
        count.passed,
        count.wrong,
        count.not_supported,
        count.crashed
    )
}

/// How many cases pass on at least one backend.
pub(crate) fn somewhere(results: &Results) -> usize {
    let cases = results.values().flatten();
    let passed = cases.filter(|(_, outcome)| **outcome == Outcome::Passed);
    let names: BTreeSet<&String> = passed.map(|(case, _)| case).collect();
    names.len()
}

/// Writes both files.
pub(crate) fn write(to: &Path, cases: &Path, results: &Results) {
    let mut operators: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for case in results.values().next().expect("a backend").keys() {
        let operator = case::operator(cases, case);
        operators.entry(operator).or_default().push(case);
    }
    let by_operator: BTreeMap<&String, BTreeMap<&String, Count>> = operators
        .iter()
        .map(|(operator, cases)| {
            let counts = results.iter().map(|(backend, outcomes)| {
                let outcomes = cases.iter().map(|case| &outcomes[*case]);
                (backend, Count::of(outcomes))
            });
            (operator, counts.collect())
        })
        .collect();
    let totals: BTreeMap<&String, Count> = results
        .iter()
        .map(|(backend, outcomes)| (backend, Count::of(outcomes.values())))
        .collect();
    fs::create_dir_all(to).expect("a folder");
    let json = serde_json::json!({ "totals": totals, "passed-somewhere": somewhere(results), "operators": by_operator, "cases": results });
    let json = serde_json::to_string_pretty(&json).expect("JSON");
    fs::write(to.join("table.json"), json).expect("a file");

    let mut text = "| operator |".to_owned();
    for backend in results.keys() {
        text += &format!(" {backend}: passed | wrong | not supported |");
    }
    text += "\n|---|";
    text += &"---|".repeat(3 * results.len());
    let row = |name: &str, counts: &BTreeMap<&String, Count>| {
        let mut row = format!("\n| {name} |");
        for count in counts.values() {
            let wrong = count.wrong + count.crashed;
            row += &format!(" {} | {wrong} | {} |", count.passed, count.not_supported);
        }
        row
    };
    for (operator, counts) in &by_operator {
        text += &row(operator, counts);
    }
    text += &row("all", &totals);
    text.push('\n');
    fs::write(to.join("table.md"), text).expect("a file");
}
