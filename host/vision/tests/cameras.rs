#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! What cameras and phones send: turned, with more bytes behind, without tables, transparent, 16 bits, without a header.

mod common;

use common::{bmp, chunk, decode, encode, exif, noise, png16, raw_png, with_chunks, with_exif};
use hotshoe_vision::{
    Budget, DecodeError, DecodeLimits, DecodeOptions, ErrorKind, Filter, Format, Image, Image16,
    RawFrame, RawFrameError, grey, letterbox,
};
use image::ExtendedColorType;

const LIMITS: DecodeLimits = DecodeLimits {
    max_pixels: hotshoe_vision::MAX_PIXELS,
};
/// As the interface 0.1.0 decodes: stored rows, and alpha dropped.
const PLAIN: DecodeOptions = DecodeOptions {
    apply_orientation: false,
    background: None,
};

fn decode_with(file: &[u8], options: &DecodeOptions) -> Result<Image, DecodeError> {
    hotshoe_vision::decode_with(file, options, &LIMITS, &Budget::unlimited())
}

fn decode_u16(file: &[u8]) -> Result<Image16, DecodeError> {
    hotshoe_vision::decode_u16(file, true, &LIMITS, &Budget::unlimited())
}

fn decode_raw(media_type: &str, bytes: &[u8]) -> Result<Image, DecodeError> {
    let frame = RawFrame::from_media_type(media_type)?.unwrap();
    hotshoe_vision::decode_raw(bytes, &frame, &LIMITS, &Budget::unlimited())
}

fn reds(image: &Image) -> Vec<u8> {
    image.pixels().iter().copied().step_by(3).collect()
}

/// 2 x 3 pixels: 0 3, 6 9, 12 15.
fn small() -> Image {
    Image::from_rgb(2, 3, (0..18).collect()).unwrap()
}

/// How the small picture is shown by each orientation, and its width: EXIF 2.32, tag 0x0112.
const SHOWN: [(u8, u32, [u8; 6]); 8] = [
    (1, 2, [0, 3, 6, 9, 12, 15]),
    (2, 2, [3, 0, 9, 6, 15, 12]),
    (3, 2, [15, 12, 9, 6, 3, 0]),
    (4, 2, [12, 15, 6, 9, 0, 3]),
    (5, 3, [0, 6, 12, 3, 9, 15]),
    (6, 3, [12, 6, 0, 15, 9, 3]),
    (7, 3, [15, 9, 3, 12, 6, 0]),
    (8, 3, [3, 9, 15, 0, 6, 12]),
];

#[test]
fn a_png_is_shown_by_each_of_the_eight_orientations() {
    let file = encode(&small(), Format::Png, 0).unwrap();
    for (orientation, width, shown) in SHOWN {
        for big_endian in [false, true] {
            let exif = chunk(b"eXIf", &exif(orientation, big_endian));
            let before = with_chunks(&file, &exif);
            let end = file.len() - 12;
            let after = [&file[..end], &exif, &file[end..]].concat();
            for file in [before, after] {
                let image = decode_with(&file, &DecodeOptions::default()).unwrap();
                assert_eq!((image.width(), reds(&image)), (width, shown.to_vec()));
                assert_eq!(decode(&file, &LIMITS).unwrap(), small());
                assert_eq!(decode_with(&file, &PLAIN).unwrap(), small());
            }
        }
    }
}

#[test]
fn a_jpeg_is_shown_by_each_of_the_eight_orientations() {
    // Each pixel of the small picture is a block, so that its centre is nearly exact.
    let (across, down) = (2 * 16, 3 * 16);
    let block = |at: usize| (at % across / 16) + (at / across / 16) * 2;
    let pixels = (0..across * down).flat_map(|at| [block(at) as u8 * 40; 3]);
    let picture = Image::from_rgb(across as u32, down as u32, pixels.collect()).unwrap();
    let file = encode(&picture, Format::Jpeg, 95).unwrap();
    let stored = decode(&file, &LIMITS).unwrap();
    for (orientation, width, shown) in SHOWN {
        for big_endian in [false, true] {
            let file = with_exif(&file, &exif(orientation, big_endian));
            let image = decode_with(&file, &DecodeOptions::default()).unwrap();
            assert_eq!(image.width(), width * 16);
            for (at, red) in shown.iter().enumerate() {
                let (x, y) = (at as u32 % width * 16 + 8, at as u32 / width * 16 + 8);
                let found = image.pixels()[((y * image.width() + x) * 3) as usize];
                assert!(found.abs_diff(red / 3 * 40) <= 4, "{orientation}: {found}");
            }
            assert_eq!(decode(&file, &LIMITS).unwrap(), stored);
        }
    }
}

#[test]
fn an_orientation_that_is_not_one_changes_nothing() {
    let file = encode(&small(), Format::Png, 0).unwrap();
    for data in [
        exif(0, true),
        exif(9, false),
        exif(6, false)[..12].to_vec(),
        vec![],
    ] {
        let file = with_chunks(&file, &chunk(b"eXIf", &data));
        let image = decode_with(&file, &DecodeOptions::default()).unwrap();
        assert_eq!(image, small());
    }
}

/// Bytes that are the same at every run, with markers among them.
fn random(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let byte = (state >> 24) as u8;
        if byte < 16 { 0xFF } else { byte }
    };
    std::iter::repeat_with(byte).take(len).collect()
}

#[test]
fn a_jpeg_is_read_to_its_end_marker_whatever_is_behind() {
    let file = encode(&noise(40, 24), Format::Jpeg, 80).unwrap();
    let thumbnail = encode(&noise(8, 8), Format::Jpeg, 80).unwrap();
    let file = with_exif(&file, &[exif(1, true), thumbnail].concat());
    let picture = decode(&file, &LIMITS).unwrap();
    let mut tails: Vec<Vec<u8>> = (0..40).map(|seed| random(seed, 500)).collect();
    tails.push(file[..file.len() / 2].to_vec());
    tails.push(file.clone());
    tails.push([&[0xFF, 0xDA], &[0; 30][..]].concat());
    tails.push([&[0, 0, 0, 24], &b"ftypmp42"[..], &random(99, 5000)].concat());
    tails.push(vec![0; 512]);
    for (number, tail) in tails.iter().enumerate() {
        let file = [&file[..], tail].concat();
        assert_eq!(decode(&file, &LIMITS).unwrap(), picture, "tail {number}");
    }
}

#[test]
fn a_jpeg_that_is_cut_off_anywhere_is_an_error() {
    let file = encode(&noise(40, 24), Format::Jpeg, 80).unwrap();
    let progressive = common::progressive_jpeg(64, 48, 5);
    for file in [with_exif(&file, &exif(1, true)), progressive] {
        decode(&file, &LIMITS).unwrap();
        for cut in 4..file.len() {
            let error = decode(&file[..cut], &LIMITS).unwrap_err();
            assert!(
                matches!(error, DecodeError::Damaged { .. }),
                "{cut}: {error}"
            );
        }
        // The next frame does not complete it.
        let next = [&file[..file.len() - 20], &file[..]].concat();
        decode(&next, &LIMITS).unwrap_err();
    }
}

#[test]
fn a_motion_jpeg_frame_without_huffman_tables_has_those_of_the_standard() {
    // The encoder writes the tables of the standard.
    let file = encode(&noise(40, 24), Format::Jpeg, 80).unwrap();
    let picture = decode(&file, &LIMITS).unwrap();
    let frame = common::without_segments(&file, 0xC4);
    assert!(frame.len() + 400 < file.len());
    assert_eq!(decode(&frame, &LIMITS).unwrap(), picture);
    let with_tail = [&frame[..], &random(5, 300)].concat();
    assert_eq!(decode(&with_tail, &LIMITS).unwrap(), picture);
    decode(&frame[..frame.len() - 2], &LIMITS).unwrap_err();
}

#[test]
fn black_on_transparent_is_black_on_white() {
    // A black pixel, a transparent black one, and one that is half of each; 200 is grey on white.
    let header = [0, 0, 0, 3, 0, 0, 0, 1, 8, 6, 0, 0, 0];
    let row = [0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 55];
    let rgba = raw_png(&header, &row, &[]);
    assert_eq!(reds(&decode(&rgba, &LIMITS).unwrap()), [0, 0, 0]);
    let white = decode_with(&rgba, &DecodeOptions::default()).unwrap();
    assert_eq!(reds(&white), [0, 255, 200]);
    let red = DecodeOptions {
        background: Some([255, 0, 0]),
        ..DecodeOptions::default()
    };
    let red = decode_with(&rgba, &red).unwrap();
    assert_eq!(red.pixels(), [0, 0, 0, 255, 0, 0, 200, 0, 0]);
}

#[test]
fn every_kind_of_alpha_is_over_the_background() {
    let header = |bits: u8, kind: u8| [0, 0, 0, 2, 0, 0, 0, 1, bits, kind, 0, 0, 0];
    let palette = [
        chunk(b"PLTE", &[0, 0, 0, 9, 9, 9]),
        chunk(b"tRNS", &[255, 0]),
    ]
    .concat();
    let rgba16 = [0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0];
    let interlaced = [0, 0, 0, 2, 0, 0, 0, 1, 8, 4, 0, 0, 1];
    let files = [
        ("grey", raw_png(&header(8, 4), &[0, 0, 255, 0, 0], &[])),
        ("palette", raw_png(&header(8, 3), &[0, 0, 1], &palette)),
        (
            "one transparent grey",
            raw_png(&header(8, 0), &[0, 0, 7], &chunk(b"tRNS", &[0, 7])),
        ),
        ("16 bits", raw_png(&header(16, 6), &rgba16, &[])),
        (
            "interlaced",
            raw_png(&interlaced, &[0, 0, 255, 0, 0, 0], &[]),
        ),
        (
            "bmp",
            bmp(2, 1, ExtendedColorType::Rgba8, &[0, 0, 0, 255, 9, 9, 9, 0]),
        ),
    ];
    for (name, file) in files {
        let image = decode_with(&file, &DecodeOptions::default()).unwrap();
        assert_eq!(image.pixels(), [0, 0, 0, 255, 255, 255], "{name}");
    }
}

#[test]
fn depth_in_millimetres_is_kept() {
    let depth = [800, 1500, 0, 65_535, 257, 1];
    let file = png16(3, 2, png::ColorType::Grayscale, &depth);
    let image = decode_u16(&file).unwrap();
    assert_eq!((image.width(), image.height(), image.channels()), (3, 2, 1));
    assert_eq!(image.values().collect::<Vec<_>>(), depth);
    // 8 bits are the value over 257, rounded.
    let eight = [3, 6, 0, 255, 1, 0];
    assert_eq!(reds(&decode(&file, &LIMITS).unwrap()), eight);
    assert_eq!(
        reds(&decode_with(&file, &DecodeOptions::default()).unwrap()),
        eight
    );

    let turned = with_chunks(&file, &chunk(b"eXIf", &exif(6, true)));
    let image = decode_u16(&turned).unwrap();
    assert_eq!((image.width(), image.height()), (2, 3));
    assert_eq!(
        image.values().collect::<Vec<_>>(),
        [65_535, 800, 257, 1500, 1, 0]
    );
}

#[test]
fn sixteen_bits_of_colour_are_kept_without_alpha() {
    let file = png16(1, 1, png::ColorType::Rgba, &[1, 2000, 40_000, 7]);
    let image = decode_u16(&file).unwrap();
    assert_eq!(image.channels(), 3);
    assert_eq!(image.values().collect::<Vec<_>>(), [1, 2000, 40_000]);
    let file = png16(2, 1, png::ColorType::GrayscaleAlpha, &[1, 2, 3000, 4]);
    assert_eq!(
        decode_u16(&file).unwrap().values().collect::<Vec<_>>(),
        [1, 3000]
    );

    let eight = encode(&small(), Format::Png, 0).unwrap();
    let jpeg = encode(&small(), Format::Jpeg, 90).unwrap();
    for file in [eight, jpeg] {
        let error = decode_u16(&file).unwrap_err();
        assert!(matches!(error, DecodeError::NotWide), "{error}");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn a_bmp_is_decoded_by_options_alone() {
    let file = bmp(2, 3, ExtendedColorType::Rgb8, small().pixels());
    assert_eq!(decode_with(&file, &PLAIN).unwrap(), small());
    let error = decode(&file, &LIMITS).unwrap_err();
    assert!(matches!(error, DecodeError::Unsupported { .. }), "{error}");
    for cut in 2..file.len() {
        decode_with(&file[..cut], &PLAIN).unwrap_err();
    }
    // 30,000 pixels a side, in a header of 54 bytes.
    let mut huge = file;
    huge[18..22].copy_from_slice(&30_000_u32.to_le_bytes());
    huge[22..26].copy_from_slice(&30_000_u32.to_le_bytes());
    let error = decode_with(&huge, &PLAIN).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
}

// Red, green, blue and the greys in Y, U and V, by the equations of ITU-R BT.601-7 with limited range.
const COLOURS: [([u8; 3], [u8; 3]); 6] = [
    ([81, 90, 240], [254, 0, 0]),
    ([145, 54, 34], [0, 255, 1]),
    ([41, 240, 110], [0, 0, 255]),
    ([16, 128, 128], [0, 0, 0]),
    ([126, 128, 128], [128, 128, 128]),
    ([235, 128, 128], [255, 255, 255]),
];

#[test]
fn nv12_and_yuy2_become_rgb() {
    for ([y, u, v], rgb) in COLOURS {
        let all = rgb.repeat(4);
        let nv12 = decode_raw(
            "video/x-raw; format=NV12; width=2; height=2",
            &[y, y, y, y, u, v],
        );
        assert_eq!(nv12.unwrap().pixels(), all);
        let yuy2 = [y, u, y, v].repeat(2);
        let yuy2 = decode_raw("video/x-raw;format=YUY2;width=2;height=2", &yuy2);
        assert_eq!(yuy2.unwrap().pixels(), all);
    }
}

#[test]
fn raw_rows_are_found_by_their_stride_and_odd_sides_are_whole() {
    // 3 x 3, 5 bytes a row: the padding is 99.
    let grey = [1, 2, 3, 99, 99, 4, 5, 6, 99, 99, 7, 8, 9, 99, 99];
    let kind = "video/x-raw; width=3; height=3; stride=5; framerate=30/1; format=GRAY8";
    for bytes in [&grey[..], &grey[..13]] {
        assert_eq!(
            reds(&decode_raw(kind, bytes).unwrap()),
            [1, 2, 3, 4, 5, 6, 7, 8, 9]
        );
    }
    let rgb = [1, 2, 3, 4, 5, 6];
    let image = decode_raw("video/x-raw; format=RGB; width=1; height=2", &rgb).unwrap();
    assert_eq!(image.pixels(), rgb);
    // Grey values of Y, and U and V of 3 x 3 pixels: 2 pairs in each of 2 rows.
    let (row, pad) = ([16, 126, 235], [99; 2]);
    let neutral = [128, 128, 128, 128, 99];
    let nv12 = [&row[..], &pad, &row, &pad, &row, &pad, &neutral, &neutral].concat();
    let kind = "video/x-raw; format=NV12; width=3; height=3; stride=5";
    let image = decode_raw(kind, &nv12).unwrap();
    assert_eq!(reds(&image), [0, 128, 255].repeat(3));
    let yuyv = [16, 128, 126, 128, 235, 128, 0, 128];
    let image = decode_raw("VIDEO/X-RAW; FORMAT=YUYV; Width=\"3\"; height=1", &yuyv).unwrap();
    assert_eq!(reds(&image), [0, 128, 255]);
}

#[test]
fn a_bad_raw_frame_is_refused_by_the_name_of_its_parameter() {
    let cases: [(&str, usize, &str); 12] = [
        ("video/x-raw; width=2; height=2", 6, "`format`"),
        ("video/x-raw; format=NV12; height=2", 6, "`width`"),
        ("video/x-raw; format=NV12; width=2", 6, "`height`"),
        (
            "video/x-raw; format=I420; width=2; height=2",
            6,
            "`format` is `I420`",
        ),
        (
            "video/x-raw; format=NV12; width=0; height=2",
            6,
            "`width` is `0`",
        ),
        (
            "video/x-raw; format=NV12; width=2; height=-2",
            6,
            "`height` is `-2`",
        ),
        (
            "video/x-raw; format=NV12; width=2; height=2; stride=x",
            6,
            "`stride` is `x`",
        ),
        (
            "video/x-raw; format=NV12; width=3; height=2; stride=3",
            6,
            "`stride` is 3",
        ),
        (
            "video/x-raw; format=NV12; width=2; width=2; height=2",
            6,
            "`width` twice",
        ),
        ("video/x-raw; format=NV12; width=2; height=2", 5, "5 bytes"),
        ("video/x-raw; format=NV12; width=2; height=2", 7, "7 bytes"),
        (
            "video/x-raw; format=RGB; width=4294967295; height=1; stride=4294967295",
            6,
            "`stride`",
        ),
    ];
    for (kind, len, named) in cases {
        let error = decode_raw(kind, &vec![0; len]).unwrap_err();
        assert!(matches!(error, DecodeError::Raw(_)), "{kind}: {error}");
        assert!(error.to_string().contains(named), "{kind}: {error}");
    }
    let huge = "video/x-raw; format=GRAY8; width=4294967295; height=4294967295";
    let error = decode_raw(huge, &[]).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    let unknown = RawFrame::from_media_type("video/x-raw; format=I420; width=2; height=2");
    assert_eq!(
        unknown.as_ref().map_err(RawFrameError::kind),
        Err(ErrorKind::Unsupported)
    );
    for other in [
        "image/jpeg",
        "",
        "video/x-raw-not; format=NV12",
        "application/octet-stream",
    ] {
        assert_eq!(RawFrame::from_media_type(other), Ok(None), "{other}");
    }
}

#[test]
fn a_letterbox_keeps_the_shape_and_says_where_the_picture_is() {
    let black = Image::from_rgb(4, 2, vec![0; 24]).unwrap();
    let budget = Budget::unlimited();
    let boxed = letterbox(&black, 8, 7, [9, 8, 7], Filter::Bilinear, &budget).unwrap();
    let at = (boxed.left, boxed.top, boxed.width, boxed.height);
    assert_eq!(at, (0, 1, 8, 4));
    let bar = [9, 8, 7].repeat(8);
    let rows = [&bar[..], &[0; 24 * 4], &bar, &bar].concat();
    assert_eq!(boxed.image.pixels(), rows);
    let tall = letterbox(&black, 1, 4, [9; 3], Filter::Area, &budget).unwrap();
    assert_eq!((tall.left, tall.top, tall.width, tall.height), (0, 1, 1, 1));
    assert_eq!(reds(&tall.image), [9, 0, 9, 9]);
    let exact = letterbox(&black, 4, 2, [9; 3], Filter::Nearest, &budget).unwrap();
    assert_eq!(exact.image, black);
    let line = Image::from_rgb(60_000, 1, vec![0; 180_000]).unwrap();
    let boxed = letterbox(&line, 3, 3, [9; 3], Filter::Nearest, &budget).unwrap();
    assert_eq!(reds(&boxed.image), [9, 9, 9, 0, 0, 0, 9, 9, 9]);
    letterbox(&black, 0, 4, [0; 3], Filter::Area, &budget).unwrap_err();
}

#[test]
fn grey_is_the_luma_of_bt_601() {
    let colours = [255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 10, 20, 30];
    let image = Image::from_rgb(5, 1, colours.to_vec()).unwrap();
    let image = grey(&image, &Budget::unlimited()).unwrap();
    // 0.299, 0.587 and 0.114 of 255; 10, 20 and 30 weighted.
    assert_eq!(reds(&image), [76, 150, 29, 255, 18]);
    let equal = image.pixels().as_chunks::<3>().0;
    assert!(equal.iter().all(|[r, g, b]| r == g && g == b));
}
