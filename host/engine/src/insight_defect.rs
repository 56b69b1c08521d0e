//! Checks an insight of a component: the rules of the WIT text, and numbers that JSON does not have.

use crate::insight::{Insight, Point, Rect};

/// How far a score may lie outside of 0 to 1: more than rounding to f16, or a sum of many f32, adds.
const SCORE_SLACK: f64 = 1e-3;

/// A field that breaks a rule.
struct Defect {
    /// Its path within the entry, such as `bounds.width`.
    field: String,
    value: f64,
    /// What it is not.
    rule: &'static str,
}

/// The first field of the insight that breaks a rule, with its path as in JSON and its value.
pub(crate) fn defect(insight: &Insight) -> Option<String> {
    let (entry, defect) = match insight {
        Insight::Classes { classes } => first("classes", classes, |class| score(class.score)),
        Insight::Detections { detections } => first("detections", detections, |found| {
            score(found.score)
                .or_else(|| rect(found.bounds))
                .or_else(|| found.outline.as_ref().and_then(outline))
        }),
        Insight::Text { lines } => first("lines", lines, |line| {
            score(line.score).or_else(|| outline(&line.outline))
        }),
        Insight::Embedding { values } => {
            first("values", values, |value| finite("", f64::from(*value)))
        }
        Insight::Scalars { scalars } => {
            first("scalars", scalars, |scalar| finite("value", scalar.value))
        }
        Insight::Mask {
            width,
            height,
            pixels,
            ..
        } => {
            let all = u64::from(*width) * u64::from(*height);
            return (all != pixels.len() as u64).then(|| {
                let found = pixels.len();
                format!("the mask has {found} `pixels`, but {width} x {height} is {all}")
            });
        }
        Insight::Custom { .. } => None,
    }?;
    let Defect { field, value, rule } = defect;
    let dot = if field.is_empty() { "" } else { "." };
    Some(format!(
        "the insight's `{entry}{dot}{field}` is {value}, which is not {rule}"
    ))
}

/// The first defect of a list's entries, with the entry: `classes[3]`.
fn first<T>(
    list: &str,
    entries: &[T],
    check: impl Fn(&T) -> Option<Defect>,
) -> Option<(String, Defect)> {
    let mut numbered = entries.iter().enumerate();
    numbered.find_map(|(number, entry)| Some((format!("{list}[{number}]"), check(entry)?)))
}

fn finite(field: &str, value: f64) -> Option<Defect> {
    (!value.is_finite()).then(|| Defect {
        field: field.to_owned(),
        value,
        rule: "finite",
    })
}

fn score(value: f32) -> Option<Defect> {
    let value = f64::from(value);
    finite("score", value).or_else(|| {
        let allowed = -SCORE_SLACK..=1.0 + SCORE_SLACK;
        (!allowed.contains(&value)).then(|| Defect {
            field: "score".to_owned(),
            value,
            rule: "from 0 to 1",
        })
    })
}

fn rect(bounds: Rect) -> Option<Defect> {
    let sides = [
        ("bounds.x", bounds.x),
        ("bounds.y", bounds.y),
        ("bounds.width", bounds.width),
        ("bounds.height", bounds.height),
    ];
    sides
        .into_iter()
        .find_map(|(field, value)| finite(field, value.into()))
}

fn outline(corners: &[Point; 4]) -> Option<Defect> {
    let mut numbered = corners.iter().enumerate();
    numbered.find_map(|(number, corner)| {
        finite(&format!("outline[{number}].x"), corner.x.into())
            .or_else(|| finite(&format!("outline[{number}].y"), corner.y.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::{Class, Detection, Scalar, TextLine};

    fn classes(scores: &[f32]) -> Insight {
        let class = |score: &f32| Class {
            label: "a".to_owned(),
            index: 0,
            score: *score,
        };
        Insight::Classes {
            classes: scores.iter().map(class).collect(),
        }
    }

    fn said(insight: &Insight) -> String {
        defect(insight).unwrap_or_default()
    }

    #[test]
    fn a_score_is_from_0_to_1_with_room_for_rounding() {
        assert_eq!(defect(&classes(&[0.0, 1.0, 1.000_001, -0.000_1])), None);
        assert_eq!(
            said(&classes(&[0.5, 17.5])),
            "the insight's `classes[1].score` is 17.5, which is not from 0 to 1"
        );
        assert!(said(&classes(&[-0.5])).contains("`classes[0].score` is -0.5"));
    }

    #[test]
    fn a_number_that_is_not_finite_is_named_by_its_path() {
        let point = |x| Point { x, y: 0.0 };
        let corners = [point(0.0), point(0.0), point(f32::INFINITY), point(0.0)];
        let bounds = Rect {
            x: 0.0,
            y: 0.0,
            width: f32::NAN,
            height: 1.0,
        };
        let detection = |bounds, outline| Insight::Detections {
            detections: vec![Detection {
                label: "a".to_owned(),
                score: 1.0,
                bounds,
                outline,
            }],
        };
        let right = Rect {
            width: 1.0,
            ..bounds
        };
        let line = TextLine {
            text: "a".to_owned(),
            score: 1.0,
            outline: corners,
        };
        let scalar = Scalar {
            name: "a".to_owned(),
            value: f64::NAN,
            unit: String::new(),
        };
        for (insight, path) in [
            (classes(&[f32::NAN]), "classes[0].score` is NaN"),
            (
                detection(bounds, None),
                "detections[0].bounds.width` is NaN",
            ),
            (
                detection(right, Some(corners)),
                "detections[0].outline[2].x` is inf",
            ),
            (
                Insight::Text { lines: vec![line] },
                "lines[0].outline[2].x` is inf",
            ),
            (
                Insight::Embedding {
                    values: vec![0.0, f32::NEG_INFINITY],
                },
                "values[1]` is -inf",
            ),
            (
                Insight::Scalars {
                    scalars: vec![scalar],
                },
                "scalars[0].value` is NaN",
            ),
        ] {
            let said = said(&insight);
            assert!(said.contains(path), "{said}");
            assert!(said.ends_with("which is not finite"), "{said}");
        }
        assert_eq!(defect(&detection(right, None)), None);
    }

    #[test]
    fn a_mask_has_a_byte_for_each_pixel() {
        let mask = |pixels: usize| Insight::Mask {
            width: 2,
            height: 3,
            pixels: vec![0; pixels],
            labels: Vec::new(),
        };
        assert_eq!(defect(&mask(6)), None);
        assert_eq!(said(&mask(5)), "the mask has 5 `pixels`, but 2 x 3 is 6");
    }
}
