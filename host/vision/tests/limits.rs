#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Memory and time of every operation, on the smallest inputs that ask for much.

mod common;

use std::cell::Cell;

use common::{OPERATIONS, chunk, grey_png, noise, progressive_jpeg, raw_png, slope, with_chunks};
use hotshoe_vision::{
    Budget, BudgetError, DecodeError, DecodeLimits, ErrorKind, Filter, Format, Image, Region,
    VisionError, blur, decode, encode, resize, warp,
};
use proptest::prelude::*;

/// The default of a component's `tensor-mib`.
const DEFAULT: u64 = 256 << 20;

fn within(bytes: u64) -> Budget<'static> {
    Budget::new(bytes, &|| false)
}

/// The error of a deadline that passes at this look, and how often it was looked at.
fn stopped_at<E>(look: u32, run: impl FnOnce(&Budget<'_>) -> Result<(), E>) -> (Option<E>, u32) {
    let looks = Cell::new(0);
    let is_over = || {
        looks.set(looks.get() + 1);
        looks.get() >= look
    };
    let error = run(&Budget::new(u64::MAX, &is_over)).err();
    (error, looks.get())
}

#[test]
fn every_operation_on_pictures_is_in_the_list() {
    let source = include_str!("../src/lib.rs");
    let names = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub use "));
    let names: Vec<&str> = names
        .flat_map(|line| line.split(['{', '}', ',', ' ', ';', ':']))
        .filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))
        .collect();
    // Modules have the names of their operations, or these.
    let modules = [
        "budget",
        "cut",
        "error",
        "image",
        "image16",
        // Masks are an argument of `redact`, which has an error and tests of its own (`masks.rs`), as have small pictures.
        "mask",
        "motion",
        "projection",
        "raw",
        "redact",
    ];
    for name in names.iter().filter(|name| !modules.contains(name)) {
        let listed = OPERATIONS
            .iter()
            .any(|(listed, _)| listed.starts_with(name));
        assert!(listed || name.starts_with("decode"), "{name}");
    }
}

#[test]
fn no_operation_begins_after_its_deadline() {
    let image = slope(40, 30);
    for (name, operation) in OPERATIONS {
        let (error, looks) = stopped_at(1, |budget| operation(&image, budget));
        let kind = error.as_ref().map(VisionError::kind);
        assert_eq!(kind, Some(ErrorKind::DeadlineExceeded), "{name}");
        assert_eq!(looks, 1, "{name}");
    }
    let file = grey_png(40, 30, 1);
    let (error, _) = stopped_at(1, |budget| {
        decode(&file, &DecodeLimits::default(), budget).map(drop)
    });
    assert!(matches!(
        error,
        Some(DecodeError::Budget(BudgetError::Deadline))
    ));
}

#[test]
fn every_operation_looks_at_its_deadline_between_slices() {
    let image = slope(4096, 1024);
    // The smallest result is there in less than a slice.
    let slow = OPERATIONS
        .iter()
        .filter(|(name, _)| *name != "resize to a line");
    for (name, operation) in slow {
        let (error, looks) = stopped_at(2, |budget| operation(&image, budget));
        let kind = error.as_ref().map(VisionError::kind);
        assert_eq!(kind, Some(ErrorKind::DeadlineExceeded), "{name}");
        assert_eq!(looks, 2, "{name}");
    }
    for format in [Format::Png, Format::Jpeg] {
        let file = encode(&image, format, 80, &Budget::unlimited()).unwrap();
        for look in [2, 9] {
            let (error, looks) = stopped_at(look, |budget| {
                decode(&file, &DecodeLimits::default(), budget).map(drop)
            });
            let kind = error.as_ref().map(DecodeError::kind);
            assert_eq!(kind, Some(ErrorKind::DeadlineExceeded), "{format:?}");
            assert_eq!(looks, look, "{format:?}");
        }
    }
}

#[test]
fn memory_is_counted_to_the_byte() {
    for (width, height) in [
        (1, 1),
        (5000, 1),
        (1, 5000),
        (300, 200),
        (3, 20_000),
        (20_000, 3),
    ] {
        let images = [slope(width, height), noise(width, height)];
        for image in images.iter().take(if height == 200 { 2 } else { 1 }) {
            for (name, operation) in OPERATIONS {
                let budget = Budget::unlimited();
                operation(image, &budget).unwrap();
                let peak = budget.peak_bytes();
                let budget = within(peak);
                operation(image, &budget).unwrap();
                assert_eq!(budget.peak_bytes(), peak, "{name}");
                let refused = operation(image, &within(peak - 1));
                let kind = refused.as_ref().err().map(VisionError::kind);
                let size = (width, height);
                assert_eq!(kind, Some(ErrorKind::LimitExceeded), "{name} of {size:?}");
            }
        }
    }
}

#[test]
fn a_row_of_24_million_pixels_is_decoded_and_scaled_to_a_square_and_to_a_line() {
    let file = grey_png(24_000_000, 1, 77);
    assert!(file.len() < 32 << 10, "{}", file.len());
    let budget = within(DEFAULT);
    let row = decode(&file, &DecodeLimits::default(), &budget).unwrap();
    assert_eq!((row.width(), row.height()), (24_000_000, 1));
    drop(file);
    let left = DEFAULT - row.byte_len() as u64;
    for (width, height) in [(640, 640), (192, 48)] {
        for filter in [Filter::Nearest, Filter::Bilinear] {
            let scaled = resize(&row, width, height, filter, &within(left)).unwrap();
            assert!(scaled.pixels().iter().all(|&grey| grey == 77), "{filter:?}");
        }
    }
    // The budget does not allow a weight per pixel, nor the pixels in 16 bits with four more rows.
    for filter in [Filter::Area, Filter::Bicubic] {
        let error = resize(&row, 640, 640, filter, &within(left)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    }
    let once = resize(&row, 240_000, 1, Filter::Nearest, &within(left)).unwrap();
    let scaled = resize(&once, 640, 640, Filter::Area, &within(left)).unwrap();
    assert!(scaled.pixels().iter().all(|&grey| grey == 77));
}

#[test]
fn a_column_of_8_million_pixels_is_scaled_and_blurred() {
    let column = Image::from_rgb(1, 8_000_000, vec![9; 24_000_000]).unwrap();
    let left = (64 << 20) - column.byte_len() as u64;
    for filter in [Filter::Nearest, Filter::Bilinear] {
        let scaled = resize(&column, 640, 640, filter, &within(left)).unwrap();
        assert!(scaled.pixels().iter().all(|&grey| grey == 9), "{filter:?}");
    }
    let whole = Region {
        x: 0.0,
        y: 0.0,
        width: 1.0,
        height: 8e6,
    };
    // The result, and one copy.
    assert_eq!(
        blur(&column, &[whole], 0, &within(DEFAULT)).unwrap(),
        column
    );
    let budget = within(left);
    let error = blur(&column, &[whole], 0, &budget).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
}

#[test]
fn a_row_of_8_million_pixels_is_blurred() {
    let row = Image::from_rgb(8_000_000, 1, vec![9; 24_000_000]).unwrap();
    let whole = Region {
        x: 0.0,
        y: 0.0,
        width: 8e6,
        height: 1.0,
    };
    let budget = within(2 * row.byte_len() as u64 + (1 << 16));
    assert_eq!(blur(&row, &[whole], 0, &budget).unwrap(), row);
}

#[test]
fn a_table_of_weights_is_counted() {
    let dot = Image::from_rgb(1, 1, vec![1, 2, 3]).unwrap();
    // The result has 48 million bytes, and its weights many more.
    for (width, height) in [(16_000_000, 1), (1, 16_000_000)] {
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Area] {
            let error = resize(&dot, width, height, filter, &within(DEFAULT)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
        }
        let scaled = resize(&dot, width, height, Filter::Nearest, &within(DEFAULT)).unwrap();
        assert_eq!(scaled.pixels()[..6], [1, 2, 3, 1, 2, 3]);
    }
}

#[test]
fn a_warp_with_corners_at_the_ends_of_numbers_takes_the_memory_of_its_result() {
    let image = slope(64, 64);
    let huge = 3e38;
    let far = [[-huge, -huge], [huge, -huge], [huge, huge], [-huge, huge]];
    let thin = [[0.0, 0.0], [1e30, 0.0], [1e30, 1e30], [0.0, 1e29]];
    for quad in [far, thin] {
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
            let budget = within(300 * 200 * 3);
            warp(&image, quad, 300, 200, filter, &budget).unwrap();
        }
    }
}

#[test]
fn a_picture_too_long_for_jpeg_is_refused_by_name_and_png_takes_it() {
    for (width, height) in [(65_536, 1), (1, 65_536)] {
        let image = slope(width, height);
        let error = encode(&image, Format::Jpeg, 80, &within(DEFAULT)).unwrap_err();
        assert!(
            matches!(error, VisionError::JpegSide { limit: 65_535, .. }),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        let file = encode(&image, Format::Png, 0, &within(DEFAULT)).unwrap();
        assert_eq!(
            common::decode(&file, &DecodeLimits::default()).unwrap(),
            image
        );
    }
}

#[test]
fn noise_is_no_larger_in_a_png_file_than_as_pixels() {
    let image = noise(300, 200);
    let file = common::encode(&image, Format::Png, 0).unwrap();
    assert!(file.len() < image.byte_len() + 2048, "{}", file.len());
    assert_eq!(
        common::decode(&file, &DecodeLimits::default()).unwrap(),
        image
    );
}

#[test]
fn chunks_that_inflate_to_much_are_not_inflated() {
    // 16 MB of zeros, in the form that both chunks have.
    let bomb = grey_png(16_000, 1000, 0);
    let at = bomb.windows(4).position(|kind| kind == b"IDAT").unwrap();
    let length = u32::from_be_bytes(bomb[at - 4..at].try_into().unwrap()) as usize;
    let zeros = &bomb[at + 4..at + 4 + length];
    let small = common::encode(&slope(4, 4), Format::Png, 0).unwrap();
    for kind in [b"iCCP", b"zTXt"] {
        let data = [b"name\0\0", zeros].concat();
        let file = with_chunks(&small, &chunk(kind, &data).repeat(3));
        let decoded = decode(&file, &DecodeLimits::default(), &within(1 << 20));
        assert_eq!(decoded.unwrap(), slope(4, 4), "{kind:?}");
    }
    // What the decoder keeps in any case is counted.
    let file = with_chunks(&small, &chunk(b"eXIf", &[0; 1 << 20]));
    let error = decode(&file, &DecodeLimits::default(), &within(1 << 20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    let decoded = decode(&file, &DecodeLimits::default(), &within(8 << 20));
    assert_eq!(decoded.unwrap(), slope(4, 4));
}

#[test]
fn a_progressive_jpeg_of_many_scans_ends() {
    let few = progressive_jpeg(800, 600, 5);
    assert!(common::decode(&few, &DecodeLimits::default()).is_ok());
    let many = progressive_jpeg(8000, 3000, 5000);
    let error = common::decode(&progressive_jpeg(80, 60, 5000), &DecodeLimits::default());
    let error = error.unwrap_err();
    assert!(matches!(error, DecodeError::Damaged { .. }), "{error}");
    // Each scan goes over 24 million pixels, and the deadline comes first.
    let (error, _) = stopped_at(4, |budget| {
        decode(&many, &DecodeLimits::default(), budget).map(drop)
    });
    let kind = error.as_ref().map(DecodeError::kind);
    assert_eq!(kind, Some(ErrorKind::DeadlineExceeded));
    // All coefficients are held until the last scan.
    let error = decode(&many, &DecodeLimits::default(), &within(100 << 20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
}

/// Every kind of pixel of a PNG file, in both orders of rows, as another decoder reads it.
#[test]
fn every_kind_of_png_gives_the_pixels_that_it_gave() {
    let (width, height) = (19_u32, 13_u32);
    let passes = [
        (0, 8, 0, 8),
        (4, 8, 0, 8),
        (0, 4, 4, 8),
        (2, 4, 0, 4),
        (0, 2, 2, 4),
        (1, 2, 0, 2),
        (0, 1, 1, 2),
    ];
    let palette: Vec<u8> = (0..=255_u8)
        .flat_map(|at| [at, !at, at.wrapping_mul(7)])
        .collect();
    for (colour, samples) in [(0, 1), (2, 3), (3, 1), (4, 2), (6, 4)] {
        for depth in [1_u32, 2, 4, 8, 16] {
            let allowed = match colour {
                0 => true,
                3 => depth <= 8,
                _ => depth >= 8,
            };
            for interlaced in [false, true].into_iter().filter(|_| allowed) {
                let sizes: Vec<(u32, u32)> = if interlaced {
                    let count = |size: u32, start: u32, step: u32| {
                        size.saturating_sub(start).div_ceil(step)
                    };
                    let pass = |&(x, across, y, down): &(u32, u32, u32, u32)| {
                        (count(width, x, across), count(height, y, down))
                    };
                    passes.iter().map(pass).filter(|size| size.0 > 0).collect()
                } else {
                    vec![(width, height)]
                };
                let mut rows = Vec::new();
                for (across, down) in sizes {
                    for _ in 0..down {
                        let bytes = (across * samples * depth).div_ceil(8) as usize;
                        let from = rows.len();
                        let pixels = (from..from + bytes).map(|at| (at * 89 % 251) as u8);
                        rows.extend([0].into_iter().chain(pixels)); // not filtered
                    }
                }
                let mut header = [0; 13];
                header[..4].copy_from_slice(&width.to_be_bytes());
                header[4..8].copy_from_slice(&height.to_be_bytes());
                header[8..].copy_from_slice(&[depth as u8, colour, 0, 0, interlaced.into()]);
                let chunks = if colour == 3 {
                    chunk(b"PLTE", &palette[..3 << depth])
                } else {
                    Vec::new()
                };
                let file = raw_png(&header, &rows, &chunks);
                let expected = image::load_from_memory(&file).unwrap().into_rgb8();
                let decoded = common::decode(&file, &DecodeLimits::default()).unwrap();
                assert_eq!(
                    decoded.pixels(),
                    expected.as_raw(),
                    "colour {colour}, depth {depth}, interlaced {interlaced}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn chains_of_operations_stay_within_their_budgets(
        size in (0..17_u32, 0..17_u32),
        chain in prop::collection::vec((0..6_usize, 0..5000_u32, 0..5000_u32, 8..22_u32), 1..5),
    ) {
        let side = |bits: u32, other: u32| 1 << bits.min(17 - other.min(17)).min(16);
        let mut image = slope(side(size.0, 0), side(size.1, size.0));
        for (number, x, y, bits) in chain {
            let budget = within(1 << bits);
            let (w, h) = (image.width() as f32, image.height() as f32);
            let whole = Region { x: 0.0, y: 0.0, width: w, height: h };
            let filter = [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Area][x as usize % 4];
            let made = match number {
                0 => resize(&image, x, y, filter, &budget),
                1 => hotshoe_vision::crop(&image, 0.0, 0.0, x as f32, y as f32, &budget),
                2 => hotshoe_vision::rotate(&image, hotshoe_vision::Rotation::Quarter, &budget),
                3 => warp(&image, [[0.0, 0.0], [w, 0.0], [w, h], [0.0, h]], x, y, filter, &budget),
                4 => blur(&image, &[whole], x, &budget),
                _ => encode(&image, Format::Png, 0, &budget).map(|file| {
                    decode(&file, &DecodeLimits::default(), &budget).unwrap_or_else(|_| image.clone())
                }),
            };
            prop_assert!(budget.peak_bytes() <= 1 << bits);
            if let Ok(made) = made {
                image = made;
            }
        }
    }
}
