//! The checked-in lists: `CASE: reason`, a line each, sorted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::case::Outcome;
use crate::workers::{Outcomes, Results};

/// Longest reason that is written to a list, in characters.
const REASON: usize = 160;
/// The reason of a line that was not looked into; the suite fails with it.
const UNEXPLAINED: &str = "not explained yet";

const UNSUPPORTED_HEAD: &str =
    "# What this backend refuses, and why. The list can only shrink; see tests/conformance.rs.";
const WRONG_HEAD: &str = "# Cases for which this backend gives other values than are expected, and why. The list can only shrink.";

type List = BTreeMap<String, String>;

/// Cases that are not run.
pub(crate) fn withdrawn(folder: &Path) -> List {
    read(&folder.join("withdrawn.txt"))
}

fn read(path: &Path) -> List {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(": "));
    pairs
        .map(|(case, reason)| (case.to_owned(), reason.to_owned()))
        .collect()
}

fn write(path: &Path, head: &str, list: &List) {
    let lines = list
        .iter()
        .map(|(case, reason)| format!("{case}: {reason}\n"));
    fs::write(path, format!("{head}\n{}", lines.collect::<String>())).expect("a list");
}

/// Writes what is not supported now, and what is wrong, whose reasons are kept or wait for someone to write them.
pub(crate) fn accept(folder: &Path, results: &Results) {
    for (backend, outcomes) in results {
        let known = read(&folder.join(format!("wrong-{backend}.txt")));
        let (mut unsupported, mut wrong) = (List::new(), List::new());
        for (case, outcome) in outcomes {
            match outcome {
                Outcome::Unsupported(reason) => {
                    let reason: String = reason.chars().take(REASON).collect();
                    unsupported.insert(case.clone(), reason.trim_end().to_owned());
                }
                Outcome::Wrong(_) => {
                    let reason = known.get(case).map_or(UNEXPLAINED, String::as_str);
                    wrong.insert(case.clone(), reason.to_owned());
                }
                Outcome::Passed | Outcome::Crashed(_) => {}
            }
        }
        let path = folder.join(format!("unsupported-{backend}.txt"));
        write(&path, UNSUPPORTED_HEAD, &unsupported);
        let path = folder.join(format!("wrong-{backend}.txt"));
        write(&path, WRONG_HEAD, &wrong);
    }
}

/// What the lists do not allow, a line each.
pub(crate) fn complaints(folder: &Path, results: &Results) -> Vec<String> {
    let mut complaints = Vec::new();
    for (backend, outcomes) in results {
        let unsupported = read(&folder.join(format!("unsupported-{backend}.txt")));
        let wrong = read(&folder.join(format!("wrong-{backend}.txt")));
        for complaint in held_against(&unsupported, &wrong, outcomes) {
            complaints.push(format!("{backend}: {complaint}"));
        }
    }
    complaints
}

fn held_against(unsupported: &List, wrong: &List, outcomes: &Outcomes) -> Vec<String> {
    let mut complaints = Vec::new();
    for (case, outcome) in outcomes {
        match outcome {
            Outcome::Passed => {
                if unsupported.contains_key(case) || wrong.contains_key(case) {
                    complaints.push(format!("{case} passes now; remove its line from the list"));
                }
            }
            Outcome::Unsupported(reason) => {
                if !unsupported.contains_key(case) {
                    complaints.push(format!("{case} is refused and not listed: {reason}"));
                }
            }
            Outcome::Wrong(difference) => match wrong.get(case).map(String::as_str) {
                None => complaints.push(format!("{case} is wrong: {difference}")),
                Some(UNEXPLAINED) => {
                    complaints.push(format!("{case} needs a reason: {difference}"))
                }
                Some(_) => {}
            },
            Outcome::Crashed(how) => complaints.push(format!("{case} crashed: {how}")),
        }
    }
    let listed = unsupported.keys().chain(wrong.keys());
    let gone = listed.filter(|case| !outcomes.contains_key(*case));
    complaints.extend(gone.map(|case| format!("there is no case {case}; remove its line")));
    complaints
}

#[test]
fn a_list_can_only_shrink() {
    let list = |cases: &[(&str, &str)]| -> List {
        let pairs = cases.iter();
        pairs
            .map(|(case, reason)| ((*case).to_owned(), (*reason).to_owned()))
            .collect()
    };
    let outcomes: Outcomes = [
        ("better", Outcome::Passed),
        ("crashed", Outcome::Crashed("signal".to_owned())),
        ("known", Outcome::Unsupported("operator".to_owned())),
        ("new", Outcome::Unsupported("operator".to_owned())),
        ("off", Outcome::Wrong("1 instead of 2".to_owned())),
        ("unexplained", Outcome::Wrong("1 instead of 2".to_owned())),
        ("worse", Outcome::Wrong("1 instead of 2".to_owned())),
    ]
    .map(|(case, outcome)| (case.to_owned(), outcome))
    .into();
    let unsupported = list(&[
        ("better", "x"),
        ("gone", "x"),
        ("known", "x"),
        ("worse", "x"),
    ]);
    let wrong = list(&[("off", "a rounding tie"), ("unexplained", UNEXPLAINED)]);
    assert_eq!(
        held_against(&unsupported, &wrong, &outcomes),
        [
            "better passes now; remove its line from the list",
            "crashed crashed: signal",
            "new is refused and not listed: operator",
            "unexplained needs a reason: 1 instead of 2",
            "worse is wrong: 1 instead of 2",
            "there is no case gone; remove its line",
        ]
    );
}
