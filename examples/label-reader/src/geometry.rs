//! Plane geometry of text boxes: convex hulls, rectangles of least area, outward offsets.
//!
//! All of it works on `f64` and is small enough to keep here: the offset that detection needs is that of a rectangle, which has a
//! closed form, and the Clipper2 crate binds a C++ library, which cannot be built for WebAssembly.

/// A position: x to the right, y downwards, in pixels.
pub type Point = [f32; 2];

/// Four corners, clockwise from the top left one.
pub type Quad = [Point; 4];

type Vector = [f64; 2];

/// A rectangle at any angle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RotatedRect {
    /// Its corners, in order round the rectangle.
    pub corners: [[f64; 2]; 4],
    /// Its two side lengths, in pixels.
    pub sides: [f64; 2],
}

impl RotatedRect {
    /// The shorter side, in pixels.
    pub fn short_side(&self) -> f64 {
        let [a, b] = self.sides;
        a.min(b)
    }
}

fn cross(origin: Vector, a: Vector, b: Vector) -> f64 {
    (a[0] - origin[0]) * (b[1] - origin[1]) - (a[1] - origin[1]) * (b[0] - origin[0])
}

/// Distance between two points.
pub fn distance(a: Point, b: Point) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// The convex hull of the points by Andrew's monotone chain, without collinear points. `points` is left sorted.
pub fn convex_hull(points: &mut Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    points.dedup();
    if points.len() < 3 {
        return points.clone();
    }
    let mut hull = half_hull(points.iter().copied());
    hull.pop(); // each half ends where the other begins
    let mut upper = half_hull(points.iter().rev().copied());
    upper.pop();
    hull.append(&mut upper);
    hull
}

fn half_hull(points: impl Iterator<Item = Vector>) -> Vec<Vector> {
    let mut half: Vec<Vector> = Vec::new();
    for point in points {
        while let [.., before, last] = half.as_slice() {
            if cross(*before, *last, point) > 0.0 {
                break;
            }
            half.pop();
        }
        half.push(point);
    }
    half
}

/// The rectangle of least area around the points; `None` without points.
///
/// One of its sides lies along an edge of the hull (Freeman and Shapira, 1975), so every edge is tried.
pub fn min_area_rect(points: &mut Vec<[f64; 2]>) -> Option<RotatedRect> {
    let hull = convex_hull(points);
    let first = *hull.first()?;
    let next = hull.iter().cycle().skip(1);
    let mut best: Option<(f64, RotatedRect)> = None;
    for (from, to) in hull.iter().zip(next) {
        let length = (to[0] - from[0]).hypot(to[1] - from[1]);
        if length == 0.0 {
            continue;
        }
        let along = [(to[0] - from[0]) / length, (to[1] - from[1]) / length];
        let rect = bounds_along(&hull, along);
        let area = rect.sides[0] * rect.sides[1];
        if best.is_none_or(|(least, _)| area < least) {
            best = Some((area, rect));
        }
    }
    Some(best.map_or(
        RotatedRect {
            corners: [first; 4],
            sides: [0.0; 2],
        },
        |(_, rect)| rect,
    ))
}

/// The bounds of the points in the axes `along` (of length 1) and its normal.
fn bounds_along(points: &[Vector], along: Vector) -> RotatedRect {
    let normal = [-along[1], along[0]];
    let range = |axis: Vector| {
        points
            .iter()
            .map(|p| p[0] * axis[0] + p[1] * axis[1])
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| {
                (low.min(at), high.max(at))
            })
    };
    let (left, right) = range(along);
    let (top, bottom) = range(normal);
    let corner = |a: f64, b: f64| [along[0] * a + normal[0] * b, along[1] * a + normal[1] * b];
    RotatedRect {
        corners: [
            corner(left, top),
            corner(right, top),
            corner(right, bottom),
            corner(left, bottom),
        ],
        sides: [right - left, bottom - top],
    }
}

/// Area of a polygon (the shoelace formula), in square pixels.
pub fn area(polygon: &[[f64; 2]]) -> f64 {
    edges(polygon)
        .map(|(a, b)| a[0] * b[1] - b[0] * a[1])
        .sum::<f64>()
        .abs()
        / 2.0
}

/// Length of a polygon's outline, in pixels.
pub fn perimeter(polygon: &[[f64; 2]]) -> f64 {
    edges(polygon)
        .map(|(a, b)| (b[0] - a[0]).hypot(b[1] - a[1]))
        .sum()
}

fn edges(polygon: &[Vector]) -> impl Iterator<Item = (Vector, Vector)> + '_ {
    polygon
        .iter()
        .copied()
        .zip(polygon.iter().copied().cycle().skip(1))
}

/// The ends of a convex polygon's edges after each edge has moved outwards by `by` pixels, rounded to whole pixels.
///
/// For a rectangle, the rectangle of least area round them is the one round the outward offset with rounded corners.
pub fn offset_edges(polygon: &[[f64; 2]], by: f64) -> Vec<[f64; 2]> {
    let turn = edges(polygon)
        .map(|(a, b)| a[0] * b[1] - b[0] * a[1])
        .sum::<f64>()
        .signum();
    let mut ends = Vec::with_capacity(polygon.len() * 2);
    for (from, to) in edges(polygon) {
        let length = (to[0] - from[0]).hypot(to[1] - from[1]);
        if length == 0.0 {
            continue;
        }
        let outwards = [
            turn * by * (to[1] - from[1]) / length,
            -turn * by * (to[0] - from[0]) / length,
        ];
        for end in [from, to] {
            ends.push([
                (end[0] + outwards[0]).round(),
                (end[1] + outwards[1]).round(),
            ]);
        }
    }
    ends
}

/// Puts four corners in order: clockwise from the top left one.
///
/// The two leftmost corners are the left side; within a side, the upper one comes first.
pub fn order_corners(corners: [Point; 4]) -> Quad {
    let mut by_x = corners;
    by_x.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let [a, b, c, d] = by_x;
    let upper_first = |p: Point, q: Point| if q[1] < p[1] { (q, p) } else { (p, q) };
    let (top_left, bottom_left) = upper_first(a, b);
    let (top_right, bottom_right) = upper_first(c, d);
    [top_left, top_right, bottom_right, bottom_left]
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

    #[test]
    fn a_tilted_square_has_its_own_rectangle() {
        let mut points = vec![[0.0, 5.0], [5.0, 0.0], [10.0, 5.0], [5.0, 10.0], [5.0, 5.0]];
        let rect = min_area_rect(&mut points).unwrap();
        for side in rect.sides {
            assert!((side - 50f64.sqrt()).abs() < 1e-9, "{side}");
        }
    }

    #[test]
    fn one_point_and_one_line_have_flat_rectangles() {
        assert_eq!(min_area_rect(&mut vec![]), None);
        assert_eq!(
            min_area_rect(&mut vec![[3.0, 4.0]; 5]).unwrap().sides,
            [0.0, 0.0]
        );
        assert!(
            min_area_rect(&mut vec![[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
                .unwrap()
                .short_side()
                < 1e-9
        );
    }

    #[test]
    fn offset_moves_every_side_outwards_whatever_the_direction() {
        let mut square = vec![[10.0, 10.0], [20.0, 10.0], [20.0, 20.0], [10.0, 20.0]];
        for _ in 0..2 {
            let rect = min_area_rect(&mut offset_edges(&square, 3.0)).unwrap();
            assert_eq!(rect.sides, [16.0, 16.0]);
            square.reverse();
        }
    }

    #[test]
    fn corners_are_clockwise_from_the_top_left() {
        let ordered = [[0.0, 0.0], [9.0, 1.0], [9.0, 5.0], [0.0, 4.0]];
        for turn in 0..4 {
            let mut corners = ordered;
            corners.rotate_left(turn);
            assert_eq!(order_corners(corners), ordered);
        }
    }

    proptest! {
        #[test]
        fn the_rectangle_holds_all_points_and_is_no_larger_than_the_upright_one(
            raw in prop::collection::vec((0i32..200, 0i32..200), 1..40)
        ) {
            let points: Vec<[f64; 2]> = raw.iter().map(|&(x, y)| [f64::from(x), f64::from(y)]).collect();
            let rect = min_area_rect(&mut points.clone()).unwrap();
            let span = |axis: usize| {
                let values = points.iter().map(|p| p[axis]);
                values.clone().fold(f64::MIN, f64::max) - values.fold(f64::MAX, f64::min)
            };
            prop_assert!(rect.sides[0] * rect.sides[1] <= span(0) * span(1) + 1e-6);
            for p in &points {
                for (from, to) in edges(&rect.corners) {
                    let length = (to[0] - from[0]).hypot(to[1] - from[1]).max(1e-9);
                    prop_assert!(cross(from, to, *p) / length > -1e-6);
                }
            }
        }
    }
}
