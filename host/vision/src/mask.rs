//! Masks: polygons whose pixels are replaced.

use crate::{Budget, BudgetError};

/// A polygon in fractions of the upright picture's width and height, from its top left corner. What it goes around at least
/// once in one direction is inside (the nonzero rule), so that an outline that crosses itself leaves no hole.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// The corners, x and y. The last one is connected to the first.
    pub polygon: Vec<[f64; 2]>,
    /// What its pixels become.
    pub fill: Fill,
}

/// What the pixels under a mask become. Where masks overlap, black is over blurred pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fill {
    /// The mean of their surroundings: see [`crate::redact`].
    Blur,
    /// Black.
    Black,
}

/// Tolerance for rounding, in cells: a cell that an edge may touch counts as touched.
const TOUCH: f64 = 1e-6;

/// The cells that a picture is masked in. A cell has one pixel, or those that share a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    /// Cells.
    pub(crate) width: usize,
    /// Cells.
    pub(crate) height: usize,
    /// Width and height of the picture in cells, with fractions.
    pub(crate) picture: [f64; 2],
    /// Cells around a polygon that are masked too.
    pub(crate) reach: u32,
}

impl Grid {
    /// Cells of one pixel each.
    pub(crate) fn of_pixels(width: u32, height: u32, reach: u32) -> Self {
        Self::of_cells(width, height, [1, 1], reach)
    }

    /// Cells of `cell` pixels.
    pub(crate) fn of_cells(width: u32, height: u32, cell: [u32; 2], reach: u32) -> Self {
        let [across, down] = cell.map(|side| side.max(1));
        Self {
            width: width.div_ceil(across) as usize,
            height: height.div_ceil(down) as usize,
            picture: [
                f64::from(width) / f64::from(across),
                f64::from(height) / f64::from(down),
            ],
            reach,
        }
    }
}

/// Calls `paint` with each row that has a masked cell, and the fill of each of its cells. A cell is masked if a polygon touches any part
/// of it, or comes as close as the grid's reach.
pub(crate) fn each_row<E: From<BudgetError>>(
    masks: &[Mask],
    grid: Grid,
    budget: &Budget<'_>,
    mut paint: impl FnMut(usize, &[Option<Fill>]) -> Result<(), E>,
) -> Result<(), E> {
    let outlines: Vec<_> = masks.iter().map(|it| Outline::of(it, grid)).collect();
    let (mut fills, _fills) = budget.zeros::<Option<Fill>>(grid.width)?;
    let (mut touched, _touched) = budget.zeros::<bool>(grid.width)?;
    for y in 0..grid.height {
        fills.fill(None);
        let mut any = false;
        for outline in outlines.iter().filter(|it| it.reaches(y)) {
            touched.fill(false);
            outline.touch(y, &mut touched);
            for (fill, _) in fills.iter_mut().zip(&touched).filter(|(_, it)| **it) {
                *fill = (*fill).max(Some(outline.fill));
                any = true;
            }
            budget.spend((grid.width + outline.corners.len()) as u64)?;
        }
        if any {
            paint(y, &fills)?;
        }
        budget.spend(1)?;
    }
    Ok(())
}

/// A polygon in cells.
struct Outline {
    corners: Vec<[f64; 2]>,
    fill: Fill,
    reach: f64,
    top: f64,
    bottom: f64,
}

impl Outline {
    fn of(mask: &Mask, grid: Grid) -> Self {
        let [width, height] = grid.picture;
        let corners = mask.polygon.iter().map(|[x, y]| [x * width, y * height]);
        let corners: Vec<_> = corners.collect();
        let reach = f64::from(grid.reach) + TOUCH;
        let ys = corners.iter().map(|[_, y]| *y);
        Self {
            fill: mask.fill,
            reach,
            top: ys.clone().fold(f64::INFINITY, f64::min) - reach,
            bottom: ys.fold(f64::NEG_INFINITY, f64::max) + reach,
            corners,
        }
    }

    /// Whether a cell of the row may be touched.
    fn reaches(&self, y: usize) -> bool {
        let y = y as f64;
        self.top <= y + 1.0 && self.bottom >= y
    }

    fn edges(&self) -> impl Iterator<Item = ([f64; 2], [f64; 2])> {
        let next = self.corners.iter().cycle().skip(1);
        self.corners.iter().copied().zip(next.copied())
    }

    /// Marks the touched cells of a row. A cell that no edge touches is wholly inside or outside, as its centre is.
    fn touch(&self, y: usize, row: &mut [bool]) {
        let mut crossings = Vec::new();
        let (top, bottom) = (y as f64 - self.reach, y as f64 + 1.0 + self.reach);
        let centre = y as f64 + 0.5;
        for (from, to) in self.edges() {
            if let Some((left, right)) = within(from, to, top, bottom) {
                mark(row, left - self.reach, right + self.reach);
            }
            // An end counts for the edge below it alone, so that a corner is counted once or twice as the outline turns there.
            if (from[1] <= centre) != (to[1] <= centre) {
                let share = (centre - from[1]) / (to[1] - from[1]);
                let turn = if to[1] > from[1] { 1 } else { -1 };
                crossings.push((from[0] + share * (to[0] - from[0]), turn));
            }
        }
        crossings.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let (mut winding, mut left) = (0_i32, 0.0);
        for (x, turn) in crossings {
            if winding == 0 {
                left = x;
            }
            winding += turn;
            if winding == 0 {
                // From the first centre in it to the last one.
                mark(row, (left - 0.5).ceil(), (x - 0.5).floor());
            }
        }
    }
}

/// Where an edge is between two heights: from x to x.
fn within(from: [f64; 2], to: [f64; 2], top: f64, bottom: f64) -> Option<(f64, f64)> {
    let ([x0, y0], [x1, y1]) = (from, to);
    if y0.max(y1) < top || y0.min(y1) > bottom {
        return None;
    }
    let at = |y: f64| {
        if y0 == y1 {
            return [x0, x1];
        }
        let share = ((y - y0) / (y1 - y0)).clamp(0.0, 1.0);
        [x0 + share * (x1 - x0); 2]
    };
    let [a, b] = at(top);
    let [c, d] = at(bottom);
    Some((a.min(b).min(c).min(d), a.max(b).max(c).max(d)))
}

/// Marks the cells from that of `left` to that of `right`.
fn mark(row: &mut [bool], left: f64, right: f64) {
    if right < 0.0 || right < left {
        return;
    }
    let first = left.max(0.0).floor() as usize;
    let end = (right.floor() as usize).saturating_add(1).min(row.len());
    if let Some(cells) = row.get_mut(first..end) {
        cells.fill(true);
    }
}
