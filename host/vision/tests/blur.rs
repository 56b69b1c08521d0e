#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests"
)]
//! What blurring gives, what it leaves alone, and each of its errors.

mod common;

use common::blur;
use hotshoe_vision::{ErrorKind, Image, MAX_REGIONS, Region};
use proptest::prelude::*;

fn picture(width: u32, height: u32, pixel: impl Fn(u32, u32) -> u8) -> Image {
    let at = |index: u32| pixel(index % width, index / width);
    let bytes = (0..width * height).flat_map(|index| [at(index); 3]);
    Image::from_rgb(width, height, bytes.collect()).unwrap()
}

fn region(x: f32, y: f32, width: f32, height: f32) -> Region {
    Region {
        x,
        y,
        width,
        height,
    }
}

fn greys(image: &Image) -> Vec<u8> {
    image.pixels().iter().copied().step_by(3).collect()
}

/// One box blur of a line after another, as the definition says it, for the result to be compared with.
fn plainly(line: &[u8], radius: usize, passes: usize) -> Vec<u8> {
    let mut line = line.to_vec();
    for _ in 0..passes {
        let at = |index: isize| u32::from(line[index.clamp(0, line.len() as isize - 1) as usize]);
        let window = 2 * radius as u32 + 1;
        let reach = radius as isize;
        line = (0..line.len() as isize)
            .map(|middle| (middle - reach..=middle + reach).map(at).sum::<u32>())
            .map(|sum| ((sum + window / 2) / window) as u8)
            .collect();
    }
    line
}

#[test]
fn a_line_is_blurred_as_the_definition_says() {
    let line: Vec<u8> = (0..40_u8).map(|at| at.wrapping_mul(97)).collect();
    for radius in [1, 2, 7, 40] {
        let expected = plainly(&line, radius, 3);
        let across = picture(40, 40, |x, _| line[x as usize]);
        let blurred = blur(&across, &[region(0.0, 0.0, 40.0, 40.0)], radius as u32).unwrap();
        for row in greys(&blurred).chunks(40) {
            assert_eq!(row, expected, "{radius}");
        }
        let down = picture(40, 40, |_, y| line[y as usize]);
        let blurred = blur(&down, &[region(0.0, 0.0, 40.0, 40.0)], radius as u32).unwrap();
        let column: Vec<u8> = greys(&blurred).into_iter().step_by(40).collect();
        assert_eq!(column, expected, "{radius}");
    }
}

#[test]
fn no_radius_is_a_quarter_of_the_shorter_side() {
    let image = picture(64, 64, |x, y| ((x * 31 + y * 17) % 256) as u8);
    let at = |width, radius| blur(&image, &[region(3.0, 5.0, width, 40.0)], radius).unwrap();
    assert_eq!(at(24.0, 0), at(24.0, 6));
    assert_ne!(at(24.0, 0), at(24.0, 5));
    assert_eq!(at(2.0, 0), at(2.0, 1));
    assert_eq!(at(24.0, u32::MAX), at(24.0, 24));
}

#[test]
fn what_was_in_a_region_is_gone() {
    let board = picture(
        96,
        96,
        |x, y| if (x / 8 + y / 8) % 2 == 0 { 0 } else { 255 },
    );
    let whole = greys(&blur(&board, &[region(0.0, 0.0, 96.0, 96.0)], 0).unwrap());
    let (least, most) = (whole.iter().min().unwrap(), whole.iter().max().unwrap());
    assert!(most - least < 48, "{least} to {most}");
}

#[test]
fn a_region_touches_every_pixel_that_it_has_a_part_of() {
    let image = picture(9, 9, |x, y| if (x + y) % 2 == 0 { 0 } else { 255 });
    let blurred = blur(&image, &[region(2.5, 3.5, 2.0, 1.1)], 0).unwrap();
    let (old, new) = (greys(&image), greys(&blurred));
    let changed: Vec<usize> = (0..81).filter(|at| old[*at] != new[*at]).collect();
    assert_eq!(changed, [29, 30, 31, 38, 39, 40]);
}

#[test]
fn nothing_to_blur_changes_nothing() {
    let image = picture(5, 4, |x, y| (x * 50 + y) as u8);
    let beside = [
        region(5.0, 0.0, 3.0, 3.0),
        region(-3.0, 0.0, 3.0, 3.0),
        region(0.0, -9.0, 3.0, 3.0),
        region(1e30, 1e30, 1e30, 1e30),
        region(1.5, 1.5, 0.0, 2.0),
    ];
    assert_eq!(blur(&image, &beside, 0).unwrap(), image);
    assert_eq!(blur(&image, &[], 9).unwrap(), image);
}

#[test]
fn what_is_no_region_is_refused() {
    let image = picture(4, 4, |_, _| 0);
    let kind = |region| blur(&image, &[region], 0).unwrap_err().kind();
    for bad in [
        region(f32::NAN, 0.0, 1.0, 1.0),
        region(0.0, f32::NEG_INFINITY, 1.0, 1.0),
        region(0.0, 0.0, f32::INFINITY, 1.0),
        region(0.0, 0.0, 1.0, f32::NAN),
        region(0.0, 0.0, -1.0, 1.0),
    ] {
        assert_eq!(kind(bad), ErrorKind::InvalidInput, "{bad:?}");
    }
    let all = vec![region(9.0, 9.0, 1.0, 1.0); MAX_REGIONS + 1];
    assert_eq!(blur(&image, &all[1..], 0).unwrap(), image);
    let error = blur(&image, &all, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.to_string().contains("1025 regions"), "{error}");
    // Few enough, but with more work in them than one call may do.
    let large = picture(1024, 256, |_, _| 0);
    let all = vec![region(0.0, 0.0, 1024.0, 256.0); 257];
    let error = blur(&large, &all, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

fn any_picture() -> impl Strategy<Value = Image> {
    (1..40_u32, 1..40_u32).prop_flat_map(|(width, height)| {
        let bytes = prop::collection::vec(any::<u8>(), (width * height * 3) as usize);
        bytes.prop_map(move |pixels| Image::from_rgb(width, height, pixels).unwrap())
    })
}

fn near() -> impl Strategy<Value = Region> {
    (
        -20.0..50.0_f32,
        -20.0..50.0_f32,
        0.0..50.0_f32,
        0.0..50.0_f32,
    )
        .prop_map(|(x, y, width, height)| region(x, y, width, height))
}

proptest! {
    #[test]
    fn outside_the_regions_nothing_changes(image in any_picture(), regions in prop::collection::vec(near(), 0..5), radius in 0..60_u32) {
        let blurred = blur(&image, &regions, radius).unwrap();
        prop_assert_eq!((blurred.width(), blurred.height()), (image.width(), image.height()));
        let inside = |at: usize| {
            let (x, y) = ((at % image.width() as usize) as f32, (at / image.width() as usize) as f32);
            regions.iter().any(|r| x + 1.0 > r.x && x < r.x + r.width && y + 1.0 > r.y && y < r.y + r.height)
        };
        for (at, (new, old)) in blurred.pixels().chunks(3).zip(image.pixels().chunks(3)).enumerate() {
            prop_assert!(new == old || inside(at), "{at}: {old:?} became {new:?}");
        }
    }

    #[test]
    fn no_channel_leaves_the_range_it_had(image in any_picture(), radius: u32) {
        let whole = region(0.0, 0.0, image.width() as f32, image.height() as f32);
        let blurred = blur(&image, &[whole], radius).unwrap();
        for channel in 0..3 {
            let of = |image: &Image| image.pixels().iter().copied().skip(channel).step_by(3).collect::<Vec<_>>();
            let (old, new) = (of(&image), of(&blurred));
            prop_assert!(new.iter().min() >= old.iter().min() && new.iter().max() <= old.iter().max());
        }
    }

    #[test]
    fn any_numbers_blur_or_fail(image in any_picture(), numbers in prop::collection::vec(any::<[f32; 4]>(), 0..4), radius: u32) {
        let regions: Vec<_> = numbers.iter().map(|[x, y, w, h]| region(*x, *y, *w, *h)).collect();
        let _ = blur(&image, &regions, radius);
    }
}
