//! From pictures to the elements of a tensor.

use crate::image::CHANNELS;
use crate::{Image, MAX_PIXELS, VisionError};

/// Order of the dimensions: N pictures, C channels, H rows, W columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One plane for each channel.
    Nchw,
    /// The channels of a pixel side by side.
    Nhwc,
}

/// Order of the colour channels in the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, as OpenCV has them.
    Bgr,
}

/// How pixels become elements: `(pixel * scale - mean) / std`, by channel, in the order of `channels`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// Order of the dimensions.
    pub layout: Layout,
    /// Order of the channels, of `mean` and of `std`.
    pub channels: Channels,
    /// Usually 1 / 255.
    pub scale: f32,
    /// Of each channel, after scaling.
    pub mean: [f32; 3],
    /// Of each channel, after scaling. None may be 0.
    pub std: [f32; 3],
}

/// Makes one tensor of all pictures, `[n, 3, height, width]` or `[n, height, width, 3]`; the shape and the elements are
/// returned. Smaller pictures lie at the top left, and the rest is 0 (after normalisation).
///
/// # Errors
/// [`VisionError::NoImages`], [`VisionError::NoPixels`], [`VisionError::TooLarge`] over [`MAX_PIXELS`] in all,
/// [`VisionError::NotFinite`], [`VisionError::ZeroDeviation`]; [`VisionError::DoesNotFit`] for a larger picture.
pub fn normalise(
    images: &[&Image],
    width: u32,
    height: u32,
    how: &Normalisation,
) -> Result<(Vec<usize>, Vec<f32>), VisionError> {
    let plane = check(images, width, height, how)?;
    let columns = width as usize;
    let mut elements = vec![0.0; images.len() * plane * CHANNELS];
    for (image, out) in images
        .iter()
        .zip(elements.chunks_exact_mut(plane * CHANNELS))
    {
        match how.layout {
            Layout::Nchw => planes(image, out, plane, columns, how),
            Layout::Nhwc => interleaved(image, out, columns, how),
        }
    }
    let (rows, n) = (height as usize, images.len());
    let shape = match how.layout {
        Layout::Nchw => vec![n, CHANNELS, rows, columns],
        Layout::Nhwc => vec![n, rows, columns, CHANNELS],
    };
    Ok((shape, elements))
}

/// Checks all arguments; the pixels of one plane.
fn check(
    images: &[&Image],
    width: u32,
    height: u32,
    how: &Normalisation,
) -> Result<usize, VisionError> {
    if images.is_empty() {
        return Err(VisionError::NoImages);
    }
    let what = "the tensor";
    if width == 0 || height == 0 {
        return Err(VisionError::NoPixels {
            what,
            width,
            height,
        });
    }
    let plane = u64::from(width) * u64::from(height);
    let count = plane.saturating_mul(images.len() as u64);
    if count > MAX_PIXELS {
        return Err(VisionError::TooLarge {
            what,
            width,
            height,
            count,
            limit: MAX_PIXELS,
        });
    }
    let means = how.mean.iter().map(|&v| ("a mean", v));
    let deviations = how.std.iter().map(|&v| ("a standard deviation", v));
    for (what, value) in means.chain(deviations).chain([("the scale", how.scale)]) {
        if !value.is_finite() {
            return Err(VisionError::NotFinite { what, value });
        }
    }
    if let Some(channel) = how.std.iter().position(|&v| v == 0.0) {
        return Err(VisionError::ZeroDeviation { channel });
    }
    for (index, image) in images.iter().enumerate() {
        if image.width() > width || image.height() > height {
            let (into_width, into_height) = (width, height);
            let (width, height) = (image.width(), image.height());
            return Err(VisionError::DoesNotFit {
                index,
                width,
                height,
                into_width,
                into_height,
            });
        }
    }
    Ok(plane as usize)
}

/// Where channel `channel` of the tensor is in an RGB pixel.
fn position(how: &Normalisation, channel: usize) -> usize {
    match how.channels {
        Channels::Rgb => channel,
        Channels::Bgr => CHANNELS - 1 - channel,
    }
}

/// The element of every pixel value, by channel: the exact formula, evaluated 768 times instead of once an element.
fn tables(how: &Normalisation) -> [[f32; 256]; CHANNELS] {
    let table = |(mean, std): (f32, f32)| {
        std::array::from_fn(|value| (value as f32 * how.scale - mean) / std)
    };
    let [m0, m1, m2] = how.mean;
    let [s0, s1, s2] = how.std;
    [(m0, s0), (m1, s1), (m2, s2)].map(table)
}

fn look_up(table: &[f32; 256], value: u8) -> f32 {
    table.get(usize::from(value)).copied().unwrap_or_default() // the bound is known, so no check is left
}

fn planes(image: &Image, out: &mut [f32], plane: usize, columns: usize, how: &Normalisation) {
    let tables = tables(how);
    for (channel, (out, table)) in out.chunks_exact_mut(plane).zip(&tables).enumerate() {
        let at = position(how, channel);
        for (out, row) in out.chunks_exact_mut(columns).zip(image.rows()) {
            for (element, pixel) in out.iter_mut().zip(row.as_chunks::<CHANNELS>().0) {
                *element = look_up(table, pixel.get(at).copied().unwrap_or_default());
            }
        }
    }
}

fn interleaved(image: &Image, out: &mut [f32], columns: usize, how: &Normalisation) {
    let tables = tables(how);
    for (out, row) in out.chunks_exact_mut(columns * CHANNELS).zip(image.rows()) {
        let pixels = row.as_chunks::<CHANNELS>().0;
        for (elements, &[r, g, b]) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(pixels) {
            let [x, y, z] = match how.channels {
                Channels::Rgb => [r, g, b],
                Channels::Bgr => [b, g, r],
            };
            let [tx, ty, tz] = &tables;
            *elements = [look_up(tx, x), look_up(ty, y), look_up(tz, z)];
        }
    }
}
