#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! What each operation gives, and each of its errors.

mod common;

use common::{crc, crop, decode, encode, normalise, resize, rotate, warp};
use hotshoe_vision::{
    Channels, DecodeError, DecodeLimits, ErrorKind, Filter, Format, Image, Layout, MAX_PIXELS,
    Normalisation, Rotation, VisionError,
};

/// 2 x 3 pixels, all different.
fn small() -> Image {
    Image::from_rgb(2, 3, (0..18).collect()).unwrap()
}

fn reds(image: &Image) -> Vec<u8> {
    image.pixels().iter().copied().step_by(3).collect()
}

fn ramp(width: u32, height: u32) -> Image {
    let bytes = (0..width * height * 3).map(|i| (i % 251) as u8).collect();
    Image::from_rgb(width, height, bytes).unwrap()
}

/// A PNG file of a signature, a header and nothing else.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut png = encode(&small(), Format::Png, 0).unwrap();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    png
}

#[test]
fn a_png_survives_the_round_trip() {
    let image = ramp(17, 5);
    let file = encode(&image, Format::Png, 0).unwrap();
    assert_eq!(decode(&file, &DecodeLimits::default()).unwrap(), image);
}

#[test]
fn a_jpeg_comes_back_nearly_the_same() {
    let image = Image::from_rgb(16, 16, [200, 100, 50].repeat(256)).unwrap();
    let back = decode(
        &encode(&image, Format::Jpeg, 95).unwrap(),
        &DecodeLimits::default(),
    )
    .unwrap();
    assert!(
        back.pixels()
            .iter()
            .zip(image.pixels())
            .all(|(a, b)| a.abs_diff(*b) <= 4)
    );
    let error = encode(&image, Format::Jpeg, 0).unwrap_err();
    assert!(matches!(error, VisionError::Quality { quality: 0 }));
}

#[test]
fn a_huge_header_is_refused_by_its_numbers() {
    let error = decode(&png_header(30_000, 30_000), &DecodeLimits::default()).unwrap_err();
    assert!(matches!(
        error,
        DecodeError::TooLarge {
            width: 30_000,
            height: 30_000,
            limit: MAX_PIXELS
        }
    ));
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let text = error.to_string();
    assert!(
        text.contains("30000 x 30000") && text.contains(&MAX_PIXELS.to_string()),
        "{text}"
    );
}

#[test]
fn the_device_can_lower_the_limit() {
    let file = encode(&ramp(10, 10), Format::Png, 0).unwrap();
    assert!(decode(&file, &DecodeLimits { max_pixels: 100 }).is_ok());
    let error = decode(&file, &DecodeLimits { max_pixels: 99 }).unwrap_err();
    assert!(matches!(
        error,
        DecodeError::TooLarge {
            width: 10,
            height: 10,
            limit: 99
        }
    ));
}

#[test]
fn bad_files_have_names() {
    let limits = DecodeLimits::default();
    assert!(matches!(decode(&[], &limits), Err(DecodeError::Empty)));
    assert!(matches!(
        decode(b"hello there", &limits),
        Err(DecodeError::Unsupported { .. })
    ));
    let gif = decode(b"GIF89a\x01\x00\x01\x00", &limits).unwrap_err();
    assert!(gif.to_string().contains("Gif"), "{gif}");
    for format in [Format::Png, Format::Jpeg] {
        let file = encode(&ramp(64, 64), format, 90).unwrap();
        for cut in [file.len() / 2, file.len() * 9 / 10] {
            let error = decode(&file[..cut], &limits).unwrap_err();
            assert!(
                matches!(error, DecodeError::Damaged { .. }),
                "{format:?} cut at {cut}: {error}"
            );
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }
}

#[test]
fn an_image_has_exactly_its_bytes() {
    assert!(matches!(
        Image::from_rgb(0, 1, vec![]),
        Err(VisionError::NoPixels { .. })
    ));
    assert!(matches!(
        Image::from_rgb(2, 2, vec![0; 11]),
        Err(VisionError::WrongLength {
            want: 12,
            got: 11,
            ..
        })
    ));
    assert!(matches!(
        Image::from_rgb(u32::MAX, u32::MAX, vec![]),
        Err(VisionError::TooLarge { .. })
    ));
}

#[test]
fn turns_are_clockwise() {
    // 0  3
    // 6  9
    // 12 15
    assert_eq!(
        reds(&rotate(&small(), Rotation::Quarter).unwrap()),
        [12, 6, 0, 15, 9, 3]
    );
    assert_eq!(
        reds(&rotate(&small(), Rotation::Half).unwrap()),
        [15, 12, 9, 6, 3, 0]
    );
    assert_eq!(
        reds(&rotate(&small(), Rotation::ThreeQuarters).unwrap()),
        [3, 9, 15, 0, 6, 12]
    );
    assert_eq!(rotate(&small(), Rotation::Quarter).unwrap().width(), 3);
}

#[test]
fn a_crop_is_rounded_and_kept_inside() {
    assert_eq!(reds(&crop(&small(), 0.6, 0.4, 5.0, 1.7).unwrap()), [3, 9]);
    assert_eq!(crop(&small(), -9.0, -9.0, 100.0, 100.0).unwrap(), small());
    assert!(matches!(
        crop(&small(), 2.0, 0.0, 1.0, 1.0),
        Err(VisionError::Outside { .. })
    ));
    assert!(matches!(
        crop(&small(), 0.0, 0.0, -1.0, 1.0),
        Err(VisionError::NegativeSize { .. })
    ));
    assert!(matches!(
        crop(&small(), f32::NAN, 0.0, 1.0, 1.0),
        Err(VisionError::NotFinite { what: "x", .. })
    ));
    assert!(matches!(
        crop(&small(), 0.0, 0.0, 0.2, 1.0),
        Err(VisionError::Outside { .. })
    ));
}

#[test]
fn sizes_of_results_are_checked() {
    assert!(matches!(
        resize(&small(), 0, 5, Filter::Bilinear),
        Err(VisionError::NoPixels { .. })
    ));
    let error = resize(&small(), 100_000, 100_000, Filter::Area).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let quad = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
    assert!(matches!(
        warp(&small(), quad, 1, 0, Filter::Bicubic),
        Err(VisionError::NoPixels { .. })
    ));
}

#[test]
fn only_a_convex_outline_is_warped() {
    let line = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [0.0, 2.0]];
    let point = [[1.0, 1.0]; 4];
    let bow = [[0.0, 0.0], [2.0, 2.0], [2.0, 0.0], [0.0, 2.0]];
    let dent = [[0.0, 0.0], [4.0, 0.0], [1.0, 1.0], [0.0, 4.0]];
    for quad in [line, point, bow, dent] {
        assert!(
            matches!(
                warp(&small(), quad, 2, 2, Filter::Bilinear),
                Err(VisionError::Degenerate { .. })
            ),
            "{quad:?}"
        );
    }
    let nan = [[f32::NAN, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
    assert!(matches!(
        warp(&small(), nan, 2, 2, Filter::Bilinear),
        Err(VisionError::NotFinite { .. })
    ));
    let huge = [[-3e38, -3e38], [3e38, -3e38], [3e38, 3e38], [-3e38, 3e38]];
    assert_eq!(
        warp(&small(), huge, 2, 2, Filter::Bicubic).unwrap().width(),
        2
    );
    let square = [[0.0, 0.0], [2.0, 0.0], [2.0, 3.0], [0.0, 3.0]];
    assert!(matches!(
        warp(&small(), square, 2, 3, Filter::Area),
        Err(VisionError::AreaWarp)
    ));
}

fn how(layout: Layout, channels: Channels) -> Normalisation {
    Normalisation {
        layout,
        channels,
        scale: 0.5,
        mean: [1.0, 2.0, 3.0],
        std: [1.0, 2.0, 4.0],
    }
}

#[test]
fn normalising_follows_the_formula_and_pads_with_zero() {
    let pixel = Image::from_rgb(1, 1, vec![10, 20, 30]).unwrap();
    let rgb = [(5.0 - 1.0) / 1.0, (10.0 - 2.0) / 2.0, (15.0 - 3.0) / 4.0];
    let bgr = [(15.0 - 1.0) / 1.0, (10.0 - 2.0) / 2.0, (5.0 - 3.0) / 4.0];

    let (shape, elements) = normalise(&[&pixel], 2, 1, &how(Layout::Nchw, Channels::Rgb)).unwrap();
    assert_eq!(
        (shape.as_slice(), elements.as_slice()),
        (
            &[1, 3, 1, 2][..],
            &[rgb[0], 0.0, rgb[1], 0.0, rgb[2], 0.0][..]
        )
    );
    let (shape, elements) =
        normalise(&[&pixel, &pixel], 1, 2, &how(Layout::Nhwc, Channels::Bgr)).unwrap();
    let one = [bgr[0], bgr[1], bgr[2], 0.0, 0.0, 0.0];
    assert_eq!(
        (shape.as_slice(), elements),
        (&[2, 2, 1, 3][..], [one, one].concat())
    );
}

#[test]
fn normalising_checks_its_arguments() {
    let good = how(Layout::Nchw, Channels::Rgb);
    assert!(matches!(
        normalise(&[], 1, 1, &good),
        Err(VisionError::NoImages)
    ));
    assert!(matches!(
        normalise(&[&small()], 2, 2, &good),
        Err(VisionError::DoesNotFit { index: 0, .. })
    ));
    assert!(matches!(
        normalise(&[&small()], 0, 2, &good),
        Err(VisionError::NoPixels { .. })
    ));
    assert!(matches!(
        normalise(&[&small()], 50_000, 50_000, &good),
        Err(VisionError::TooLarge { .. })
    ));
    let zero = Normalisation {
        std: [1.0, 0.0, 1.0],
        ..good
    };
    assert!(matches!(
        normalise(&[&small()], 2, 3, &zero),
        Err(VisionError::ZeroDeviation { channel: 1 })
    ));
    let endless = Normalisation {
        scale: f32::INFINITY,
        ..good
    };
    assert!(matches!(
        normalise(&[&small()], 2, 3, &endless),
        Err(VisionError::NotFinite { .. })
    ));
}

#[test]
fn what_fuzzing_found_is_an_error_and_no_panic() {
    // Made by the fuzzer: a JPEG file on which zune-jpeg 0.5.15 panics.
    let bytes = include_bytes!("../../../tests/fuzz/seeds/image_decode/decoder-panics.jpg");
    let error = decode(bytes, &DecodeLimits::default()).unwrap_err();
    assert!(matches!(error, DecodeError::Damaged { .. }), "{error:?}");
}
