#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Agreement with OpenCV. The constants are what Python's opencv-python 4.11.0 gives for the same synthetic picture:
//! `cv2.resize(picture(w, h), size, interpolation=...)`, and `cv2.warpPerspective(picture(12, 9),
//! cv2.getPerspectiveTransform(QUAD, [[0, 0], [6, 0], [6, 5], [0, 5]]), (6, 5), flags=..., borderMode=BORDER_REPLICATE)`.

mod common;

use hotshoe_vision::{Filter, Image};

use common::{resize, warp};

const QUAD: [[f32; 2]; 4] = [[2.5, 1.25], [9.75, 0.5], [10.5, 7.0], [1.0, 6.5]];

fn picture(width: u32, height: u32) -> Image {
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let bytes = pixels
        .flat_map(|(x, y)| [x * 37 + y * 11, x * x * 5 + y * 29, (x ^ y) * 23 + y])
        .map(|v| (v % 256) as u8);
    Image::from_rgb(width, height, bytes.collect()).unwrap()
}

#[track_caller]
fn assert_close(got: &Image, want: &[u8], tolerance: u8) {
    assert_eq!(got.pixels().len(), want.len());
    for (at, (&g, &w)) in got.pixels().iter().zip(want).enumerate() {
        assert!(
            g.abs_diff(w) <= tolerance,
            "byte {at}: {g}, but OpenCV has {w}"
        );
    }
}

#[test]
fn bilinear_is_inter_linear() {
    assert_close(
        &resize(&picture(12, 9), 5, 4, Filter::Bilinear).unwrap(),
        &LINEAR_DOWN,
        1,
    );
    assert_close(
        &resize(&picture(4, 3), 7, 5, Filter::Bilinear).unwrap(),
        &LINEAR_UP,
        1,
    );
}

#[test]
fn bicubic_is_inter_cubic() {
    assert_close(
        &resize(&picture(12, 9), 5, 4, Filter::Bicubic).unwrap(),
        &CUBIC_DOWN,
        1,
    );
    assert_close(
        &resize(&picture(4, 3), 7, 5, Filter::Bicubic).unwrap(),
        &CUBIC_UP,
        1,
    );
}

#[test]
fn area_is_inter_area_for_a_whole_ratio() {
    assert_close(
        &resize(&picture(12, 9), 4, 3, Filter::Area).unwrap(),
        &AREA_DOWN,
        1,
    );
}

#[test]
fn warp_is_warp_perspective() {
    assert_close(
        &warp(&picture(12, 9), QUAD, 6, 5, Filter::Bilinear).unwrap(),
        &WARP_LINEAR,
        1,
    );
    assert_close(
        &warp(&picture(12, 9), QUAD, 6, 5, Filter::Bicubic).unwrap(),
        &WARP_CUBIC,
        1,
    );
}

#[rustfmt::skip]
const LINEAR_DOWN: [u8; 60] = [
    33, 22, 11, 122, 66, 60, 210, 170, 127, 43, 84, 194, 132, 105, 243, 57, 87, 57, 146, 132, 21, 235, 124, 129,
    68, 140, 36, 157, 103, 202, 82, 152, 111, 171, 197, 129, 132, 45, 40, 93, 205, 51, 181, 158, 80, 107, 217, 173,
    196, 150, 63, 29, 110, 49, 117, 40, 61, 206, 157, 50,
];

#[rustfmt::skip]
const LINEAR_UP: [u8; 105] = [
    0, 0, 0, 13, 2, 8, 34, 4, 21, 55, 12, 34, 77, 22, 48, 98, 36, 61, 111, 45, 69, 4, 12, 10,
    17, 13, 11, 39, 16, 14, 60, 24, 35, 81, 33, 56, 102, 48, 58, 115, 57, 60, 11, 29, 24, 24, 31, 16,
    45, 34, 3, 67, 42, 36, 88, 51, 68, 109, 65, 55, 122, 74, 47, 17, 46, 38, 31, 48, 40, 52, 51, 43,
    73, 59, 36, 94, 68, 29, 115, 82, 32, 129, 91, 34, 22, 58, 48, 35, 60, 56, 56, 63, 69, 77, 70, 36,
    98, 80, 3, 120, 94, 17, 133, 103, 25,
];

#[rustfmt::skip]
const CUBIC_DOWN: [u8; 60] = [
    28, 17, 0, 122, 64, 61, 233, 181, 127, 39, 75, 193, 134, 92, 255, 54, 84, 56, 147, 131, 7, 255, 121, 136,
    64, 134, 15, 160, 80, 207, 79, 152, 102, 173, 201, 129, 134, 9, 40, 92, 221, 53, 185, 170, 89, 105, 219, 171,
    200, 152, 56, 0, 114, 49, 117, 7, 65, 211, 173, 51,
];

#[rustfmt::skip]
const CUBIC_UP: [u8; 105] = [
    0, 0, 0, 9, 0, 6, 32, 1, 23, 54, 8, 34, 77, 19, 46, 100, 35, 63, 114, 45, 74, 0, 9, 7,
    14, 10, 5, 37, 13, 7, 59, 20, 35, 81, 31, 63, 104, 47, 65, 118, 57, 62, 7, 29, 26, 21, 30, 12,
    44, 33, 0, 66, 40, 36, 89, 51, 72, 112, 66, 59, 126, 77, 45, 15, 48, 40, 29, 50, 42, 52, 53, 43,
    74, 59, 36, 96, 71, 30, 119, 86, 31, 133, 96, 32, 19, 60, 48, 33, 62, 65, 56, 65, 80, 79, 71, 37,
    101, 83, 0, 124, 98, 8, 138, 108, 26,
];

#[rustfmt::skip]
const AREA_DOWN: [u8; 36] = [
    48, 37, 32, 159, 112, 96, 99, 135, 159, 125, 134, 223, 81, 124, 99, 192, 171, 76, 75, 108, 59, 158, 136, 114,
    114, 211, 165, 168, 116, 62, 80, 138, 47, 191, 109, 54,
];

#[rustfmt::skip]
const WARP_LINEAR: [u8; 90] = [
    106, 69, 47, 143, 97, 84, 182, 138, 103, 224, 194, 146, 12, 68, 144, 60, 112, 197, 106, 87, 9, 145, 115, 61,
    187, 157, 148, 231, 216, 119, 29, 45, 123, 72, 143, 225, 107, 108, 30, 147, 134, 19, 191, 178, 157, 237, 117, 127,
    47, 69, 101, 85, 177, 136, 107, 133, 135, 150, 159, 160, 196, 200, 7, 133, 153, 37, 43, 96, 71, 100, 110, 38,
    108, 162, 127, 154, 187, 142, 201, 228, 47, 175, 39, 34, 55, 132, 46, 117, 133, 51,
];

#[rustfmt::skip]
const WARP_CUBIC: [u8; 90] = [
    107, 68, 44, 144, 96, 85, 182, 135, 100, 247, 213, 151, 11, 59, 145, 60, 112, 195, 108, 88, 0, 147, 115, 60,
    187, 154, 165, 255, 255, 116, 26, 30, 121, 73, 163, 255, 108, 108, 29, 148, 135, 12, 192, 188, 184, 255, 111, 135,
    44, 64, 104, 85, 208, 138, 106, 132, 139, 149, 158, 182, 199, 203, 0, 136, 154, 37, 38, 89, 76, 100, 111, 29,
    110, 162, 125, 153, 185, 157, 199, 255, 47, 191, 0, 31, 50, 129, 45, 117, 140, 49,
];
