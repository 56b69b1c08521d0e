//! The heads of CenterFace to boxes: a map of centres, and the size and offset of the box at each of them. (CenterFace: Joint Face Detection
//! and Alignment Using Face as Point, Xu et al., 2019.)

use thiserror::Error;

/// Pixels of the model's input for each cell of its maps, along each side.
const STRIDE: f64 = 4.0;
/// Most candidates that are looked at, best first. A picture has fewer faces; a map of noise has more.
const MOST_CANDIDATES: usize = 1000;

/// Outputs that do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{cells} cells are {width} x {height} centres, and for each a size and an offset of 2 numbers, but there are {heat}, {scale} and {offset}"
)]
pub struct HeadsError {
    /// Width times height.
    pub cells: usize,
    /// Cells.
    pub width: usize,
    /// Cells.
    pub height: usize,
    /// Numbers of the map of centres.
    pub heat: usize,
    /// Numbers of the map of sizes.
    pub scale: usize,
    /// Numbers of the map of offsets.
    pub offset: usize,
}

/// What the model gives for one picture: maps of `height` rows of `width` cells.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a> {
    width: usize,
    heat: &'a [f32],
    scale: (&'a [f32], &'a [f32]),
    offset: (&'a [f32], &'a [f32]),
}

impl<'a> Heads<'a> {
    /// `scale` and `offset` have two maps each, of what is vertical and of what is horizontal.
    ///
    /// # Errors
    /// [`HeadsError`] if their lengths do not fit.
    pub fn new(
        (width, height): (usize, usize),
        heat: &'a [f32],
        scale: &'a [f32],
        offset: &'a [f32],
    ) -> Result<Self, HeadsError> {
        let cells = width.saturating_mul(height);
        let halves = |map: &'a [f32]| map.split_at_checked(cells);
        match (halves(scale), halves(offset)) {
            (Some(scale), Some(offset))
                if heat.len() == cells && scale.1.len() == cells && offset.1.len() == cells =>
            {
                Ok(Self {
                    width,
                    heat,
                    scale,
                    offset,
                })
            }
            _ => Err(HeadsError {
                cells,
                width,
                height,
                heat: heat.len(),
                scale: scale.len(),
                offset: offset.len(),
            }),
        }
    }

    fn size(&self) -> (f64, f64) {
        let rows = self.heat.len().checked_div(self.width).unwrap_or(0);
        (self.width as f64 * STRIDE, rows as f64 * STRIDE)
    }

    /// The box whose centre lies in a cell, in pixels of the model's input.
    fn at(&self, cell: usize) -> Option<Face> {
        let number = |map: &[f32]| map.get(cell).copied().map(f64::from);
        let (row, column) = (cell.checked_div(self.width)?, cell.checked_rem(self.width)?);
        let height = number(self.scale.0)?.exp() * STRIDE;
        let width = number(self.scale.1)?.exp() * STRIDE;
        let y = (row as f64 + number(self.offset.0)? + 0.5) * STRIDE - height / 2.0;
        let x = (column as f64 + number(self.offset.1)? + 0.5) * STRIDE - width / 2.0;
        let whole = self.size();
        let (x1, y1) = (x.clamp(0.0, whole.0), y.clamp(0.0, whole.1));
        Some(Face {
            score: self.heat.get(cell).copied()?,
            x1,
            y1,
            x2: (x1 + width).min(whole.0),
            y2: (y1 + height).min(whole.1),
        })
    }
}

/// An upright box and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Face {
    /// 0 to 1.
    pub score: f32,
    /// The left edge.
    pub x1: f64,
    /// The top edge.
    pub y1: f64,
    /// The right edge.
    pub x2: f64,
    /// The bottom edge.
    pub y2: f64,
}

impl Face {
    fn area(&self) -> f64 {
        (self.x2 - self.x1) * (self.y2 - self.y1)
    }

    /// Intersection over union, 0 to 1.
    pub fn overlap(&self, other: &Self) -> f64 {
        let width = self.x2.min(other.x2) - self.x1.max(other.x1);
        let height = self.y2.min(other.y2) - self.y1.max(other.y1);
        let both = width.max(0.0) * height.max(0.0);
        let either = self.area() + other.area() - both;
        if either > 0.0 { both / either } else { 0.0 }
    }

    /// The box, larger on each side by this share of its size: hair, ears and chin belong to a face too.
    #[must_use]
    pub fn widened(&self, share: f64) -> Self {
        let (x, y) = ((self.x2 - self.x1) * share, (self.y2 - self.y1) * share);
        Self {
            score: self.score,
            x1: self.x1 - x,
            y1: self.y1 - y,
            x2: self.x2 + x,
            y2: self.y2 + y,
        }
    }
}

/// The faces, best first, in pixels of a picture of this size. Of two that overlap by `max_overlap` or more the better one counts.
pub fn faces(
    heads: &Heads<'_>,
    picture: (u32, u32),
    min_score: f32,
    max_overlap: f64,
) -> Vec<Face> {
    let mut candidates: Vec<usize> = (0..heads.heat.len())
        .filter(|cell| heads.heat.get(*cell).is_some_and(|heat| *heat > min_score))
        .collect();
    let heat = |cell: usize| heads.heat.get(cell).copied().unwrap_or_default();
    // The sort keeps the order of equals: row by row.
    candidates.sort_by(|a, b| heat(*b).total_cmp(&heat(*a)));
    candidates.truncate(MOST_CANDIDATES);
    let mut kept: Vec<Face> = Vec::new();
    for face in candidates.into_iter().filter_map(|cell| heads.at(cell)) {
        if !kept
            .iter()
            .any(|better| better.overlap(&face) >= max_overlap)
        {
            kept.push(face);
        }
    }
    let whole = heads.size();
    let (x, y) = (
        f64::from(picture.0) / whole.0,
        f64::from(picture.1) / whole.1,
    );
    for face in &mut kept {
        (face.x1, face.x2) = (face.x1 * x, face.x2 * x);
        (face.y1, face.y2) = (face.y1 * y, face.y2 * y);
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    /// 4 x 4 cells with centres here; sizes are `exp(1)` cells, offsets 0.
    fn found(centres: &[(usize, f32)], picture: (u32, u32)) -> Vec<Face> {
        let mut heat = [0.0; 16];
        for (cell, score) in centres {
            heat[*cell] = *score;
        }
        let heads = Heads::new((4, 4), &heat, &[1.0; 32], &[0.0; 32]).unwrap();
        faces(&heads, picture, 0.2, 0.3)
    }

    #[test]
    fn a_centre_is_a_box_in_the_pictures_own_pixels() {
        assert_eq!(found(&[(5, 0.2)], (16, 16)), []);
        let found = found(&[(5, 0.9)], (32, 8));
        let half = 1.0_f64.exp() * 2.0;
        assert_eq!(found.len(), 1);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(found[0].x1, (6.0 - half) * 2.0), "{found:?}");
        assert!(close(found[0].x2, (6.0 + half) * 2.0), "{found:?}");
        assert!(close(found[0].y2, (6.0 + half) / 2.0), "{found:?}");
    }

    #[test]
    fn the_better_of_two_that_overlap_counts() {
        let found = found(&[(5, 0.8), (6, 0.9), (15, 0.3)], (16, 16));
        let scores: Vec<f32> = found.iter().map(|face| face.score).collect();
        assert_eq!(scores, [0.9, 0.3]);
    }

    #[test]
    fn heads_that_do_not_fit_are_refused() {
        let error = Heads::new((4, 4), &[0.0; 16], &[0.0; 31], &[0.0; 32]).unwrap_err();
        assert!(error.to_string().contains("4 x 4"), "{error}");
        assert!(Heads::new((usize::MAX, 2), &[], &[], &[]).is_err());
        let none = Heads::new((0, 0), &[], &[], &[]).unwrap();
        assert_eq!(faces(&none, (1, 1), 0.2, 0.3), []);
    }

    proptest! {
        #[test]
        fn any_numbers_give_boxes_inside_the_picture(heat: [f32; 16], scale: [f32; 32], offset: [f32; 32]) {
            let heads = Heads::new((4, 4), &heat, &scale, &offset).unwrap();
            for face in faces(&heads, (100, 50), 0.2, 0.3) {
                let inside = |at: f64, size: f64| at.is_nan() || (0.0..=size + 1e-6).contains(&at);
                prop_assert!(inside(face.x1, 100.0) && inside(face.x2, 100.0), "{face:?}");
                prop_assert!(inside(face.y1, 50.0) && inside(face.y2, 50.0), "{face:?}");
            }
        }
    }
}
