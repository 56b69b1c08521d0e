#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
use proptest::prelude::*;

use super::*;
use crate::insight::Point;

fn line(text: &str) -> TextLine {
    TextLine {
        text: text.to_owned(),
        score: 1.0,
        outline: [Point { x: 0.0, y: 0.0 }; 4],
    }
}

fn text_of(lines: &[&str]) -> Insight {
    Insight::Text {
        lines: lines.iter().map(|text| line(text)).collect(),
    }
}

fn boxes(found: &[(&str, f32)]) -> Insight {
    let detections = found.iter().map(|(label, x)| Detection {
        label: (*label).to_owned(),
        score: 0.5,
        bounds: Rect {
            x: *x,
            y: 0.0,
            width: 10.0,
            height: 10.0,
        },
        outline: None,
    });
    Insight::Detections {
        detections: detections.collect(),
    }
}

fn class(label: &str, score: f32) -> Insight {
    let class = Class {
        label: label.to_owned(),
        index: 0,
        score,
    };
    Insight::Classes {
        classes: vec![class],
    }
}

fn numbers(named: &[(&str, f64)]) -> Insight {
    let scalars = named.iter().map(|(name, value)| Scalar {
        name: (*name).to_owned(),
        value: *value,
        unit: String::new(),
    });
    Insight::Scalars {
        scalars: scalars.collect(),
    }
}

fn mask_of(pixels: &[u8], labels: &[&str]) -> Insight {
    Insight::Mask {
        width: pixels.len() as u32,
        height: 1,
        pixels: pixels.to_vec(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    }
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

#[test]
fn text_agrees_by_its_characters() {
    near(agreement(&text_of(&["abcd"]), &text_of(&["abce"])), 0.75);
    near(
        agreement(&text_of(&["ab", "cd"]), &text_of(&["ab", "cd"])),
        1.0,
    );
    near(agreement(&text_of(&["ab", "cd"]), &text_of(&["abcd"])), 0.8);
    near(agreement(&text_of(&[]), &text_of(&["ab"])), 0.0);
    near(agreement(&text_of(&[]), &text_of(&[])), 1.0);
}

#[test]
fn long_text_agrees_by_its_lines() {
    let long = "x".repeat(MAX_COMPARED_CHARS);
    let found = agreement(
        &text_of(&[&long, "a", "b", "b"]),
        &text_of(&[&long, "a", "b", "c"]),
    );
    near(found, 0.75);
}

#[test]
fn classes_agree_by_the_best_one() {
    near(agreement(&class("cat", 0.9), &class("cat", 0.8)), 0.9);
    near(agreement(&class("cat", 0.9), &class("dog", 0.9)), 0.0);
    near(agreement(&class("cat", f32::NAN), &class("cat", 0.9)), 0.0);
}

#[test]
fn detections_agree_where_boxes_overlap_one_to_one() {
    let one = boxes(&[("cat", 0.0)]);
    near(agreement(&one, &boxes(&[("cat", 1.0)])), 1.0);
    near(agreement(&one, &boxes(&[("cat", 6.0)])), 0.0);
    near(agreement(&one, &boxes(&[("dog", 0.0)])), 0.0);
    // Saying the same object twice does not make two objects.
    near(
        agreement(&one, &boxes(&[("cat", 0.0), ("cat", 1.0)])),
        2.0 / 3.0,
    );
    // The first that fits would leave the other two alone.
    let chain = boxes(&[("cat", 0.0), ("cat", 2.0)]);
    near(
        agreement(&chain, &boxes(&[("cat", 1.0), ("cat", -2.0)])),
        1.0,
    );
}

#[test]
fn scalars_agree_to_a_thousandth() {
    let ours = numbers(&[("a", 1000.0), ("b", 1.0), ("c", 0.0)]);
    near(
        agreement(&ours, &numbers(&[("b", 1.01), ("a", 1000.9), ("c", 0.0)])),
        2.0 / 3.0,
    );
    near(agreement(&ours, &numbers(&[("d", 1.0)])), 0.0);
    near(agreement(&numbers(&[]), &numbers(&[])), 1.0);
}

#[test]
fn masks_agree_by_label_not_by_index() {
    let ours = mask_of(&[0, 0, 1, 1], &["road", "sky"]);
    near(
        agreement(&ours, &mask_of(&[1, 1, 0, 1], &["sky", "road"])),
        0.75,
    );
    near(
        agreement(&ours, &mask_of(&[0, 0, 1], &["road", "sky"])),
        0.0,
    );
}

#[test]
fn embeddings_agree_by_direction_and_kinds_never_mix() {
    let embedding = |values: &[f32]| Insight::Embedding {
        values: values.to_vec(),
    };
    near(
        agreement(&embedding(&[1.0, 0.0]), &embedding(&[2.0, 0.0])),
        1.0,
    );
    near(
        agreement(&embedding(&[1.0, 0.0]), &embedding(&[-1.0, 0.0])),
        0.0,
    );
    near(agreement(&embedding(&[0.0]), &embedding(&[1.0])), 0.0);
    near(agreement(&embedding(&[]), &text_of(&[])), 0.0);
}

fn any_insight() -> impl Strategy<Value = Insight> {
    let label = || prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    let number = || prop_oneof![4 => (-8i8..8).prop_map(f32::from), 1 => any::<f32>()];
    let classes = prop::collection::vec((label(), number()), 0..3).prop_map(|all| {
        let all = all.into_iter().map(|(label, score)| Class {
            label,
            index: 0,
            score,
        });
        Insight::Classes {
            classes: all.collect(),
        }
    });
    let detections = prop::collection::vec((label(), prop::array::uniform4(number())), 0..8)
        .prop_map(|all| {
            let all = all
                .into_iter()
                .map(|(label, [x, y, width, height])| Detection {
                    label,
                    score: 0.5,
                    bounds: Rect {
                        x,
                        y,
                        width,
                        height,
                    },
                    outline: None,
                });
            Insight::Detections {
                detections: all.collect(),
            }
        });
    let text = prop::collection::vec("[ab \u{e9}]{0,6}", 0..4).prop_map(|all| Insight::Text {
        lines: all.iter().map(|text| line(text)).collect(),
    });
    let scalars = prop::collection::vec((label(), number(), label()), 0..5).prop_map(|all| {
        let all = all.into_iter().map(|(name, value, unit)| Scalar {
            name,
            value: value.into(),
            unit,
        });
        Insight::Scalars {
            scalars: all.collect(),
        }
    });
    let pixels = prop::collection::vec(0u8..4, 4..=4);
    let mask =
        (pixels, prop::collection::vec(label(), 0..4)).prop_map(|(pixels, labels)| Insight::Mask {
            width: 2,
            height: 2,
            pixels,
            labels,
        });
    let custom = prop::collection::vec(0u8..2, 0..2).prop_map(|payload| Insight::Custom {
        content_type: "a/b".to_owned(),
        payload,
    });
    let embedding =
        prop::collection::vec(number(), 0..4).prop_map(|values| Insight::Embedding { values });
    prop_oneof![classes, detections, text, scalars, mask, custom, embedding]
}

proptest! {
    #[test]
    fn it_is_symmetric_and_in_range(a in any_insight(), b in any_insight()) {
        let found = agreement(&a, &b);
        prop_assert!((0.0..=1.0).contains(&found), "{found}");
        prop_assert_eq!(found.to_bits(), agreement(&b, &a).to_bits());
    }

    #[test]
    fn an_insight_agrees_with_itself(a in any_insight()) {
        prop_assert_eq!(agreement(&a, &a), 1.0);
    }
}
