//! From a heatmap to boxes. It needs no host, so `cargo test` runs these tests.

/// Pixels of the model's input for each cell of the heatmap.
const STRIDE: f64 = 4.0;
/// Maximum number of boxes. More are noise, and the time to compare them grows with the square of their number.
const MOST_CANDIDATES: usize = 1000;

/// The model's outputs, row by row; `scale` and `offset` have all rows of the vertical values first.
pub struct Heads<'a> {
    pub heat: &'a [f32],
    pub scale: &'a [f32],
    pub offset: &'a [f32],
    pub width: usize,
    pub height: usize,
}

/// One box, in pixels of the model's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub score: f64,
    pub x1: f64,
    pub y1: f64,
    pub x2: f64,
    pub y2: f64,
}

impl Found {
    fn area(&self) -> f64 {
        (self.x2 - self.x1) * (self.y2 - self.y1)
    }

    /// The common area as a share of both boxes together (IoU).
    fn overlap(&self, other: &Self) -> f64 {
        let width = (self.x2.min(other.x2) - self.x1.max(other.x1)).max(0.0);
        let height = (self.y2.min(other.y2) - self.y1.max(other.y1)).max(0.0);
        let common = width * height;
        let union = self.area() + other.area() - common;
        if union > 0.0 { common / union } else { 0.0 }
    }
}

/// A box for each cell with more than `min_score`, best first.
pub fn candidates(heads: &Heads, min_score: f64) -> Vec<Found> {
    let mut found: Vec<Found> = (0..heads.height * heads.width)
        .filter_map(|cell| decode(heads, cell, min_score))
        .collect();
    // The sort is stable: of equal scores, the earlier cell comes first.
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MOST_CANDIDATES);
    found
}

fn decode(heads: &Heads, cell: usize, min_score: f64) -> Option<Found> {
    let at = |elements: &[f32], index: usize| elements.get(index).copied().map(f64::from);
    let score = at(heads.heat, cell)?;
    if score <= min_score || score.is_nan() {
        return None;
    }
    let plane = heads.height * heads.width;
    let (y, x) = ((cell / heads.width) as f64, (cell % heads.width) as f64);
    let height = at(heads.scale, cell)?.exp() * STRIDE;
    let width = at(heads.scale, plane + cell)?.exp() * STRIDE;
    let centre_y = (y + at(heads.offset, cell)? + 0.5) * STRIDE;
    let centre_x = (x + at(heads.offset, plane + cell)? + 0.5) * STRIDE;
    let right = heads.width as f64 * STRIDE;
    let bottom = heads.height as f64 * STRIDE;
    let x1 = (centre_x - width / 2.0).max(0.0).min(right);
    let y1 = (centre_y - height / 2.0).max(0.0).min(bottom);
    Some(Found {
        score,
        x1,
        y1,
        x2: (x1 + width).min(right),
        y2: (y1 + height).min(bottom),
    })
}

/// Keeps a box unless it overlaps a better one by more than `max_overlap`.
pub fn suppress(candidates: Vec<Found>, max_overlap: f64) -> Vec<Found> {
    let mut kept: Vec<Found> = Vec::new();
    for candidate in candidates {
        if kept.iter().all(|it| candidate.overlap(it) <= max_overlap) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(score: f64, x1: f64, x2: f64) -> Found {
        Found {
            score,
            x1,
            y1: 0.0,
            x2,
            y2: 10.0,
        }
    }

    #[test]
    fn a_box_that_overlaps_a_better_one_goes() {
        let (best, near, far) = (
            found(0.9, 0.0, 10.0),
            found(0.8, 2.0, 12.0),
            found(0.7, 9.0, 19.0),
        );
        let kept = suppress(vec![best.clone(), near, far.clone()], 0.3);
        assert_eq!(kept, [best, far]);
    }

    #[test]
    fn a_cell_becomes_a_box_around_its_centre() {
        let heads = Heads {
            heat: &[0.0, 0.9],
            scale: &[0.0; 4],
            offset: &[0.0; 4],
            width: 2,
            height: 1,
        };
        let boxes = candidates(&heads, 0.5);
        assert_eq!(boxes.len(), 1);
        assert_eq!((boxes[0].x1, boxes[0].x2), (4.0, 8.0));
        assert_eq!((boxes[0].y1, boxes[0].y2), (0.0, 4.0));
    }
}
