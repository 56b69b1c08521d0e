//! The checked-in lists of what a backend does not pass: `CASE: reason`, a line each, sorted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::case::Outcome;
use crate::workers::{Outcomes, Results};

/// Longest reason that is written to a list, in characters.
const REASON: usize = 160;

fn path(folder: &Path, backend: &str) -> PathBuf {
    folder.join(format!("unsupported-{backend}.txt"))
}

fn read(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(": "));
    pairs
        .map(|(case, reason)| (case.to_owned(), reason.to_owned()))
        .collect()
}

/// Writes what is not supported now.
pub fn accept(folder: &Path, results: &Results) {
    for (backend, outcomes) in results {
        let mut text = "# What this backend refuses, and why. The list can only shrink; see tests/conformance.rs.\n".to_owned();
        for (case, outcome) in outcomes {
            if let Outcome::Unsupported(reason) = outcome {
                let reason: String = reason.chars().take(REASON).collect();
                text += &format!("{case}: {}\n", reason.trim_end());
            }
        }
        fs::write(path(folder, backend), text).expect("a list");
    }
}

/// What the lists do not allow, a line each.
pub fn complaints(folder: &Path, results: &Results) -> Vec<String> {
    let all = results.iter();
    all.flat_map(|(backend, outcomes)| {
        let path = path(folder, backend);
        held_against(&path, outcomes)
            .into_iter()
            .map(move |complaint| format!("{backend}: {complaint}"))
    })
    .collect()
}

fn held_against(path: &Path, outcomes: &Outcomes) -> Vec<String> {
    let listed = read(path);
    let file = path.file_name().unwrap_or_default().display();
    let mut complaints = Vec::new();
    for (case, outcome) in outcomes {
        let is_listed = listed.contains_key(case);
        match outcome {
            Outcome::Passed if is_listed => {
                complaints.push(format!("{case} passes now; remove its line from {file}"));
            }
            Outcome::Passed => {}
            Outcome::Unsupported(_) if is_listed => {}
            Outcome::Unsupported(reason) => {
                complaints.push(format!(
                    "{case} was supported and is not any more: {reason}"
                ));
            }
            Outcome::Wrong(difference) => complaints.push(format!("{case} is wrong: {difference}")),
            Outcome::Crashed(how) => complaints.push(format!("{case} crashed: {how}")),
        }
    }
    let gone = listed.keys().filter(|case| !outcomes.contains_key(*case));
    complaints
        .extend(gone.map(|case| format!("there is no case {case}; remove its line from {file}")));
    complaints
}
