//! Connected regions of a map of probabilities.

/// One 8-connected region of foreground pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// The two ends of each of its runs, row by row: all that its convex hull needs. Pixels.
    pub ends: Vec<[f64; 2]>,
}

struct Run {
    first: usize,
    last: usize,
    region: usize,
}

/// Finds the regions of `map` (row by row, `width` elements a row) whose elements are above `threshold`, after each such element has
/// spread to its right, lower and lower right neighbours (a dilation by 2 x 2, which joins the parts of thin strokes).
///
/// Regions come in the order of their first pixel, row by row, and at most `most` of them.
pub fn find(map: &[f32], width: usize, threshold: f32, most: usize) -> Vec<Region> {
    if width == 0 {
        return Vec::new();
    }
    let mut sets = DisjointSets::default();
    let mut ends: Vec<(usize, [[f64; 2]; 2])> = Vec::new();
    let mut above = vec![false; width];
    let mut row_mask = vec![false; width];
    let mut spread = vec![false; width];
    let mut previous: Vec<Run> = Vec::new();
    for (y, row) in map.chunks_exact(width).enumerate() {
        for (on, value) in row_mask.iter_mut().zip(row) {
            *on = *value > threshold;
        }
        let mut left = false;
        for ((out, here), over) in spread.iter_mut().zip(&row_mask).zip(&above) {
            let column = *here || *over;
            *out = column || left;
            left = column;
        }
        let runs = runs_of_row(&spread, &previous, &mut sets);
        for run in &runs {
            ends.push((
                run.region,
                [[run.first as f64, y as f64], [run.last as f64, y as f64]],
            ));
        }
        previous = runs;
        std::mem::swap(&mut above, &mut row_mask);
    }
    collect(&ends, &mut sets, most)
}

/// The runs of one row, each joined with the runs of the row above that it touches.
fn runs_of_row(row: &[bool], previous: &[Run], sets: &mut DisjointSets) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut candidates = previous.iter().peekable();
    let mut x = 0;
    for part in row.chunk_by(|a, b| a == b) {
        let first = x;
        x += part.len();
        if part.first() != Some(&true) {
            continue;
        }
        let last = x - 1;
        let mut region = None;
        while let Some(over) = candidates.peek() {
            if over.first > last + 1 {
                break;
            }
            if over.last + 1 >= first {
                region = Some(region.map_or(over.region, |joined| sets.join(joined, over.region)));
                if over.last > last {
                    break; // it may touch the next run too
                }
            }
            candidates.next();
        }
        runs.push(Run {
            first,
            last,
            region: region.unwrap_or_else(|| sets.add()),
        });
    }
    runs
}

fn collect(ends: &[(usize, [[f64; 2]; 2])], sets: &mut DisjointSets, most: usize) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    let mut place: Vec<Option<usize>> = vec![None; sets.parents.len()];
    for (set, pair) in ends {
        let root = sets.root(*set);
        let Some(slot) = place.get_mut(root) else {
            continue;
        };
        if slot.is_none() {
            if regions.len() == most {
                continue;
            }
            *slot = Some(regions.len());
            regions.push(Region { ends: Vec::new() });
        }
        if let Some(region) = slot.and_then(|at| regions.get_mut(at)) {
            region.ends.extend_from_slice(pair);
        }
    }
    regions
}

/// Union-find with path halving; the root of a set is its oldest member.
#[derive(Default)]
struct DisjointSets {
    parents: Vec<usize>,
}

impl DisjointSets {
    fn add(&mut self) -> usize {
        self.parents.push(self.parents.len());
        self.parents.len() - 1
    }

    fn parent(&self, of: usize) -> usize {
        self.parents.get(of).copied().unwrap_or(of)
    }

    fn set_parent(&mut self, of: usize, parent: usize) {
        if let Some(slot) = self.parents.get_mut(of) {
            *slot = parent;
        }
    }

    fn root(&mut self, mut of: usize) -> usize {
        while self.parent(of) != of {
            let grandparent = self.parent(self.parent(of));
            self.set_parent(of, grandparent);
            of = grandparent;
        }
        of
    }

    fn join(&mut self, a: usize, b: usize) -> usize {
        let (a, b) = (self.root(a), self.root(b));
        self.set_parent(a.max(b), a.min(b));
        a.min(b)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests"
    )]
    use super::*;
    use proptest::prelude::*;

    fn map(rows: &[&str]) -> (Vec<f32>, usize) {
        let elements = rows
            .iter()
            .flat_map(|row| row.chars())
            .map(|c| if c == '#' { 0.9 } else { 0.1 });
        (elements.collect(), rows[0].len())
    }

    /// Counts 8-connected regions of the dilated mask by flooding: slow and plain.
    fn flood_count(map: &[f32], width: usize, threshold: f32) -> usize {
        let height = map.len() / width;
        let on = |x: usize, y: usize| map[y * width + x] > threshold;
        let mut mask: Vec<bool> = (0..map.len())
            .map(|at| {
                let (x, y) = (at % width, at / width);
                (y.saturating_sub(1)..=y).any(|v| (x.saturating_sub(1)..=x).any(|u| on(u, v)))
            })
            .collect();
        let mut count = 0;
        for start in 0..mask.len() {
            if !mask[start] {
                continue;
            }
            count += 1;
            let mut open = vec![start];
            while let Some(at) = open.pop() {
                if !std::mem::replace(&mut mask[at], false) {
                    continue;
                }
                let (x, y) = (at % width, at / width);
                for v in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                    for u in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                        if mask[v * width + u] {
                            open.push(v * width + u);
                        }
                    }
                }
            }
        }
        count
    }

    #[test]
    fn a_horseshoe_is_one_region_and_two_bars_are_two() {
        let (horseshoe, width) = map(&["#....#", "#....#", "######"]);
        assert_eq!(find(&horseshoe, width, 0.3, 10).len(), 1);
        let (bars, width) = map(&["##....##", "##....##"]);
        assert_eq!(find(&bars, width, 0.3, 10).len(), 2);
        assert_eq!(find(&bars, width, 0.3, 1).len(), 1);
        assert!(find(&[], 0, 0.3, 10).is_empty());
    }

    #[test]
    fn a_pixel_spreads_to_the_right_and_downwards() {
        let (pixel, width) = map(&["....", ".#..", "...."]);
        let regions = find(&pixel, width, 0.3, 10);
        assert_eq!(
            regions[0].ends,
            [[1.0, 1.0], [2.0, 1.0], [1.0, 2.0], [2.0, 2.0]]
        );
    }

    proptest! {
        #[test]
        fn regions_are_those_that_flooding_finds(width in 1usize..12, cells in prop::collection::vec(0u8..4, 0..120)) {
            let height = cells.len() / width;
            let map: Vec<f32> = cells[..height * width].iter().map(|c| if *c == 0 { 0.9 } else { 0.0 }).collect();
            prop_assume!(!map.is_empty());
            prop_assert_eq!(find(&map, width, 0.3, usize::MAX).len(), flood_count(&map, width, 0.3));
        }
    }
}
