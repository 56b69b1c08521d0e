//! Whether a picture differs from another one, by small grey copies of both.

use crate::image::CHANNELS;
use crate::{Budget, Filter, Image, VisionError, grey, resize};

/// Sides of the small copy. Noise of single pixels is averaged out in it.
const WIDTH: u32 = 32;
const HEIGHT: u32 = 24;

/// A small grey copy of a picture: 32 x 24 pixels, one byte each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallGrey(Vec<u8>);

impl SmallGrey {
    /// The copy of a picture, which is stretched to its size.
    ///
    /// # Errors
    /// [`VisionError::Budget`]
    pub fn of(image: &Image, budget: &Budget<'_>) -> Result<Self, VisionError> {
        let small = resize(image, WIDTH, HEIGHT, Filter::Area, budget)?;
        let grey = grey(&small, budget)?;
        // All three channels are the same.
        Ok(Self(
            grey.pixels().iter().step_by(CHANNELS).copied().collect(),
        ))
    }

    /// The mean difference of the pixels of two copies: 0 for equal ones, 1 for black and white.
    pub fn difference(&self, other: &Self) -> f64 {
        let pairs = self.0.iter().zip(&other.0);
        let sum: u32 = pairs
            .map(|(one, other)| u32::from(one.abs_diff(*other)))
            .sum();
        f64::from(sum) / f64::from(WIDTH * HEIGHT * u32::from(u8::MAX))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn copy(width: u32, height: u32, pixel: impl Fn(u32, u32) -> u8) -> SmallGrey {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels = places.flat_map(|(x, y)| [pixel(x, y); CHANNELS]).collect();
        let image = Image::from_rgb(width, height, pixels).unwrap();
        SmallGrey::of(&image, &Budget::unlimited()).unwrap()
    }

    fn is_near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 0.005
    }

    #[test]
    fn equal_pictures_do_not_differ_and_black_and_white_do_entirely() {
        let grey = |value| copy(64, 48, move |_, _| value);
        assert!(is_near(grey(100).difference(&grey(100)), 0.0));
        assert!(is_near(grey(0).difference(&grey(255)), 1.0));
        assert!(is_near(grey(51).difference(&grey(0)), 0.2));
        // 640 x 480 and 64 x 48 have the same copy.
        assert!(is_near(
            copy(640, 480, |_, _| 51).difference(&grey(51)),
            0.0
        ));
    }

    #[test]
    fn the_difference_is_the_share_of_what_changed() {
        let empty = copy(64, 48, |_, _| 0);
        // A quarter of the picture turns white.
        let quarter = copy(64, 48, |x, y| if x < 32 && y < 24 { 255 } else { 0 });
        assert!(is_near(empty.difference(&quarter), 0.25));
        assert!(is_near(quarter.difference(&empty), 0.25));
    }

    #[test]
    fn noise_of_single_pixels_is_averaged_out() {
        // Each pixel differs by 10, and each 20 x 20 pixels have the same mean.
        let board = |even| {
            copy(640, 480, move |x, y| {
                100 + 10 * u8::from((x + y) % 2 == even)
            })
        };
        assert!(board(0).difference(&board(1)) < 0.005);
    }
}
