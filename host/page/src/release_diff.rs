//! What changed between two releases, from their documents. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

/// Most changes of an answer. Further ones are counted.
const MAX_CHANGES: usize = 2_000;
/// Deepest level of a document that is compared by key. What is deeper is compared as text.
const MAX_DEPTH: usize = 16;
/// Longest text that is compared by lines, in bytes.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Longest time of a comparison of two texts, whose lines may all differ. After it, what is left counts as replaced.
const MAX_TEXT_TIME: Duration = Duration::from_millis(200);

/// All differences of two releases.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct ReleaseDiff {
    /// The differences, in the order of their paths.
    pub(crate) changes: Vec<Change>,
    /// Number of differences that are left out.
    pub(crate) left_out: usize,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// The part of the release: `components`, `models`, `pipeline` and so on. `grants` is a section of its own.
    pub(crate) section: String,
    /// The path in the document, from its top.
    pub(crate) path: Vec<String>,
    /// What happened there.
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What happened to a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(crate) enum What {
    /// It is new.
    Added {
        /// The value, as JSON.
        after: Value,
    },
    /// It is gone.
    Removed {
        /// The value, as JSON.
        before: Value,
    },
    /// It is another one.
    Changed {
        /// The old value, as JSON.
        before: Value,
        /// The new value, as JSON.
        after: Value,
    },
    /// It is a text of several lines.
    Text {
        /// Its lines.
        lines: Vec<Line>,
    },
}

/// A line of a changed text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// Where it is.
    pub(crate) on: Side,
    /// The line, without its end.
    pub(crate) text: String,
}

/// The text that a line is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// In both.
    Both,
    /// In the old one.
    Before,
    /// In the new one.
    After,
}

/// The differences from `before` to `after`, two documents of releases as JSON. A list of texts, such as grants, is compared as a set.
pub(crate) fn diff(before: &Value, after: &Value) -> ReleaseDiff {
    let mut found = ReleaseDiff::default();
    compare(&mut found, &mut Vec::new(), Some(before), Some(after));
    found
}

fn compare(
    found: &mut ReleaseDiff,
    path: &mut Vec<String>,
    before: Option<&Value>,
    after: Option<&Value>,
) {
    match (before, after) {
        (None, None) => {}
        (Some(before), Some(after)) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) if path.len() < MAX_DEPTH => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                within(found, path, name.clone(), before.get(name), after.get(name));
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) if path.len() < MAX_DEPTH => {
            match (texts(before), texts(after)) {
                (Some(before), Some(after)) => sets(found, path, &before, &after),
                _ => {
                    for place in 0..before.len().max(after.len()) {
                        let number = place.to_string();
                        within(found, path, number, before.get(place), after.get(place));
                    }
                }
            }
        }
        (Some(Value::String(before)), Some(Value::String(after))) if is_long(before, after) => {
            let lines = lines(before, after);
            add(found, path, What::Text { lines });
        }
        (Some(before), Some(after)) => {
            let (before, after) = (before.clone(), after.clone());
            add(found, path, What::Changed { before, after });
        }
        (None, Some(after)) => {
            let after = after.clone();
            add(found, path, What::Added { after });
        }
        (Some(before), None) => {
            let before = before.clone();
            add(found, path, What::Removed { before });
        }
    }
}

fn within(
    found: &mut ReleaseDiff,
    path: &mut Vec<String>,
    name: String,
    before: Option<&Value>,
    after: Option<&Value>,
) {
    path.push(name);
    compare(found, path, before, after);
    path.pop();
}

/// The texts of a list that has nothing else.
fn texts(list: &[Value]) -> Option<BTreeSet<&str>> {
    list.iter().map(Value::as_str).collect()
}

fn sets(found: &mut ReleaseDiff, path: &[String], before: &BTreeSet<&str>, after: &BTreeSet<&str>) {
    let all: BTreeMap<&str, (bool, bool)> = before
        .union(after)
        .map(|text| (*text, (before.contains(text), after.contains(text))))
        .collect();
    for (text, place) in all {
        let value = Value::from(text);
        match place {
            (true, false) => add(found, path, What::Removed { before: value }),
            (false, true) => add(found, path, What::Added { after: value }),
            _ => {}
        }
    }
}

fn add(found: &mut ReleaseDiff, path: &[String], what: What) {
    if found.changes.len() >= MAX_CHANGES {
        found.left_out += 1;
        return;
    }
    let is_grant = path.iter().any(|part| part == "grants");
    let section = if is_grant {
        "grants".to_owned()
    } else {
        path.first().cloned().unwrap_or_default()
    };
    found.changes.push(Change {
        section,
        path: path.to_vec(),
        what,
    });
}

fn is_long(before: &str, after: &str) -> bool {
    let fits = before.len() <= MAX_TEXT_BYTES && after.len() <= MAX_TEXT_BYTES;
    fits && (before.contains('\n') || after.contains('\n'))
}

fn lines(before: &str, after: &str) -> Vec<Line> {
    let mut diff = TextDiff::configure();
    let diff = diff.timeout(MAX_TEXT_TIME).diff_lines(before, after);
    let changes = diff.iter_all_changes();
    changes
        .map(|change| Line {
            on: match change.tag() {
                ChangeTag::Equal => Side::Both,
                ChangeTag::Delete => Side::Before,
                ChangeTag::Insert => Side::After,
            },
            text: change.value().trim_end_matches(['\r', '\n']).to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn release() -> Value {
        json!({
            "name": "labels",
            "generation": 4,
            "components": {
                "rules": {
                    "blob": {"digest": "sha256:aa", "size": 10},
                    "grants": ["log", "clock"],
                    "config": {"text": "if score > 0.5\nalert\n", "limit": "3"},
                },
            },
            "pipeline": [{"infer": {"model": "detect"}}, {"policy": {"component": "rules"}}],
        })
    }

    fn described(found: &ReleaseDiff) -> Vec<(String, String, &What)> {
        let changes = found.changes.iter();
        changes
            .map(|it| (it.section.clone(), it.path.join("/"), &it.what))
            .collect()
    }

    #[test]
    fn a_release_does_not_differ_from_itself() {
        assert_eq!(diff(&release(), &release()), ReleaseDiff::default());
    }

    #[test]
    fn a_grant_is_added_and_removed_in_whatever_order_the_list_is() {
        let mut after = release();
        after["components"]["rules"]["grants"] = json!(["infer", "log"]);
        let found = diff(&release(), &after);
        let path = "components/rules/grants".to_owned();
        let removed = What::Removed {
            before: json!("clock"),
        };
        let added = What::Added {
            after: json!("infer"),
        };
        assert_eq!(
            described(&found),
            [
                ("grants".to_owned(), path.clone(), &removed),
                ("grants".to_owned(), path, &added)
            ]
        );
        after["components"]["rules"]["grants"] = json!(["clock", "log"]);
        assert_eq!(diff(&release(), &after), ReleaseDiff::default());
    }

    #[test]
    fn the_text_of_a_policy_is_compared_by_lines() {
        let mut after = release();
        after["components"]["rules"]["config"]["text"] = json!("if score > 0.7\nalert\n");
        let found = diff(&release(), &after);
        let line = |on, text: &str| Line {
            on,
            text: text.to_owned(),
        };
        let lines = vec![
            line(Side::Before, "if score > 0.5"),
            line(Side::After, "if score > 0.7"),
            line(Side::Both, "alert"),
        ];
        let expected = What::Text { lines };
        assert_eq!(
            described(&found),
            [(
                "components".to_owned(),
                "components/rules/config/text".to_owned(),
                &expected
            )]
        );
    }

    #[test]
    fn a_changed_blob_an_added_model_and_a_removed_step_are_found() {
        let mut after = release();
        after["components"]["rules"]["blob"]["digest"] = json!("sha256:bb");
        after["models"] = json!({"detect": {"variants": []}});
        after["pipeline"].as_array_mut().unwrap().pop();
        let found = diff(&release(), &after);
        let changed = What::Changed {
            before: json!("sha256:aa"),
            after: json!("sha256:bb"),
        };
        let added = What::Added {
            after: json!({"detect": {"variants": []}}),
        };
        let removed = What::Removed {
            before: json!({"policy": {"component": "rules"}}),
        };
        assert_eq!(
            described(&found),
            [
                (
                    "components".to_owned(),
                    "components/rules/blob/digest".to_owned(),
                    &changed
                ),
                ("models".to_owned(), "models".to_owned(), &added),
                ("pipeline".to_owned(), "pipeline/1".to_owned(), &removed),
            ]
        );
    }

    #[test]
    fn changes_beyond_the_limit_are_counted() {
        let list = |value: u64| Value::from_iter((0..2_005).map(|_| json!(value)));
        let found = diff(&json!({"a": list(1)}), &json!({"a": list(2)}));
        assert_eq!((found.changes.len(), found.left_out), (2_000, 5));
    }

    #[test]
    fn a_deep_document_ends() {
        let mut deep = [json!(1), json!(2)];
        for value in &mut deep {
            for _ in 0..100 {
                *value = json!({"a": value.clone()});
            }
        }
        let found = diff(&deep[0], &deep[1]);
        assert_eq!(found.changes.len(), 1);
        assert_eq!(found.changes[0].path.len(), 16);
    }
}
