//! How large a picture or a line must be for each model.
//!
//! The constants are those of `rapidocr-onnxruntime` 1.4.4 unless they say otherwise.

use crate::geometry::{Quad, distance};

/// A larger picture is made smaller first. Pixels.
pub const PICTURE_SIDE_MAX: u32 = 2000;
/// A smaller picture is made larger first. Pixels.
pub const PICTURE_SIDE_MIN: u32 = 30;
/// A picture wider than this times its height gets black bars above and below.
pub const PICTURE_ASPECT_MAX: u32 = 8;
/// The detector's picture has at least this shorter side. Pixels.
pub const DETECTOR_SIDE_MIN: u32 = 736;
/// Both sides of the detector's input are multiples of this.
pub const DETECTOR_STEP: u32 = 32;
/// The detector's input is never longer than this: what the largest aspect ratio after the bars asks for. Our own bound. Pixels.
pub const DETECTOR_SIDE_MAX: u32 = 2944;
/// Height of the angle classifier's and the recogniser's input. Pixels.
pub const LINE_HEIGHT: u32 = 48;
/// Width of the angle classifier's input. Pixels.
pub const ANGLE_WIDTH: u32 = 192;
/// Least width of the recogniser's input. Pixels.
pub const RECOGNISER_WIDTH_MIN: u32 = 320;
/// The recogniser's width is a multiple of this, so that few different shapes occur and the host's plans for them are used again. Our own.
pub const RECOGNISER_WIDTH_STEP: u32 = 32;
/// A longer line is squeezed to this width. Our own bound. Pixels.
pub const RECOGNISER_WIDTH_MAX: u32 = 3200;
/// A cut-out at least this many times as high as wide is turned by 90 degrees.
pub const UPRIGHT_ASPECT: f32 = 1.5;

/// Width and height.
pub type Size = (u32, u32);

fn to_step(side: f64) -> u32 {
    let step = f64::from(DETECTOR_STEP);
    ((side.floor() / step).round_ties_even() * step).max(step) as u32
}

fn scaled((width, height): Size, ratio: f64) -> Size {
    (
        to_step(f64::from(width) * ratio),
        to_step(f64::from(height) * ratio),
    )
}

/// The size at which a picture is worked on.
pub fn working_size(picture: Size) -> Size {
    let mut size = picture;
    let longest = size.0.max(size.1);
    if longest > PICTURE_SIDE_MAX {
        size = scaled(size, f64::from(PICTURE_SIDE_MAX) / f64::from(longest));
    }
    let shortest = size.0.min(size.1);
    if (1..PICTURE_SIDE_MIN).contains(&shortest) {
        size = scaled(size, f64::from(PICTURE_SIDE_MIN) / f64::from(shortest));
        size = (size.0.min(PICTURE_SIDE_MAX), size.1.min(PICTURE_SIDE_MAX));
    }
    size
}

/// Height of the black bar that goes above a picture, and of the one below it: 0 for most.
pub fn bar_height((width, height): Size) -> u32 {
    if height > PICTURE_SIDE_MIN && width <= PICTURE_ASPECT_MAX * height {
        return 0;
    }
    (2 * (width / PICTURE_ASPECT_MAX).max(PICTURE_SIDE_MIN)).abs_diff(height) / 2
}

/// Size of the detector's input for a picture.
pub fn detector_size(picture: Size) -> Size {
    let shortest = f64::from(picture.0.min(picture.1).max(1));
    let longest = f64::from(picture.0.max(picture.1).max(1));
    let ratio = (f64::from(DETECTOR_SIDE_MIN) / shortest)
        .max(1.0)
        .min(f64::from(DETECTOR_SIDE_MAX) / longest);
    scaled(picture, ratio)
}

/// Size of the upright picture that is cut out along an outline, at least 1 x 1.
pub fn crop_size(outline: &Quad) -> Size {
    let [a, b, c, d] = *outline;
    let side = |one: f32, other: f32| (one.max(other) as u32).max(1);
    (
        side(distance(a, b), distance(c, d)),
        side(distance(a, d), distance(b, c)),
    )
}

/// Whether a cut-out of this size is upright, and must be turned by 90 degrees.
pub fn is_upright((width, height): Size) -> bool {
    height as f32 >= UPRIGHT_ASPECT * width as f32
}

/// Width of a line when it is [`LINE_HEIGHT`] high, at most `most`.
pub fn line_width((width, height): Size, most: u32) -> u32 {
    let natural = (f64::from(LINE_HEIGHT) * f64::from(width) / f64::from(height.max(1))).ceil();
    (natural as u32).clamp(1, most)
}

/// Width of the recogniser's input for a batch whose widest line has the size `widest`.
pub fn recogniser_width(widest: Size) -> u32 {
    line_width(widest, RECOGNISER_WIDTH_MAX)
        .max(RECOGNISER_WIDTH_MIN)
        .next_multiple_of(RECOGNISER_WIDTH_STEP)
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
    fn pictures_of_every_kind() {
        assert_eq!(working_size((384, 191)), (384, 191));
        assert_eq!(working_size((4000, 3000)), (1984, 1504)); // 2000 / 32 = 62.5 goes to the even 62
        assert_eq!(detector_size((384, 191)), (1472, 736));
        assert_eq!(detector_size((640, 427)), (1088, 736));
        assert_eq!(detector_size((1000, 900)), (992, 896));
        assert_eq!(bar_height((384, 191)), 0);
        assert_eq!(bar_height((2000, 100)), 200);
    }

    #[test]
    fn cut_outs_and_lines() {
        let quad = [[0.0, 0.0], [90.5, 0.0], [90.0, 20.0], [0.0, 19.0]];
        assert_eq!(crop_size(&quad), (90, 20));
        assert!(is_upright((10, 15)) && !is_upright((10, 14)));
        assert_eq!(line_width((90, 20), ANGLE_WIDTH), 192);
        assert_eq!(line_width((30, 20), ANGLE_WIDTH), 72);
        assert_eq!(recogniser_width((10, 20)), 320);
        assert_eq!(recogniser_width((400, 20)), 960);
        assert_eq!(recogniser_width((401, 20)), 992);
    }

    proptest! {
        #[test]
        fn sizes_stay_within_their_bounds(width in 1u32..100_000, height in 1u32..100_000) {
            let work = working_size((width, height));
            prop_assert!(work.0.max(work.1) <= PICTURE_SIDE_MAX + DETECTOR_STEP);
            let (w, h) = detector_size((work.0, work.1 + 2 * bar_height(work)));
            prop_assert!(w % DETECTOR_STEP == 0 && h % DETECTOR_STEP == 0);
            prop_assert!(w.min(h) > 0 && w.max(h) <= DETECTOR_SIDE_MAX);
            prop_assert!(recogniser_width((width, height)) <= RECOGNISER_WIDTH_MAX);
        }
    }
}
