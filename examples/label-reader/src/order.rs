//! Reading order.

use crate::geometry::{Point, Quad};

/// Boxes whose top left corners are nearer than this vertically stand on one line, in pixels.
pub const SAME_LINE: f32 = 10.0;

/// Sorts boxes from top to bottom, and from left to right on one line.
///
/// `outline` gives the outline of an item. The order is by the top left corner; then each box moves to the left of those before it that
/// stand on its line and further to the right.
pub fn sort<T>(items: &mut [T], outline: impl Fn(&T) -> &Quad) {
    let corner = |item: &T| -> Point {
        let [top_left, ..] = *outline(item);
        top_left
    };
    items.sort_by(|a, b| {
        let ([ax, ay], [bx, by]) = (corner(a), corner(b));
        ay.total_cmp(&by).then(ax.total_cmp(&bx))
    });
    for from in 1..items.len() {
        for at in (1..=from).rev() {
            let Some([before, after]) = items.get(at - 1..=at) else {
                break;
            };
            let ([left, above], [right, below]) = (corner(before), corner(after));
            if (below - above).abs() >= SAME_LINE || right >= left {
                break;
            }
            items.swap(at - 1, at);
        }
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

    fn at(x: f32, y: f32) -> Quad {
        [[x, y], [x + 5.0, y], [x + 5.0, y + 5.0], [x, y + 5.0]]
    }

    #[test]
    fn boxes_on_one_line_go_from_left_to_right() {
        let mut boxes = vec![
            at(50.0, 98.0),
            at(0.0, 100.0),
            at(25.0, 104.0),
            at(10.0, 20.0),
            at(0.0, 140.0),
        ];
        sort(&mut boxes, |b| b);
        assert_eq!(
            boxes,
            [
                at(10.0, 20.0),
                at(0.0, 100.0),
                at(25.0, 104.0),
                at(50.0, 98.0),
                at(0.0, 140.0)
            ]
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_lines_stay_in_order(corners in prop::collection::vec((0u8..100, 0u8..8), 0..20)) {
            let mut boxes: Vec<Quad> = corners.iter().map(|&(x, y)| at(x.into(), f32::from(y) * 20.0)).collect();
            sort(&mut boxes, |b| b);
            let sorted: Vec<(u8, u8)> = boxes.iter().map(|b| ((b[0][1] / 20.0) as u8, b[0][0] as u8)).collect();
            let mut expected: Vec<(u8, u8)> = corners.iter().map(|&(x, y)| (y, x)).collect();
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
        }
    }
}
