//! The operations without an end to memory and time, and files that make decoders work.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests, each with its own needs"
)]

use hotshoe_vision::{
    Budget, DecodeError, DecodeLimits, Filter, Format, Image, Normalisation, Region, Rotation,
    VisionError,
};

pub(crate) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, DecodeError> {
    hotshoe_vision::decode(bytes, limits, &Budget::unlimited())
}

pub(crate) fn resize(
    image: &Image,
    width: u32,
    height: u32,
    filter: Filter,
) -> Result<Image, VisionError> {
    hotshoe_vision::resize(image, width, height, filter, &Budget::unlimited())
}

pub(crate) fn crop(
    image: &Image,
    x: f32,
    y: f32,
    width: f32,
    height: f32,
) -> Result<Image, VisionError> {
    hotshoe_vision::crop(image, x, y, width, height, &Budget::unlimited())
}

pub(crate) fn rotate(image: &Image, rotation: Rotation) -> Result<Image, VisionError> {
    hotshoe_vision::rotate(image, rotation, &Budget::unlimited())
}

pub(crate) fn warp(
    image: &Image,
    quad: [[f32; 2]; 4],
    width: u32,
    height: u32,
    filter: Filter,
) -> Result<Image, VisionError> {
    hotshoe_vision::warp(image, quad, width, height, filter, &Budget::unlimited())
}

pub(crate) fn blur(image: &Image, regions: &[Region], radius: u32) -> Result<Image, VisionError> {
    hotshoe_vision::blur(image, regions, radius, &Budget::unlimited())
}

pub(crate) fn normalise(
    images: &[&Image],
    width: u32,
    height: u32,
    how: &Normalisation,
) -> Result<(Vec<usize>, Vec<f32>), VisionError> {
    hotshoe_vision::normalise(images, width, height, how, &Budget::unlimited())
}

pub(crate) fn encode(image: &Image, format: Format, quality: u8) -> Result<Vec<u8>, VisionError> {
    hotshoe_vision::encode(image, format, quality, &Budget::unlimited())
}

/// One operation on a picture, and the kind of its error.
pub(crate) type Operation = fn(&Image, &Budget<'_>) -> Result<(), VisionError>;

const WHOLE: Region = Region {
    x: 0.0,
    y: 0.0,
    width: f32::MAX,
    height: f32::MAX,
};
const PLAIN: Normalisation = Normalisation {
    layout: hotshoe_vision::Layout::Nchw,
    channels: hotshoe_vision::Channels::Bgr,
    scale: 1.0,
    mean: [0.0; 3],
    std: [1.0; 3],
};

/// The whole picture, upside down, to a picture of half its size.
fn turned(image: &Image, filter: Filter, budget: &Budget<'_>) -> Result<(), VisionError> {
    let (w, h) = (image.width() as f32, image.height() as f32);
    let quad = [[w, h], [0.0, h], [0.0, 0.0], [w, 0.0]];
    let (width, height) = (image.width().div_ceil(2), image.height().div_ceil(2));
    hotshoe_vision::warp(image, quad, width, height, filter, budget).map(drop)
}

/// Every public operation that takes a picture. A test holds that none is missing.
pub(crate) const OPERATIONS: [(&str, Operation); 20] = [
    ("resize nearest", |i, b| {
        hotshoe_vision::resize(i, 1500, 1500, Filter::Nearest, b).map(drop)
    }),
    ("resize bilinear", |i, b| {
        hotshoe_vision::resize(i, 640, 640, Filter::Bilinear, b).map(drop)
    }),
    ("resize to a line", |i, b| {
        hotshoe_vision::resize(i, 192, 48, Filter::Bilinear, b).map(drop)
    }),
    ("resize bicubic", |i, b| {
        hotshoe_vision::resize(i, 640, 640, Filter::Bicubic, b).map(drop)
    }),
    ("resize area", |i, b| {
        hotshoe_vision::resize(i, 640, 640, Filter::Area, b).map(drop)
    }),
    ("letterbox", |i, b| {
        hotshoe_vision::letterbox(i, 640, 640, [114; 3], Filter::Bilinear, b).map(drop)
    }),
    ("grey", |i, b| hotshoe_vision::grey(i, b).map(drop)),
    ("crop", |i, b| {
        hotshoe_vision::crop(i, 0.0, 0.0, f32::MAX, f32::MAX, b).map(drop)
    }),
    ("rotate quarter", |i, b| {
        hotshoe_vision::rotate(i, Rotation::Quarter, b).map(drop)
    }),
    ("rotate half", |i, b| {
        hotshoe_vision::rotate(i, Rotation::Half, b).map(drop)
    }),
    ("rotate three quarters", |i, b| {
        hotshoe_vision::rotate(i, Rotation::ThreeQuarters, b).map(drop)
    }),
    ("warp nearest", |i, b| turned(i, Filter::Nearest, b)),
    ("warp bilinear", |i, b| turned(i, Filter::Bilinear, b)),
    ("warp bicubic", |i, b| turned(i, Filter::Bicubic, b)),
    ("blur", |i, b| {
        hotshoe_vision::blur(i, &[WHOLE], 0, b).map(drop)
    }),
    ("blur widely", |i, b| {
        hotshoe_vision::blur(i, &[WHOLE, WHOLE], u32::MAX, b).map(drop)
    }),
    ("normalise", |i, b| {
        hotshoe_vision::normalise(&[i], i.width(), i.height(), &PLAIN, b).map(drop)
    }),
    ("normalise side by side", |i, b| {
        let how = Normalisation {
            layout: hotshoe_vision::Layout::Nhwc,
            ..PLAIN
        };
        hotshoe_vision::normalise(&[i, i], i.width(), i.height(), &how, b).map(drop)
    }),
    ("encode jpeg", |i, b| {
        hotshoe_vision::encode(i, Format::Jpeg, 80, b).map(drop)
    }),
    ("encode png", |i, b| {
        hotshoe_vision::encode(i, Format::Png, 0, b).map(drop)
    }),
];

/// A picture of noise, the same at every run.
pub(crate) fn noise(width: u32, height: u32) -> Image {
    let mut state = 7_u32;
    let byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let len = width as usize * height as usize * 3;
    Image::from_rgb(
        width,
        height,
        std::iter::repeat_with(byte).take(len).collect(),
    )
    .unwrap()
}

/// A picture that changes slowly.
pub(crate) fn slope(width: u32, height: u32) -> Image {
    let len = width as usize * height as usize * 3;
    let bytes = (0..len).map(|at| (at / 700) as u8).collect();
    Image::from_rgb(width, height, bytes).unwrap()
}

/// A grey PNG file of one colour: a thousandth of its pixels.
pub(crate) fn grey_png(width: u32, height: u32, grey: u8) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_compression(png::Compression::Balanced);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().unwrap();
    let pixels = vec![grey; width as usize * height as usize];
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    file
}

/// EXIF data with an orientation, in either order of bytes.
pub(crate) fn exif(orientation: u8, big_endian: bool) -> Vec<u8> {
    let two = |value: u16| match big_endian {
        true => value.to_be_bytes(),
        false => value.to_le_bytes(),
    };
    let four = |value: u32| match big_endian {
        true => value.to_be_bytes(),
        false => value.to_le_bytes(),
    };
    let order: &[u8] = if big_endian { b"MM" } else { b"II" };
    let [value, none] = [two(orientation.into()), two(0)];
    let entry = [&two(0x0112)[..], &two(3), &four(1), &value, &none].concat();
    [order, &two(42), &four(8), &two(1), &entry, &four(0)].concat()
}

/// The same JPEG file with an EXIF segment.
pub(crate) fn with_exif(file: &[u8], exif: &[u8]) -> Vec<u8> {
    let segment = [b"Exif\0\0", exif].concat();
    let length = (segment.len() as u16 + 2).to_be_bytes();
    [&file[..2], &[0xFF, 0xE1], &length, &segment, &file[2..]].concat()
}

/// The same JPEG file without the segments of this kind before its scan.
pub(crate) fn without_segments(file: &[u8], kind: u8) -> Vec<u8> {
    let mut out = file[..2].to_vec();
    let mut at = 2;
    loop {
        let length = usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        let segment = &file[at..at + 2 + length];
        if segment[1] == 0xDA {
            out.extend_from_slice(&file[at..]);
            return out;
        }
        if segment[1] != kind {
            out.extend_from_slice(segment);
        }
        at += segment.len();
    }
}

/// A PNG file of 16-bit values.
pub(crate) fn png16(width: u32, height: u32, colour: png::ColorType, values: &[u16]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect();
    writer.write_image_data(&bytes).unwrap();
    writer.finish().unwrap();
    file
}

/// A BMP file of RGB or RGBA bytes.
pub(crate) fn bmp(
    width: u32,
    height: u32,
    colour: image::ExtendedColorType,
    bytes: &[u8],
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = image::codecs::bmp::BmpEncoder::new(&mut file);
    encoder.encode(bytes, width, height, colour).unwrap();
    file
}

/// A chunk of a PNG file.
pub(crate) fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [kind, data].concat();
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], &named, &crc(&named).to_be_bytes()].concat()
}

/// The same file with more chunks after its header.
pub(crate) fn with_chunks(file: &[u8], chunks: &[u8]) -> Vec<u8> {
    [&file[..33], chunks, &file[33..]].concat()
}

/// A PNG file of these filtered rows, which are not compressed.
pub(crate) fn raw_png(header: &[u8; 13], rows: &[u8], chunks: &[u8]) -> Vec<u8> {
    let mut data = vec![0x78, 0x01];
    let mut blocks = rows.chunks(65_535).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        data.push(u8::from(blocks.peek().is_none()));
        data.extend(length.to_le_bytes());
        data.extend((!length).to_le_bytes());
        data.extend(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for &byte in rows {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    data.extend((b << 16 | a).to_be_bytes());
    [
        b"\x89PNG\r\n\x1a\n",
        &chunk(b"IHDR", header)[..],
        chunks,
        &chunk(b"IDAT", &data),
        &chunk(b"IEND", &[]),
    ]
    .concat()
}

/// The CRC-32 of PNG (ISO 3309).
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut crc: u32, &byte| {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                0xEDB8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            };
        }
        crc
    })
}

/// A progressive JPEG file of one component, whose scans have 4 bytes of data each and go over the whole picture.
pub(crate) fn progressive_jpeg(width: u16, height: u16, scans: usize) -> Vec<u8> {
    let [h1, h0] = height.to_be_bytes();
    let [w1, w0] = width.to_be_bytes();
    let table = |class: u8, symbol: u8| {
        let mut counts = [0; 16];
        counts[0] = 1;
        [&[0xFF, 0xC4, 0, 20, class][..], &counts, &[symbol]].concat()
    };
    let quantisation = [&[0xFF, 0xDB, 0, 67, 0][..], &[1; 64]].concat();
    let first = [0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let next = [0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 63, 0, 0, 0, 0, 0];
    [
        &[0xFF, 0xD8][..],
        &quantisation,
        &[0xFF, 0xC2, 0, 11, 8, h1, h0, w1, w0, 1, 1, 0x11, 0],
        &table(0x00, 0x00),
        &table(0x10, 0xE0),
        &first,
        &next.repeat(scans.saturating_sub(1)),
        &[0xFF, 0xD9],
    ]
    .concat()
}
