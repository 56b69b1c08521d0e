#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! What holds for any picture and any bytes.

mod common;

use common::{decode, encode, resize, rotate, warp};
use hotshoe_vision::{DecodeLimits, Filter, Format, Image, Rotation};
use proptest::prelude::*;

const LIMITS: DecodeLimits = DecodeLimits {
    max_pixels: 1 << 16,
};

fn filter() -> impl Strategy<Value = Filter> {
    prop::sample::select(vec![
        Filter::Nearest,
        Filter::Bilinear,
        Filter::Bicubic,
        Filter::Area,
    ])
}

fn picture() -> impl Strategy<Value = Image> {
    (1..24_u32, 1..24_u32).prop_flat_map(|(width, height)| {
        let bytes = prop::collection::vec(any::<u8>(), (width * height * 3) as usize);
        bytes.prop_map(move |pixels| Image::from_rgb(width, height, pixels).unwrap())
    })
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..512), png: bool) {
        let _ = decode(&bytes, &LIMITS);
        let start: &[u8] = if png { b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" } else { &[0xFF, 0xD8, 0xFF, 0xE0] };
        let _ = decode(&[start, &bytes].concat(), &LIMITS);
    }

    #[test]
    fn a_cut_and_changed_file_decodes_or_fails(image in picture(), jpeg: bool, cut: prop::sample::Index, at: prop::sample::Index, value: u8) {
        let format = if jpeg { Format::Jpeg } else { Format::Png };
        let mut file = encode(&image, format, 80).unwrap();
        // A PNG whose end chunk alone is lost still has all of its pixels.
        if let Ok(decoded) = decode(&file[..cut.index(file.len())], &LIMITS) {
            prop_assert!(!jpeg);
            prop_assert_eq!(decoded, image);
        }
        let at = at.index(file.len());
        file[at] = value;
        let _ = decode(&file, &LIMITS);
    }

    #[test]
    fn one_colour_stays_one_colour(colour: [u8; 3], from in (1..40_u32, 1..40_u32), to in (1..40_u32, 1..40_u32), filter in filter()) {
        let image = Image::from_rgb(from.0, from.1, colour.repeat((from.0 * from.1) as usize)).unwrap();
        let scaled = resize(&image, to.0, to.1, filter).unwrap();
        prop_assert_eq!((scaled.width(), scaled.height()), to);
        for pixel in scaled.pixels().chunks_exact(3) {
            for (a, b) in pixel.iter().zip(colour) {
                prop_assert!(a.abs_diff(b) <= 1, "{:?} became {:?}", colour, pixel);
            }
        }
    }

    #[test]
    fn the_outline_of_the_picture_warps_to_itself(image in picture(), filter in filter()) {
        prop_assume!(filter != Filter::Area);
        let (w, h) = (image.width() as f32, image.height() as f32);
        let whole = [[0.0, 0.0], [w, 0.0], [w, h], [0.0, h]];
        prop_assert_eq!(warp(&image, whole, image.width(), image.height(), filter).unwrap(), image);
    }

    #[test]
    fn a_warp_of_any_outline_ends(image in picture(), quad: [[f32; 2]; 4], filter in filter()) {
        let _ = warp(&image, quad, 8, 8, filter);
    }

    #[test]
    fn four_quarters_are_a_whole_turn(image in picture()) {
        let once = rotate(&image, Rotation::Quarter).unwrap();
        let twice = rotate(&once, Rotation::Quarter).unwrap();
        prop_assert_eq!(&twice, &rotate(&image, Rotation::Half).unwrap());
        let thrice = rotate(&twice, Rotation::Quarter).unwrap();
        prop_assert_eq!(&thrice, &rotate(&image, Rotation::ThreeQuarters).unwrap());
        prop_assert_eq!(rotate(&thrice, Rotation::Quarter).unwrap(), image);
    }
}
