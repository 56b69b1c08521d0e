//! Shows the differences between actual and expected results. Numbers within the tolerance are shown as equal.

use hotshoe_engine::{Action, Insight};
use hotshoe_infer::Tensor;
use hotshoe_infer::npz::{self, Limits};
use hotshoe_pipeline::{Decision, Expectation};
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};

use hotshoe_release::terminal::Terminal;

/// The number of equal lines around a difference.
const CONTEXT: usize = 3;
/// Smaller numbers are compared as if they had this magnitude, because the relative difference of tiny numbers is noise.
const LEAST: f64 = 1e-3;
/// The most lines of a difference.
const MAX_LINES: usize = 200;
/// The most consecutive lines that are all expected, or all actual.
const MAX_RUN: usize = 12;
/// The most characters of a text that stands for bytes.
const MAX_TEXT: usize = 200;

/// A difference between two results, as the text of both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    expected: String,
    result: String,
}

impl Difference {
    /// The difference between a decision and the expected one; none if they are equal within `tolerance`.
    pub(super) fn of(expected: &Expectation, decision: &Decision, tolerance: f64) -> Option<Self> {
        let actions = expected.actions.is_some();
        let side = |insight: &Insight, decided: Option<&Vec<Action>>| {
            let mut sides = Map::new();
            sides.insert("insight".to_owned(), shown(insight));
            if actions {
                let decided = serde_json::to_value(decided).unwrap_or_default();
                sides.insert("actions".to_owned(), decided);
            }
            Value::Object(sides)
        };
        let wanted = side(&expected.insight, expected.actions.as_ref());
        let mut result = side(&decision.insight, Some(&decision.actions));
        settle(&mut result, &wanted, tolerance);
        (result != wanted).then(|| Self {
            expected: pretty(&wanted),
            result: pretty(&result),
        })
    }

    /// The differing lines, with `-` for expected and `+` for actual ones, and a legend.
    pub(super) fn text(&self, terminal: &Terminal) -> String {
        let diff = TextDiff::from_lines(&self.expected, &self.result);
        let mut lines = Vec::new();
        for group in diff.grouped_ops(CONTEXT) {
            if !lines.is_empty() {
                lines.push(terminal.dim("  ..."));
            }
            for op in &group {
                let changes: Vec<_> = diff.iter_changes(op).collect();
                for tag in [ChangeTag::Equal, ChangeTag::Delete, ChangeTag::Insert] {
                    let same = changes.iter().filter(|change| change.tag() == tag);
                    let same: Vec<_> = same.map(|change| change.value()).collect();
                    lines.extend(run_of(&same, tag, terminal));
                }
            }
        }
        let more = lines.len().saturating_sub(MAX_LINES);
        lines.truncate(MAX_LINES);
        if more > 0 {
            lines.push(format!("  ... and {more} lines more"));
        }
        lines.push(
            terminal.dim("- expected, + actual; `hotshoe test --update` accepts the actual result"),
        );
        lines.join("\n")
    }
}

/// Lines that are all expected, or all actual. A long run, such as a tensor, is truncated, so that the other side is visible too.
fn run_of(values: &[&str], tag: ChangeTag, terminal: &Terminal) -> Vec<String> {
    let paint = |text: &str| match tag {
        ChangeTag::Delete => terminal.bad(&format!("- {text}")),
        ChangeTag::Insert => terminal.good(&format!("+ {text}")),
        ChangeTag::Equal => terminal.dim(&format!("  {text}")),
    };
    let shown = values.iter().take(MAX_RUN);
    let mut lines: Vec<_> = shown
        .map(|value| paint(value.trim_end_matches('\n')))
        .collect();
    let more = values.len().saturating_sub(MAX_RUN);
    if more > 0 {
        lines.push(paint(&format!("... and {more} lines more")));
    }
    lines
}

/// An insight as JSON, with tensors instead of their bytes.
fn shown(insight: &Insight) -> Value {
    if let Insight::Custom {
        content_type,
        payload,
    } = insight
        && content_type == npz::CONTENT_TYPE
        && let Ok(arrays) = npz::read(payload, Limits::SAMPLE)
    {
        let mut arrays = npz::without_sample(arrays);
        arrays.sort_by(|a, b| a.0.cmp(&b.0));
        let arrays = arrays.into_iter().map(|(name, tensor)| {
            let numbers: Vec<Value> = tensor.numbers().map(Value::from).collect();
            let title = format!("{name} {} {:?}", tensor.element_type(), tensor.shape());
            (title, Value::Array(numbers))
        });
        return Value::Object(arrays.collect());
    }
    serde_json::to_value(insight).unwrap_or_default()
}

/// Whether two numbers are equal within the tolerance.
fn near(a: f64, b: f64, tolerance: f64) -> bool {
    a.total_cmp(&b).is_eq() || (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(LEAST)
}

/// Replaces numbers of `result` by those of `wanted` that are within the tolerance.
fn settle(result: &mut Value, wanted: &Value, tolerance: f64) {
    match (result, wanted) {
        (Value::Object(result), Value::Object(wanted)) => {
            for (key, value) in result {
                if let Some(wanted) = wanted.get(key) {
                    settle(value, wanted, tolerance);
                }
            }
        }
        (Value::Array(result), Value::Array(wanted)) => {
            for (value, wanted) in result.iter_mut().zip(wanted) {
                settle(value, wanted, tolerance);
            }
        }
        (result @ Value::Number(_), Value::Number(number)) => {
            let pair = (result.as_f64(), number.as_f64());
            if let (Some(a), Some(b)) = pair
                && near(a, b, tolerance)
            {
                *result = Value::Number(number.clone());
            }
        }
        _ => {}
    }
}

/// Formats JSON with eight numbers per line, and long texts truncated.
fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text.push('\n');
    text
}

fn write(value: &Value, depth: usize, text: &mut String) {
    let indent = |depth: usize| format!("\n{}", "  ".repeat(depth));
    let flat = |value: &Value| value.is_number() || value.is_null();
    match value {
        Value::Array(items) if !items.is_empty() => {
            text.push('[');
            let rows: Vec<&[Value]> = if items.iter().all(flat) {
                items.chunks(8).collect()
            } else {
                items.chunks(1).collect()
            };
            for (position, row) in rows.iter().enumerate() {
                text.push_str(if position == 0 { "" } else { "," });
                text.push_str(&indent(depth + 1));
                for (position, item) in row.iter().enumerate() {
                    text.push_str(if position == 0 { "" } else { ", " });
                    write(item, depth + 1, text);
                }
            }
            text.push_str(&indent(depth));
            text.push(']');
        }
        Value::Object(items) if !items.is_empty() => {
            text.push('{');
            for (position, (key, item)) in items.iter().enumerate() {
                text.push_str(if position == 0 { "" } else { "," });
                text.push_str(&indent(depth + 1));
                text.push_str(&format!("\"{key}\": "));
                write(item, depth + 1, text);
            }
            text.push_str(&indent(depth));
            text.push('}');
        }
        Value::String(long) if long.chars().count() > MAX_TEXT => {
            let start: String = long.chars().take(MAX_TEXT).collect();
            text.push_str(&format!("{start:?}... ({} bytes)", long.len()));
        }
        other => text.push_str(&other.to_string()),
    }
}

/// The differences between actual and recorded tensors: one line per tensor that is not equal within `tolerance`.
pub(super) fn tensors(result: &[(String, Tensor)], recorded: &[u8], tolerance: f64) -> Vec<String> {
    let recorded = match npz::read(recorded, Limits::FILE) {
        Ok(arrays) => npz::without_sample(arrays),
        Err(error) => return vec![format!("the recorded tensors cannot be read: {error}")],
    };
    let mut lines = Vec::new();
    for (name, wanted) in &recorded {
        match result.iter().find(|(own, _)| own == name) {
            None => lines.push(format!("`{name}` was recorded but is missing")),
            Some((_, tensor)) => lines.extend(one(name, tensor, wanted, tolerance)),
        }
    }
    let known = |name: &String| recorded.iter().any(|(other, _)| other == name);
    for (name, _) in result.iter().filter(|(name, _)| !known(name)) {
        lines.push(format!("`{name}` was not recorded"));
    }
    lines
}

fn one(name: &str, result: &Tensor, wanted: &Tensor, tolerance: f64) -> Option<String> {
    let kind = |it: &Tensor| format!("{} {:?}", it.element_type(), it.shape());
    if kind(result) != kind(wanted) {
        return Some(format!(
            "`{name}` is {} instead of {}",
            kind(result),
            kind(wanted)
        ));
    }
    let pairs = result.numbers().zip(wanted.numbers()).enumerate();
    let off: Vec<_> = pairs
        .filter(|(_, (a, b))| !near(*a, *b, tolerance))
        .collect();
    let distance = |(a, b): (f64, f64)| (a - b).abs();
    let (at, (a, b)) = off
        .iter()
        .max_by(|x, y| distance(x.1).total_cmp(&distance(y.1)))?;
    Some(format!(
        "`{name}` {}: {} of {} elements differ, at most element {at}: {a} instead of {b}",
        kind(result),
        off.len(),
        result.len()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use hotshoe_engine::Scalar;

    fn scalars(values: &[f64]) -> Insight {
        let scalars = values.iter().map(|value| Scalar {
            name: "n".to_owned(),
            value: *value,
            unit: String::new(),
        });
        Insight::Scalars {
            scalars: scalars.collect(),
        }
    }

    fn decision(insight: Insight) -> Decision {
        Decision {
            insight,
            actions: vec![Action::Publish],
        }
    }

    #[test]
    fn numbers_within_the_tolerance_are_shown_as_equal() {
        let expected = Expectation::of(scalars(&[1.0, 2.0]));
        let near = decision(scalars(&[1.000_5, 2.0]));
        assert_eq!(Difference::of(&expected, &near, 1e-3), None);
        let far = decision(scalars(&[1.000_5, 3.0]));
        let text = Difference::of(&expected, &far, 1e-3)
            .unwrap()
            .text(&Terminal::new(true));
        assert!(text.contains("-         \"value\": 2.0"), "{text}");
        assert!(text.contains("+         \"value\": 3.0"), "{text}");
        assert!(!text.contains("1.0005"), "{text}");
    }

    #[test]
    fn actions_are_compared_where_they_are_expected() {
        let mut expected = Expectation::of(scalars(&[1.0]));
        let result = decision(scalars(&[1.0]));
        assert_eq!(Difference::of(&expected, &result, 0.0), None);
        expected.actions = Some(Vec::new());
        let text = Difference::of(&expected, &result, 0.0)
            .unwrap()
            .text(&Terminal::new(true));
        assert!(text.contains("+ ") && text.contains("publish"), "{text}");
    }

    #[test]
    fn a_tensor_line_has_name_shape_and_the_worst_element() {
        let x = |values: &[f32]| {
            let tensor = Tensor::from_f32(&[values.len()], values.to_vec()).unwrap();
            vec![("x".to_owned(), tensor)]
        };
        let recorded = npz::to_bytes(&x(&[1.0, 2.0])).unwrap();
        assert!(tensors(&x(&[1.0, 2.001]), &recorded, 1e-3).is_empty());
        let lines = tensors(&x(&[1.0, 3.0]), &recorded, 1e-3);
        assert_eq!(
            lines,
            ["`x` f32 [2]: 1 of 2 elements differ, at most element 1: 3 instead of 2"]
        );
        let lines = tensors(&x(&[1.0]), &recorded, 1e-3);
        assert_eq!(lines, ["`x` is f32 [1] instead of f32 [2]"]);
        let lines = tensors(&[], &recorded, 1e-3);
        assert_eq!(lines, ["`x` was recorded but is missing"]);
    }
}
