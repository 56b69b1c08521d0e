//! What is measured on each sample.

use std::fmt;
use std::str::FromStr;

use hotshoe_trust::FieldPath;
use serde::{Deserialize, Serialize};

/// In the place of a model: the picture of the sample, with masks burned in.
pub const SAMPLE: &str = "@sample";
/// Longest text of a source, in bytes.
pub const MAX_SOURCE_BYTES: usize = 512;

/// What is made of the numbers of a field that has several in one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Take {
    /// Their mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// How many values there are, of any type.
    Count,
}

/// A statistic of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TensorStatistic {
    /// The mean of its elements.
    Brightness,
    /// Their standard deviation.
    Contrast,
    /// The mean absolute difference of neighbours in a row, over the contrast. It falls when pictures are blurred.
    Sharpness,
}

/// One thing that is measured on each sample. Text: `mean(lines.*.score)`.
///
/// A field is a path in the JSON of the insight, as `[data-contract]` has them: names joined by `.`, `*` for every element, and here also the
/// number of an element, from 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A number: `mean(FIELD)`, `min(FIELD)`, `max(FIELD)`, `count(FIELD)`.
    Number {
        /// The field.
        field: FieldPath,
        /// What is made of several numbers.
        take: Take,
    },
    /// Texts of a small set: `label(FIELD)`.
    Label {
        /// The field.
        field: FieldPath,
    },
    /// A vector: `embedding(FIELD)`, where the field is a list of numbers.
    Embedding {
        /// The field.
        field: FieldPath,
    },
    /// A statistic of a model's input: `brightness(MODEL)`, `contrast(MODEL)`, `sharpness(MODEL)`, or with `MODEL/TENSOR` for one of several
    /// inputs; or of the sample's picture, in grey from 0 to 255: `brightness(@sample)`. Models that a stage runs by itself are not measured.
    Tensor {
        /// The model's name in the release, or [`SAMPLE`].
        model: String,
        /// The input's name. `None`: the first input.
        tensor: Option<String>,
        /// The statistic.
        statistic: TensorStatistic,
    },
}

/// A text that is not a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` cannot be measured; write mean, min, max, count, label or embedding with a field, as `mean(lines.*.score)`, or brightness, \
     contrast or sharpness with a model or `@sample`, as `brightness(detect)`"
)]
pub struct SourceError {
    /// The beginning of the text.
    pub text: String,
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || SourceError {
            text: text.chars().take(80).collect(),
        };
        if text.len() > MAX_SOURCE_BYTES || text.chars().any(char::is_control) {
            return Err(error());
        }
        let (function, rest) = text.split_once('(').ok_or_else(error)?;
        let of = rest.strip_suffix(')').ok_or_else(error)?;
        let field = || FieldPath::try_from(of.to_owned()).map_err(|_| error());
        let number = |take| {
            Ok(Self::Number {
                field: field()?,
                take,
            })
        };
        let tensor = |statistic| {
            let (model, tensor) = match of.split_once('/') {
                Some((model, tensor)) => (model, Some(tensor)),
                None => (of, None),
            };
            let is_known = hotshoe_trust::is_name(model) || (model == SAMPLE && tensor.is_none());
            if !is_known || tensor.is_some_and(str::is_empty) {
                return Err(error());
            }
            Ok(Self::Tensor {
                model: model.to_owned(),
                tensor: tensor.map(str::to_owned),
                statistic,
            })
        };
        match function {
            "mean" => number(Take::Mean),
            "min" => number(Take::Min),
            "max" => number(Take::Max),
            "count" => number(Take::Count),
            "label" => Ok(Self::Label { field: field()? }),
            "embedding" => Ok(Self::Embedding { field: field()? }),
            "brightness" => tensor(TensorStatistic::Brightness),
            "contrast" => tensor(TensorStatistic::Contrast),
            "sharpness" => tensor(TensorStatistic::Sharpness),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { field, take } => {
                let function = match take {
                    Take::Mean => "mean",
                    Take::Min => "min",
                    Take::Max => "max",
                    Take::Count => "count",
                };
                write!(f, "{function}({field})")
            }
            Self::Label { field } => write!(f, "label({field})"),
            Self::Embedding { field } => write!(f, "embedding({field})"),
            Self::Tensor {
                model,
                tensor,
                statistic,
            } => {
                let function = match statistic {
                    TensorStatistic::Brightness => "brightness",
                    TensorStatistic::Contrast => "contrast",
                    TensorStatistic::Sharpness => "sharpness",
                };
                match tensor {
                    Some(tensor) => write!(f, "{function}({model}/{tensor})"),
                    None => write!(f, "{function}({model})"),
                }
            }
        }
    }
}

impl TryFrom<String> for Source {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_source_is_read_as_it_is_written() {
        for text in [
            "mean(lines.*.score)",
            "min(scalars.0.value)",
            "max(classes.*.score)",
            "count(detections)",
            "label(classes.0.label)",
            "embedding(values)",
            "brightness(detect)",
            "contrast(detect/x)",
            "sharpness(@sample)",
            "sharpness(detect/in/put (1))",
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_source_is_refused_with_the_way_out() {
        let long = format!("mean({})", "a".repeat(MAX_SOURCE_BYTES));
        for text in [
            "",
            "lines.*.score",
            "median(lines.*.score)",
            "mean()",
            "mean(lines..score)",
            "mean(lines.*.score",
            "brightness(Detect Text)",
            "brightness(detect/)",
            "brightness(@sample/x)",
            "brightness(@other)",
            "contrast(a\u{1b}b)",
            &long,
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.to_string().contains("mean(lines.*.score)"), "{text}");
        }
    }
}
