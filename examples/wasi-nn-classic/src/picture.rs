//! Turns a picture in PPM (netpbm's `P6`) into the model's input.

use thiserror::Error;

/// Pixels of a picture.
pub const WIDTH: usize = 192;
/// Pixels of a picture.
pub const HEIGHT: usize = 48;
/// Bytes a pixel.
const CHANNELS: usize = 3;

/// Bytes that are not a supported picture.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PictureError {
    /// It is of another format, or cut off in its header.
    #[error("it is not a PPM file (P6)")]
    Format,
    /// It is of another size or depth.
    #[error(
        "it has {width} x {height} pixels up to {depth}; {WIDTH} x {HEIGHT} up to 255 are taken"
    )]
    Size {
        /// Pixels.
        width: usize,
        /// Pixels.
        height: usize,
        /// The largest value of a channel.
        depth: usize,
    },
    /// It has fewer pixels than its header says, or more.
    #[error("it has {found} bytes of pixels; {} are expected", WIDTH * HEIGHT * CHANNELS)]
    Length {
        /// Bytes after the header.
        found: usize,
    },
}

/// The model's input: blue, green and red maps, one after the other, from -1 to 1.
///
/// # Errors
/// [`PictureError`].
pub fn elements(file: &[u8]) -> Result<Vec<f32>, PictureError> {
    let rest = file.strip_prefix(b"P6").ok_or(PictureError::Format)?;
    let (width, rest) = number(rest).ok_or(PictureError::Format)?;
    let (height, rest) = number(rest).ok_or(PictureError::Format)?;
    let (depth, rest) = number(rest).ok_or(PictureError::Format)?;
    if (width, height, depth) != (WIDTH, HEIGHT, 255) {
        return Err(PictureError::Size {
            width,
            height,
            depth,
        });
    }
    // One white-space character ends the header.
    let (_, pixels) = rest.split_first().ok_or(PictureError::Format)?;
    if pixels.len() != WIDTH * HEIGHT * CHANNELS {
        return Err(PictureError::Length {
            found: pixels.len(),
        });
    }
    let channel = |index: usize| pixels.iter().skip(index).step_by(CHANNELS);
    let values = (0..CHANNELS).rev().flat_map(channel);
    Ok(values
        .map(|value| (f32::from(*value) / 255.0 - 0.5) / 0.5)
        .collect())
}

/// A decimal number after white space, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let bytes = bytes.get(start..)?;
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = bytes.split_at_checked(end)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (start > 0).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn file(header: &str, pixels: usize) -> Vec<u8> {
        let mut file = header.as_bytes().to_vec();
        file.extend([255, 0, 51].into_iter().cycle().take(pixels));
        file
    }

    #[test]
    fn channels_are_turned_round_and_run_from_minus_one_to_one() {
        let found = elements(&file("P6\n192 48\n255\n", 27_648)).unwrap();
        assert_eq!(found.len(), 27_648);
        let map = WIDTH * HEIGHT;
        assert!((found[0] - -0.6).abs() < 1e-6);
        assert_eq!((found[map], found[2 * map]), (-1.0, 1.0));
    }

    #[test]
    fn other_pictures_are_refused() {
        for (header, pixels, said) in [
            ("P5 192 48 255 ", 9216, "not a PPM"),
            ("P6192 48 255 ", 27_648, "not a PPM"),
            ("P6 192 48", 0, "not a PPM"),
            ("P6 99999999999999999999 48 255 ", 0, "not a PPM"),
            ("P6 48 192 255 ", 27_648, "48 x 192"),
            ("P6 192 48 255 ", 27_647, "27647 bytes"),
            ("P6 192 48 255 ", 27_649, "27649 bytes"),
        ] {
            let error = elements(&file(header, pixels)).unwrap_err();
            assert!(error.to_string().contains(said), "{header}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = elements(&[b"P6", bytes.as_slice()].concat());
        }
    }
}
