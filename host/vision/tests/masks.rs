#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Masks that are burned into pictures: nothing under them is left, and nothing else changes.

mod common;

use common::{bmp, encode, exif, noise, png16, with_exif};
use hotshoe_vision::{
    Budget, DecodeLimits, DecodeOptions, ErrorKind, Fill, Format, Image, Mask, RedactError,
};
use image::ExtendedColorType;
use proptest::prelude::*;

const WHOLE: [[f64; 2]; 4] = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];

fn redact(file: &[u8], media_type: &str, masks: &[Mask]) -> Result<Vec<u8>, RedactError> {
    let limits = DecodeLimits::default();
    hotshoe_vision::redact(file, media_type, masks, &limits, &Budget::unlimited())
}

/// The upright pixels of a file.
fn decode(file: &[u8]) -> Image {
    let (options, limits) = (DecodeOptions::default(), DecodeLimits::default());
    hotshoe_vision::decode_with(file, &options, &limits, &Budget::unlimited()).unwrap()
}

fn mask(polygon: &[[f64; 2]], fill: Fill) -> Mask {
    let polygon = polygon.to_vec();
    Mask { polygon, fill }
}

/// A black rectangle between two corners, in pixels of a picture of this size.
fn black(size: [f64; 2], from: [f64; 2], to: [f64; 2]) -> Mask {
    let [left, top] = [from[0] / size[0], from[1] / size[1]];
    let [right, bottom] = [to[0] / size[0], to[1] / size[1]];
    let corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
    mask(&corners, Fill::Black)
}

/// The pixels of a picture, row by row.
fn pixels(image: &Image) -> Vec<[u8; 3]> {
    image.pixels().as_chunks::<3>().0.to_vec()
}

/// A picture without black pixels.
fn bright(width: u32, height: u32) -> Image {
    let image = noise(width, height);
    let bytes = image.pixels().iter().map(|it| it | 1).collect();
    Image::from_rgb(width, height, bytes).unwrap()
}

#[test]
fn a_pixel_that_a_mask_touches_is_black_and_no_other_one() {
    let image = bright(4, 4);
    let file = encode(&image, Format::Png, 0).unwrap();
    let size = [4.0, 4.0];
    // Inside of pixel 1, 1; over the corner that four pixels share; and on the outline of pixel 1, 1, which touches all around it.
    let cases = [
        ([1.2, 1.2], [1.8, 1.8], 1..=1),
        ([1.9, 1.9], [2.1, 2.1], 1..=2),
        ([1.0, 1.0], [2.0, 2.0], 0..=2),
    ];
    for (from, to, covered) in cases {
        let masked = decode(&redact(&file, "image/png", &[black(size, from, to)]).unwrap());
        for (at, (found, before)) in pixels(&masked).iter().zip(pixels(&image)).enumerate() {
            let is_covered = covered.contains(&(at % 4)) && covered.contains(&(at / 4));
            let expected = if is_covered { [0; 3] } else { before };
            assert_eq!(*found, expected, "{from:?} to {to:?}, pixel {at}");
        }
    }
}

#[test]
fn a_mask_of_the_whole_picture_leaves_nothing_of_any_size() {
    for (width, height) in [(1, 1), (7, 1), (1, 7), (13, 5)] {
        let file = encode(&bright(width, height), Format::Png, 0).unwrap();
        let masked = redact(&file, "image/png", &[mask(&WHOLE, Fill::Black)]).unwrap();
        let masked = decode(&masked);
        assert_eq!((masked.width(), masked.height()), (width, height));
        assert!(masked.pixels().iter().all(|value| *value == 0));
    }
}

#[test]
fn an_outline_that_crosses_itself_leaves_no_hole() {
    let image = bright(10, 10);
    let file = encode(&image, Format::Png, 0).unwrap();
    let (low, high) = (0.15, 0.85);
    let once = [[low, low], [high, low], [high, high], [low, high]];
    let twice = [once, once].concat();
    // A star of five points, whose middle it goes around twice.
    let star = [0.0, 4.0, 8.0, 2.0, 6.0].map(|tenths: f64| {
        let (sine, cosine) = (tenths / 10.0 * std::f64::consts::TAU).sin_cos();
        [0.5 + 0.45 * sine, 0.5 - 0.45 * cosine]
    });
    for (polygon, size) in [(&twice[..], 8), (&star[..], 2)] {
        let masked = redact(&file, "image/png", &[mask(polygon, Fill::Black)]).unwrap();
        let masked = pixels(&decode(&masked));
        // The pixels of a square of this size in the middle.
        let middle = 5 - size / 2..5 + size / 2;
        for (at, pixel) in masked.iter().enumerate() {
            let is_middle = middle.contains(&(at % 10)) && middle.contains(&(at / 10));
            assert!(!is_middle || *pixel == [0; 3], "pixel {at} of {size}");
        }
    }
}

/// Whether an edge has a point in the square from `low` to `high`: it is cut at its four sides (Liang and Barsky).
fn crosses(from: [f64; 2], to: [f64; 2], low: [f64; 2], high: [f64; 2]) -> bool {
    let (mut first, mut last) = (0.0_f64, 1.0_f64);
    for axis in 0..2 {
        let step = to[axis] - from[axis];
        if step == 0.0 {
            if from[axis] < low[axis] || from[axis] > high[axis] {
                return false;
            }
            continue;
        }
        let at = [low[axis], high[axis]].map(|side| (side - from[axis]) / step);
        first = first.max(at[0].min(at[1]));
        last = last.min(at[0].max(at[1]));
    }
    first <= last
}

/// Whether the outline goes around the point: a ray to the right crosses it upwards and downwards not equally often.
fn contains(polygon: &[[f64; 2]], [x, y]: [f64; 2]) -> bool {
    let mut winding = 0;
    for (index, &[x0, y0]) in polygon.iter().enumerate() {
        let [x1, y1] = polygon[(index + 1) % polygon.len()];
        if (y0 > y) != (y1 > y) && x < x0 + (y - y0) / (y1 - y0) * (x1 - x0) {
            winding += if y1 > y0 { 1 } else { -1 };
        }
    }
    winding != 0
}

proptest! {
    #[test]
    fn no_pixel_inside_survives_and_none_outside_changes(
        size in (1..24_u32, 1..24_u32),
        corners in prop::collection::vec([0.0..=1.0_f64, 0.0..=1.0_f64], 3..9),
    ) {
        const NEAR: f64 = 1e-3;
        let (width, height) = size;
        let image = bright(width, height);
        let file = encode(&image, Format::Png, 0).unwrap();
        let masks = [mask(&corners, Fill::Black)];
        let masked = decode(&redact(&file, "image/png", &masks).unwrap());
        let polygon: Vec<[f64; 2]> = corners
            .iter()
            .map(|[x, y]| [x * f64::from(width), y * f64::from(height)])
            .collect();
        let before = pixels(&image);
        for (at, found) in pixels(&masked).into_iter().enumerate() {
            let left = (at % width as usize) as f64;
            let top = (at / width as usize) as f64;
            let touched = |by: f64| polygon.iter().enumerate().any(|(index, from)| {
                let to = polygon[(index + 1) % polygon.len()];
                crosses(*from, to, [left - by, top - by], [left + 1.0 + by, top + 1.0 + by])
            });
            let expected = if touched(-NEAR) {
                Some(true)
            } else if touched(NEAR) {
                None // so close that rounding decides
            } else {
                Some(contains(&polygon, [left + 0.5, top + 0.5]))
            };
            match expected {
                Some(true) => prop_assert_eq!(found, [0; 3], "pixel {}, {}", left, top),
                Some(false) => prop_assert_eq!(found, before[at], "pixel {}, {}", left, top),
                None => prop_assert!(found == [0; 3] || found == before[at]),
            }
        }
    }

    #[test]
    fn any_bytes_are_masked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..256), width in 1..9_u32, height in 1..9_u32) {
        let masks = [mask(&WHOLE, Fill::Black), mask(&WHOLE[..3], Fill::Blur)];
        for format in ["NV12", "YUY2", "GRAY8", "RGB"] {
            let media_type = format!("video/x-raw; format={format}; width={width}; height={height}");
            let _ = redact(&bytes, &media_type, &masks);
        }
        for start in [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &[0xFF, 0xD8, 0xFF, 0xE0], b"BM"] {
            let _ = redact(&[start, &bytes].concat(), "", &masks);
        }
    }
}

#[test]
fn a_bmp_file_stays_one_and_keeps_the_other_pixels() {
    let image = bright(5, 3);
    let file = bmp(5, 3, ExtendedColorType::Rgb8, image.pixels());
    let masks = [black([5.0, 3.0], [3.1, 0.1], [4.9, 0.9])];
    let masked = redact(&file, "image/bmp", &masks).unwrap();
    assert_eq!(masked[..2], *b"BM");
    let mut expected = pixels(&image);
    expected[3..5].fill([0; 3]);
    assert_eq!(pixels(&decode(&masked)), expected);
}

#[test]
fn a_depth_picture_keeps_its_16_bits() {
    let file = png16(2, 2, png::ColorType::Grayscale, &[800, 1500, 65_535, 257]);
    // A blur is black here.
    let blurred = Mask {
        fill: Fill::Blur,
        ..black([2.0, 2.0], [1.1, 0.1], [1.9, 0.9])
    };
    let masked = redact(&file, "image/png", &[blurred]).unwrap();
    let (limits, budget) = (DecodeLimits::default(), Budget::unlimited());
    let depth = hotshoe_vision::decode_u16(&masked, true, &limits, &budget).unwrap();
    assert_eq!(depth.values().collect::<Vec<_>>(), [800, 0, 65_535, 257]);
}

#[test]
fn a_jpeg_file_is_upright_without_its_thumbnail_and_without_the_colour_under_the_mask() {
    const SECRET: [u8; 3] = [255, 0, 255];
    // Orientation 6: the left column of what is stored is the top row of what is shown.
    let stored = (0..32).flat_map(|_| (0..64).map(|x| if x < 24 { SECRET } else { [128; 3] }));
    let stored = Image::from_rgb(64, 32, stored.flatten().collect()).unwrap();
    let file = encode(&stored, Format::Jpeg, 95).unwrap();
    let thumbnail = encode(&bright(8, 8), Format::Jpeg, 95).unwrap();
    let file = with_exif(&file, &[exif(6, true), thumbnail.clone()].concat());
    let is_secret = |&[r, g, b]: &[u8; 3]| r > 150 && g < 100 && b > 150;
    assert!(pixels(&decode(&file)).iter().any(is_secret));
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|it| it == part);
    let end = &thumbnail[thumbnail.len() - 40..];
    assert!(holds(&file, end));

    let masks = [black([1.0, 1.0], [0.0, 0.0], [1.0, 0.5])];
    let masked = redact(&file, "image/jpeg", &masks).unwrap();
    assert!(!holds(&masked, end) && !holds(&masked, b"Exif"));
    let shown = decode(&masked);
    assert_eq!((shown.width(), shown.height()), (32, 64));
    let shown = pixels(&shown);
    assert!(!shown.iter().any(is_secret));
    let near = |pixel: &[u8; 3], value: u8| pixel.iter().all(|it| it.abs_diff(value) <= 8);
    assert!(shown[..32 * 32].iter().all(|pixel| near(pixel, 0)));
    // The mask grows by 8 or 17 pixels, and its edge is visible in the blocks before row 56.
    assert!(shown[32 * 56..].iter().all(|pixel| near(pixel, 128)));
}

#[test]
fn a_frame_keeps_every_value_outside_of_the_mask() {
    // A frame of 6 x 4 pixels with rows of 8 bytes: 4 rows of Y, 2 of U and V.
    let frame: Vec<u8> = (100..148).collect();
    let media_type = "video/x-raw; format=NV12; width=6; height=4; stride=8";
    // Pixel 3, 1 shares its chroma with 2, 0 and 3, 0 and 2, 1.
    let masks = [black([6.0, 4.0], [3.2, 1.2], [3.8, 1.8])];
    let mut expected = frame.clone();
    for at in [2, 3, 8 + 2, 8 + 3] {
        expected[at] = 16;
    }
    expected[4 * 8 + 2..4 * 8 + 4].fill(128);
    for row in 0..6 {
        expected[row * 8 + 6..row * 8 + 8].fill(0);
    }
    assert_eq!(redact(&frame, media_type, &masks).unwrap(), expected);

    // 3 pixels of 4 x 2 bytes: the second Y of the last pair is beyond the width.
    let frame: Vec<u8> = (100..108).collect();
    let media_type = "video/x-raw; format=YUY2; width=3; height=1";
    let masks = [black([3.0, 1.0], [0.2, 0.2], [0.8, 0.8])];
    let expected = [16, 128, 16, 128, 104, 105, 0, 107];
    assert_eq!(redact(&frame, media_type, &masks).unwrap(), expected);

    let media_type = "video/x-raw; format=RGB; width=2; height=1";
    let masks = [black([2.0, 1.0], [1.2, 0.2], [1.8, 0.8])];
    let masked = redact(&[1, 2, 3, 4, 5, 6], media_type, &masks).unwrap();
    assert_eq!(masked, [1, 2, 3, 0, 0, 0]);
    let media_type = "video/x-raw; format=GRAY8; width=2; height=1";
    assert_eq!(redact(&[7, 8], media_type, &masks).unwrap(), [7, 0]);
}

#[test]
fn a_blur_spreads_a_pixel_until_it_is_gone_and_black_is_over_it() {
    // One white pixel of 64 x 64: 255 over 17 is 15, and that over 17 is 1.
    let mut bytes = vec![0; 64 * 64 * 3];
    let at = (20 * 64 + 20) * 3;
    bytes[at..at + 3].fill(255);
    let image = Image::from_rgb(64, 64, bytes).unwrap();
    let file = encode(&image, Format::Png, 0).unwrap();
    let blurred = redact(&file, "image/png", &[mask(&WHOLE, Fill::Blur)]).unwrap();
    assert!(decode(&blurred).pixels().iter().all(|value| *value <= 1));
    // A frame of the same: Y of white is 235, of black 16.
    let mut frame = vec![16; 64 * 64];
    frame.extend([128; 64 * 32]);
    frame[20 * 64 + 20] = 235;
    let media_type = "video/x-raw; format=NV12; width=64; height=64";
    let blurred = redact(&frame, media_type, &[mask(&WHOLE, Fill::Blur)]).unwrap();
    let (luma, chroma) = blurred.split_at(64 * 64);
    assert!(luma.iter().all(|y| (16..=17).contains(y)));
    assert!(chroma.iter().all(|value| *value == 128));

    let file = encode(&bright(64, 64), Format::Png, 0).unwrap();
    let corner = black([64.0, 64.0], [0.0, 0.0], [10.5, 10.5]);
    for masks in [
        [corner.clone(), mask(&WHOLE, Fill::Blur)],
        [mask(&WHOLE, Fill::Blur), corner],
    ] {
        let both = pixels(&decode(&redact(&file, "image/png", &masks).unwrap()));
        assert_eq!(both[10 * 64 + 10], [0; 3]);
        assert!(
            both[30 * 64 + 30]
                .iter()
                .all(|value| (64..192).contains(value))
        );
    }
}

#[test]
fn what_cannot_be_decoded_is_refused() {
    let masks = [mask(&WHOLE, Fill::Black)];
    let kind =
        |bytes: &[u8], media_type: &str| redact(bytes, media_type, &masks).unwrap_err().kind();
    assert_eq!(kind(b"not a picture", "image/png"), ErrorKind::Unsupported);
    assert_eq!(kind(b"", "image/png"), ErrorKind::InvalidInput);
    let file = encode(&bright(8, 8), Format::Jpeg, 90).unwrap();
    assert_eq!(kind(&file[..file.len() / 2], ""), ErrorKind::InvalidInput);
    let media_type = "video/x-raw; format=RGB; width=2; height=2";
    assert_eq!(kind(&[0; 11], media_type), ErrorKind::InvalidInput);
    assert_eq!(
        kind(&[0; 12], "video/x-raw; format=I420; width=2; height=2"),
        ErrorKind::Unsupported
    );
    // Within its limits: of memory, and of pixels.
    let limits = DecodeLimits::default();
    let refused = hotshoe_vision::redact(&file, "", &masks, &limits, &Budget::new(1000, &|| false));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::LimitExceeded);
    let over = hotshoe_vision::redact(&file, "", &masks, &limits, &Budget::new(1 << 30, &|| true));
    assert_eq!(over.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
}
