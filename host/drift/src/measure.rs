//! The values of one sample.

use std::collections::BTreeMap;

use hotshoe_trust::FieldPath;
use serde_json::Value as Json;

use super::limits::{MAX_DIMENSIONS, MOST};
use super::source::{Source, Take, TensorStatistic};
use super::tensor::TensorStatistics;

/// Longest label that is told apart, in bytes. What is longer is cut.
pub const MAX_LABEL_BYTES: usize = 64;
/// Most labels that one sample gives to a source; more are left out.
pub const MAX_LABELS_OF_SAMPLE: usize = 256;

/// What a source has in one sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A finite number of seven significant digits: those of the file of a baseline.
    Number(f64),
    /// Labels, in the order of the insight. Not empty.
    Labels(Vec<String>),
    /// A vector of 1 to [`MAX_DIMENSIONS`] finite numbers.
    Vector(Vec<f64>),
}

/// The values of one sample, in the order of the sources that it was measured by. A source without a value in this sample has `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured(pub Vec<Option<Value>>);

/// Measures one sample: its insight as JSON, before anything is left out of it for its class, and the inputs of models.
///
/// `tensor` gets the name of a model ([`SAMPLE`](super::SAMPLE): the picture of the sample) and of its input (`None`: the first). It returns the
/// statistics of that input in the first run of the model for this sample. It is called once for each model input, however many statistics
/// are wanted.
pub fn measure<'a>(
    sources: impl IntoIterator<Item = &'a Source>,
    insight: &Json,
    tensor: impl Fn(&str, Option<&str>) -> Option<TensorStatistics>,
) -> Measured {
    let mut known = BTreeMap::new();
    let mut statistics = |model: &'a str, name: Option<&'a str>| {
        let found = known.entry((model, name));
        *found.or_insert_with(|| tensor(model, name))
    };
    let values = sources.into_iter().map(|source| match source {
        Source::Number { field, take } => number(insight, field, *take),
        Source::Label { field } => labels(insight, field),
        Source::Embedding { field } => vector(insight, field),
        Source::Tensor {
            model,
            tensor,
            statistic,
        } => {
            let found = statistics(model, tensor.as_deref())?;
            finite(match statistic {
                TensorStatistic::Brightness => found.brightness,
                TensorStatistic::Contrast => found.contrast,
                TensorStatistic::Sharpness => found.sharpness,
            })
        }
    });
    Measured(values.collect())
}

fn number(insight: &Json, field: &FieldPath, take: Take) -> Option<Value> {
    let found = at(insight, field);
    if take == Take::Count {
        // The length of a list is the count of its elements, too: `count(lines)` and `count(lines.*)` are equal.
        let count = match found.as_slice() {
            [Json::Array(items)] => items.len(),
            several => several.len(),
        };
        return finite(count as f64);
    }
    let numbers: Vec<f64> = found.iter().filter_map(|it| it.as_f64()).collect();
    finite(match take {
        Take::Mean => numbers.iter().sum::<f64>() / numbers.len() as f64,
        Take::Min => numbers.into_iter().reduce(f64::min)?,
        Take::Max => numbers.into_iter().reduce(f64::max)?,
        Take::Count => return None,
    })
}

/// A number as a baseline keeps it. `None` for what is not finite.
fn finite(number: f64) -> Option<Value> {
    number
        .is_finite()
        .then(|| Value::Number(rounded(number.clamp(-MOST, MOST))))
}

/// Rounded to seven significant digits. Values are rounded when they are measured, so that equal ones stay equal in a file.
pub(crate) fn rounded(number: f64) -> f64 {
    format!("{number:.6e}").parse().unwrap_or(number)
}

fn labels(insight: &Json, field: &FieldPath) -> Option<Value> {
    let found = at(insight, field).into_iter();
    let labels = found
        .filter_map(Json::as_str)
        .map(|text| {
            let end = text.floor_char_boundary(MAX_LABEL_BYTES);
            text.get(..end).unwrap_or_default().to_owned()
        })
        .take(MAX_LABELS_OF_SAMPLE);
    let labels: Vec<String> = labels.collect();
    (!labels.is_empty()).then_some(Value::Labels(labels))
}

fn vector(insight: &Json, field: &FieldPath) -> Option<Value> {
    let found = at(insight, field);
    let elements: Vec<&Json> = match found.as_slice() {
        [Json::Array(items)] => items.iter().collect(),
        several => several.to_vec(),
    };
    if elements.is_empty() || elements.len() > MAX_DIMENSIONS {
        return None;
    }
    let numbers = elements.into_iter().map(|it| {
        let number = it.as_f64().filter(|number| number.is_finite())?;
        Some(number.clamp(-MOST, MOST))
    });
    numbers.collect::<Option<_>>().map(Value::Vector)
}

/// All values at a path.
fn at<'a>(insight: &'a Json, field: &FieldPath) -> Vec<&'a Json> {
    let mut found = vec![insight];
    for part in field.parts() {
        found = match part {
            "*" => found.into_iter().flat_map(elements).collect(),
            name => found
                .into_iter()
                .filter_map(|it| match it {
                    Json::Array(items) => items.get(name.parse::<usize>().ok()?),
                    other => other.get(name),
                })
                .collect(),
        };
    }
    found
}

fn elements(value: &Json) -> Vec<&Json> {
    match value {
        Json::Array(items) => items.iter().collect(),
        Json::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;
    use std::cell::Cell;

    use super::*;

    fn measured(text: &str, insight: &Json) -> Option<Value> {
        let source: Source = text.parse().unwrap();
        measure([&source], insight, |_, _| None).0.remove(0)
    }

    #[test]
    fn a_sample_has_one_number_for_each_source() {
        let insight = json!({"lines": [{"score": 0.5, "text": "a"}, {"score": 1.0}]});
        for (text, expected) in [
            ("mean(lines.*.score)", 0.75),
            ("min(lines.*.score)", 0.5),
            ("max(lines.*.score)", 1.0),
            ("mean(lines.0.score)", 0.5),
            ("count(lines)", 2.0),
            ("count(lines.*)", 2.0),
            ("count(lines.*.text)", 1.0),
            ("count(words)", 0.0),
        ] {
            let found = measured(text, &insight);
            assert_eq!(found, Some(Value::Number(expected)), "{text}");
        }
        for text in [
            "mean(lines.*.text)",
            "max(lines.2.score)",
            "min(words)",
            "brightness(detect)",
        ] {
            assert_eq!(measured(text, &insight), None, "{text}");
        }
    }

    #[test]
    fn numbers_have_seven_digits_and_a_bound() {
        let found = measured("mean(x)", &json!({"x": 0.123_456_789}));
        assert_eq!(found, Some(Value::Number(0.123_456_8)));
        let found = measured("mean(x)", &json!({"x": -1e300}));
        assert_eq!(found, Some(Value::Number(-MOST)));
    }

    #[test]
    fn labels_are_cut_at_a_character() {
        let insight =
            json!({"classes": [{"label": "cat"}, {"label": "é".repeat(40)}, {"label": 7}]});
        let long = "é".repeat(32);
        assert_eq!(
            measured("label(classes.*.label)", &insight),
            Some(Value::Labels(vec!["cat".to_owned(), long]))
        );
        assert_eq!(measured("label(classes.2.label)", &insight), None);
    }

    #[test]
    fn a_vector_is_a_list_of_numbers_within_the_limit() {
        let found = measured("embedding(values)", &json!({"values": [1, 2.5]}));
        assert_eq!(found, Some(Value::Vector(vec![1.0, 2.5])));
        for values in [
            json!([]),
            json!([1, "a"]),
            json!(vec![0.0; MAX_DIMENSIONS + 1]),
        ] {
            assert_eq!(
                measured("embedding(values)", &json!({"values": values})),
                None
            );
        }
    }

    #[test]
    fn each_tensor_is_asked_for_once() {
        let texts = [
            "brightness(detect)",
            "contrast(detect)",
            "sharpness(read/x)",
        ];
        let sources = texts.map(|text| text.parse::<Source>().unwrap());
        let asked = Cell::new(0);
        let found = measure(&sources, &json!({}), |model, tensor| {
            asked.set(asked.get() + 1);
            (model == "detect" && tensor.is_none()).then_some(TensorStatistics {
                brightness: 1.0,
                contrast: 2.0,
                sharpness: 3.0,
            })
        });
        let expected = [Some(Value::Number(1.0)), Some(Value::Number(2.0)), None];
        assert_eq!(found.0, expected);
        assert_eq!(asked.get(), 2);
    }
}
