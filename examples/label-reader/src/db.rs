//! Text boxes from the detector's map: the post-processing of Differentiable Binarization (Liao et al., 2020).
//!
//! The constants are those of `rapidocr-onnxruntime` 1.4.4, so that its results can be compared with ours. Unlike it, a hole in a
//! region of text is not a separate candidate.

use crate::geometry::{
    Quad, area, distance, min_area_rect, offset_edges, order_corners, perimeter,
};
use crate::{ModelOutputError, regions};

/// Probability above which an element of the map is text.
pub const THRESHOLD: f32 = 0.3;
/// Least mean probability of a box.
pub const BOX_THRESHOLD: f32 = 0.5;
/// How far a box grows: the offset is its area x this / its perimeter.
pub const UNCLIP_RATIO: f64 = 1.6;
/// Shorter side that a region must have, in elements of the map. A grown box needs 2 more.
pub const MIN_SIDE: f64 = 3.0;
/// Regions that are looked at.
pub const MAX_REGIONS: usize = 1000;

/// One box that holds text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextBox {
    /// Its corners in whole pixels of the picture.
    pub outline: Quad,
    /// Mean probability of the map inside it, 0 to 1.
    pub score: f32,
}

/// Finds the text boxes in the detector's output `map` of `shape` 1 x 1 x height x width, and scales them to a picture of
/// `picture_width` x `picture_height` pixels. They come in no particular order.
pub fn boxes(
    map: &[f32],
    shape: &[usize],
    picture_width: u32,
    picture_height: u32,
) -> Result<Vec<TextBox>, ModelOutputError> {
    let (width, height) = match *shape {
        [1, 1, height, width] if height * width == map.len() && width > 0 && height > 0 => {
            (width, height)
        }
        _ => {
            return Err(ModelOutputError::shape(
                "detector",
                "1 x 1 x height x width",
                shape,
            ));
        }
    };
    let scale = [
        f64::from(picture_width) / width as f64,
        f64::from(picture_height) / height as f64,
    ];
    let found = regions::find(map, width, THRESHOLD, MAX_REGIONS)
        .into_iter()
        .filter_map(|mut region| {
            let rect =
                min_area_rect(&mut region.ends).filter(|rect| rect.short_side() >= MIN_SIDE)?;
            let score = mean_inside(map, width, height, &rect.corners.map(|c| c.map(f64::trunc)));
            if score < BOX_THRESHOLD {
                return None;
            }
            let by = area(&rect.corners) * UNCLIP_RATIO / perimeter(&rect.corners);
            let mut grown = offset_edges(&rect.corners.map(|c| c.map(f64::trunc)), by);
            let grown =
                min_area_rect(&mut grown).filter(|rect| rect.short_side() >= MIN_SIDE + 2.0)?;
            let outline = to_picture(grown.corners, scale, [picture_width, picture_height]);
            let [top_left, top_right, _, bottom_left] = outline;
            let large =
                distance(top_left, top_right) >= 4.0 && distance(top_left, bottom_left) >= 4.0;
            large.then_some(TextBox { outline, score })
        });
    Ok(found.collect())
}

/// Scales corners from the map to the picture, in whole pixels inside it, ordered.
fn to_picture(corners: [[f64; 2]; 4], scale: [f64; 2], picture: [u32; 2]) -> Quad {
    let place = |at: f64, scale: f64, side: u32| {
        let last = f64::from(side.saturating_sub(1));
        (at * scale).round_ties_even().clamp(0.0, last) as f32
    };
    order_corners(corners.map(|[x, y]| {
        [
            place(x, scale[0], picture[0]),
            place(y, scale[1], picture[1]),
        ]
    }))
}

/// Mean of the map over the elements inside a convex polygon, its outline included.
fn mean_inside(map: &[f32], width: usize, height: usize, polygon: &[[f64; 2]; 4]) -> f32 {
    let rows = polygon
        .iter()
        .map(|p| p[1])
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| {
            (low.min(y), high.max(y))
        });
    let top = rows.0.max(0.0) as usize;
    let bottom = rows.1.clamp(0.0, height as f64 - 1.0) as usize;
    let mut sum = 0.0f64;
    let mut count = 0usize;
    for (y, row) in map
        .chunks_exact(width)
        .enumerate()
        .take(bottom + 1)
        .skip(top)
    {
        let (left, right) = span_at(polygon, y as f64);
        let left = left.round().max(0.0) as usize;
        let right = right.round().clamp(0.0, width as f64 - 1.0) as usize;
        if let Some(part) = row.get(left..=right) {
            sum += part.iter().map(|v| f64::from(*v)).sum::<f64>();
            count += part.len();
        }
    }
    if count == 0 {
        0.0
    } else {
        (sum / count as f64) as f32
    }
}

/// From where to where a convex polygon reaches in the row of elements at `y`.
///
/// An element counts as inside if its centre is, or if the outline drawn as lines one element wide covers it (as OpenCV fills).
fn span_at(polygon: &[[f64; 2]; 4], y: f64) -> (f64, f64) {
    let [a, b, c, d] = *polygon;
    let mut span = (f64::INFINITY, f64::NEG_INFINITY);
    for ([x0, y0], [x1, y1]) in [(a, b), (b, c), (c, d), (d, a)] {
        let (upper, lower) = (y0.min(y1), y0.max(y1));
        let band = if (x1 - x0).abs() > (y1 - y0).abs() {
            0.5
        } else {
            0.0
        };
        if y + band < upper || y - band > lower {
            continue;
        }
        let at = |y: f64| {
            if y0 == y1 {
                x0
            } else {
                x0 + (x1 - x0) * (y - y0) / (y1 - y0)
            }
        };
        let ends = if y0 == y1 {
            [x0, x1]
        } else {
            [at((y - band).max(upper)), at((y + band).min(lower))]
        };
        for x in ends {
            span = (span.0.min(x), span.1.max(x));
        }
    }
    span
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

    /// A map with one upright bar from (x, y), `w` x `h`, of probability `p`.
    fn bar(
        width: usize,
        height: usize,
        (x, y, w, h): (usize, usize, usize, usize),
        p: f32,
    ) -> Vec<f32> {
        (0..width * height)
            .map(|at| {
                if (x..x + w).contains(&(at % width)) && (y..y + h).contains(&(at / width)) {
                    p
                } else {
                    0.0
                }
            })
            .collect()
    }

    #[test]
    fn one_bar_becomes_one_grown_box_in_the_pictures_scale() {
        let map = bar(64, 32, (10, 10, 30, 8), 0.9);
        let found = boxes(&map, &[1, 1, 32, 64], 128, 64).unwrap();
        assert_eq!(found.len(), 1);
        // The dilated bar reaches from (10, 10) to (40, 18): 30 x 8, so it grows by 240 * 1.6 / 76 = 5.05 on each side.
        assert_eq!(
            found[0].outline,
            [[10.0, 10.0], [90.0, 10.0], [90.0, 46.0], [10.0, 46.0]]
        );
        assert!(
            found[0].score > 0.75 && found[0].score < 0.9,
            "{}",
            found[0].score
        );
    }

    #[test]
    fn faint_and_thin_regions_are_no_text() {
        assert_eq!(
            boxes(&bar(64, 32, (10, 10, 30, 8), 0.4), &[1, 1, 32, 64], 64, 32).unwrap(),
            []
        );
        assert_eq!(
            boxes(&bar(64, 32, (10, 10, 30, 2), 0.9), &[1, 1, 32, 64], 64, 32).unwrap(),
            []
        );
    }

    #[test]
    fn a_wrong_shape_is_an_error_that_names_it() {
        let error = boxes(&[0.0; 4], &[1, 4], 10, 10).unwrap_err();
        assert!(error.to_string().contains("[1, 4]"), "{error}");
    }

    proptest! {
        #[test]
        fn boxes_stay_inside_the_picture_and_clockwise(
            map in prop::collection::vec(0f32..1.0, 24 * 16), picture in (8u32..500, 8u32..500)
        ) {
            for found in boxes(&map, &[1, 1, 16, 24], picture.0, picture.1).unwrap() {
                let [a, b, c, _] = found.outline;
                for [x, y] in found.outline {
                    prop_assert!(x >= 0.0 && x < picture.0 as f32 && y >= 0.0 && y < picture.1 as f32);
                }
                prop_assert!((b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]) >= 0.0);
                prop_assert!(found.score >= BOX_THRESHOLD && found.score <= 1.0);
            }
        }
    }
}
