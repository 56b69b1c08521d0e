//! Agreement of two insights: for self-tests, and to compare a new release with the one that serves.

mod tensors;

use std::collections::BTreeMap;

use hotshoe_infer::npz;

use self::tensors::tensors;
use crate::insight::{Class, Detection, Insight, Rect, Scalar, TextLine};

/// Longest text that is compared by characters, which takes quadratic time. Longer texts are compared by lines.
const MAX_COMPARED_CHARS: usize = 4096;
/// Most detections of an insight that are compared, best first.
const MAX_COMPARED_DETECTIONS: usize = 300;
/// Least overlap (intersection over union) of two boxes of the same object.
const SAME_OBJECT_OVERLAP: f64 = 0.5;
/// Largest relative difference of equal numbers.
const SCALAR_TOLERANCE: f64 = 1e-3;

/// The agreement of `a` and `b`, from 0 (none) to 1 (full). It is symmetric.
///
/// - Different kinds: 0.
/// - Classes: 1 less the difference of the best classes' scores; 0 if these have different labels.
/// - Detections: F1 of boxes paired by label and an overlap of at least one half, whatever their scores.
/// - Text: 1 less the character error rate over all lines; for texts of more than 4096 characters, the share of lines that
///   both have.
/// - Embeddings: their cosine, or 0 if it is negative.
/// - Scalars: the share of numbers that both have with the same name and unit, and that are equal to a thousandth.
/// - Masks: the share of pixels with the same label; 0 if the sizes differ.
/// - Tensors (`application/x-npz`): the least share of elements of one tensor that are equal to a thousandth; 0 if names, types or shapes
///   differ.
/// - Custom of another type: 1 if the type and all bytes are equal, or else 0.
pub fn agreement(a: &Insight, b: &Insight) -> f64 {
    let found = match (a, b) {
        (Insight::Classes { classes: a }, Insight::Classes { classes: b }) => classes(a, b),
        (Insight::Detections { detections: a }, Insight::Detections { detections: b }) => {
            detections(a, b)
        }
        (Insight::Text { lines: a }, Insight::Text { lines: b }) => text(a, b),
        (Insight::Embedding { values: a }, Insight::Embedding { values: b }) => embedding(a, b),
        (Insight::Scalars { scalars: a }, Insight::Scalars { scalars: b }) => scalars(a, b),
        (
            Insight::Mask {
                width,
                height,
                pixels,
                labels,
            },
            Insight::Mask {
                width: other_width,
                height: other_height,
                pixels: other_pixels,
                labels: other_labels,
            },
        ) if (width, height) == (other_width, other_height) => {
            let other = (other_pixels.as_slice(), other_labels.as_slice());
            mask((pixels.as_slice(), labels.as_slice()), other)
        }
        (
            Insight::Custom {
                content_type,
                payload,
            },
            Insight::Custom {
                content_type: other_type,
                payload: other,
            },
        ) if content_type == other_type && content_type == npz::CONTENT_TYPE => {
            tensors(payload, other)
        }
        (Insight::Custom { .. }, Insight::Custom { .. }) => f64::from(a == b),
        _ => 0.0,
    };
    found.clamp(0.0, 1.0)
}

/// Difference of two numbers; 0 if both are NaN.
fn distance(a: f64, b: f64) -> f64 {
    if a.total_cmp(&b).is_eq() || a == b || (a.is_nan() && b.is_nan()) {
        return 0.0;
    }
    let distance = (a - b).abs();
    if distance.is_nan() {
        f64::INFINITY
    } else {
        distance
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

fn classes(a: &[Class], b: &[Class]) -> f64 {
    match (a.first(), b.first()) {
        (None, None) => 1.0,
        (Some(a), Some(b)) if a.label == b.label => 1.0 - distance(a.score.into(), b.score.into()),
        _ => 0.0,
    }
}

fn text(a: &[TextLine], b: &[TextLine]) -> f64 {
    let joined = |lines: &[TextLine]| {
        let lines: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        lines.join("\n")
    };
    let (whole_a, whole_b) = (joined(a), joined(b));
    if whole_a == whole_b {
        return 1.0;
    }
    let short = |text: &str| text.chars().nth(MAX_COMPARED_CHARS).is_none();
    if short(&whole_a) && short(&whole_b) {
        return strsim::normalized_levenshtein(&whole_a, &whole_b);
    }
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for line in a {
        counts.entry(&line.text).or_default().0 += 1;
    }
    for line in b {
        counts.entry(&line.text).or_default().1 += 1;
    }
    let both: usize = counts.values().map(|(a, b)| a.min(b)).sum();
    share(2 * both, a.len() + b.len())
}

fn detections(a: &[Detection], b: &[Detection]) -> f64 {
    let a = a.get(..MAX_COMPARED_DETECTIONS).unwrap_or(a);
    let b = b.get(..MAX_COMPARED_DETECTIONS).unwrap_or(b);
    let candidates: Vec<Vec<usize>> = a
        .iter()
        .map(|one| {
            let same = |other: &Detection| {
                one.label == other.label
                    && overlap(&one.bounds, &other.bounds) >= SAME_OBJECT_OVERLAP
            };
            let all = b.iter().enumerate();
            all.filter(|(_, other)| same(other))
                .map(|(at, _)| at)
                .collect()
        })
        .collect();
    // A maximum matching: unlike a greedy one, its size is symmetric.
    let mut partner = vec![None; b.len()];
    let pairs = (0..a.len())
        .filter(|one| pair(*one, &candidates, &mut partner, &mut vec![false; b.len()]))
        .count();
    share(2 * pairs, a.len() + b.len())
}

/// Finds a partner for `one` (an augmenting path), moving existing pairs if necessary.
fn pair(
    one: usize,
    candidates: &[Vec<usize>],
    partner: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for &candidate in candidates.get(one).into_iter().flatten() {
        match tried.get_mut(candidate) {
            Some(tried) if !*tried => *tried = true,
            _ => continue,
        }
        let taken_by = partner.get(candidate).copied().flatten();
        if taken_by.is_none_or(|other| pair(other, candidates, partner, tried)) {
            if let Some(partner) = partner.get_mut(candidate) {
                *partner = Some(one);
            }
            return true;
        }
    }
    false
}

/// Intersection over union; 1 for equal boxes, even without area.
fn overlap(a: &Rect, b: &Rect) -> f64 {
    let sides = |rect: &Rect| [rect.x, rect.y, rect.width, rect.height].map(f64::from);
    let (sides_a, sides_b) = (sides(a), sides(b));
    if sides_a
        .iter()
        .zip(sides_b)
        .all(|(a, b)| distance(*a, b) == 0.0)
    {
        return 1.0;
    }
    let ([ax, ay, aw, ah], [bx, by, bw, bh]) = (sides_a, sides_b);
    let width = ((ax + aw).min(bx + bw) - ax.max(bx)).max(0.0);
    let height = ((ay + ah).min(by + bh) - ay.max(by)).max(0.0);
    let both = width * height;
    let union = aw * ah + bw * bh - both;
    if union > 0.0 { both / union } else { 0.0 }
}

fn embedding(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return 0.0;
    }
    let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    if pairs().all(|(a, b)| distance(a, b) == 0.0) {
        return 1.0;
    }
    let (mut dot, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (a, b) in pairs() {
        dot += a * b;
        square_a += a * a;
        square_b += b * b;
    }
    let cosine: f64 = dot / (square_a.sqrt() * square_b.sqrt());
    if cosine.is_finite() { cosine } else { 0.0 }
}

fn scalars(a: &[Scalar], b: &[Scalar]) -> f64 {
    /// The values of one name and unit in both insights.
    type Values = (Vec<f64>, Vec<f64>);
    let mut numbers: BTreeMap<(&str, &str), Values> = BTreeMap::new();
    for scalar in a {
        let both = numbers.entry((&scalar.name, &scalar.unit)).or_default();
        both.0.push(scalar.value);
    }
    for scalar in b {
        let both = numbers.entry((&scalar.name, &scalar.unit)).or_default();
        both.1.push(scalar.value);
    }
    let (mut equal, mut all) = (0, 0);
    for (a, b) in numbers.values_mut() {
        a.sort_by(f64::total_cmp);
        b.sort_by(f64::total_cmp);
        all += a.len().max(b.len());
        let near = |(a, b): &(&f64, &f64)| {
            distance(**a, **b) <= SCALAR_TOLERANCE * a.abs().max(b.abs())
                || distance(**a, **b) == 0.0
        };
        equal += a.iter().zip(&*b).filter(near).count();
    }
    share(equal, all)
}

fn mask((a, labels_a): (&[u8], &[String]), (b, labels_b): (&[u8], &[String])) -> f64 {
    let equal = if labels_a == labels_b {
        a.iter().zip(b).filter(|(a, b)| a == b).count()
    } else {
        let same: Vec<(u8, u8)> = (0..=u8::MAX)
            .flat_map(|a| (0..=u8::MAX).map(move |b| (a, b)))
            .filter(|(a, b)| {
                let (label_a, label_b) =
                    (labels_a.get(usize::from(*a)), labels_b.get(usize::from(*b)));
                label_a.is_some() && label_a == label_b
            })
            .collect();
        let pixels = a.iter().zip(b);
        pixels
            .filter(|(a, b)| same.binary_search(&(**a, **b)).is_ok())
            .count()
    };
    share(equal, a.len().max(b.len()))
}

#[cfg(test)]
mod tests;
