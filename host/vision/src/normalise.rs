//! Conversion of pictures to a tensor.

use crate::image::CHANNELS;
use crate::{Budget, Image, MAX_PIXELS, VisionError};

/// Order of the dimensions: N pictures, C channels, H rows, W columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One plane for each channel.
    Nchw,
    /// The channels of a pixel are adjacent.
    Nhwc,
}

/// Order of the colour channels in the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, as in OpenCV.
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

/// Checked arguments of [`normalise`]: only the deadline can fail after that.
#[derive(Debug)]
pub struct Normaliser<'a> {
    images: &'a [&'a Image],
    how: &'a Normalisation,
    columns: usize,
    rows: usize,
}

impl<'a> Normaliser<'a> {
    /// For one tensor of all pictures, `[n, 3, height, width]` or `[n, height, width, 3]`. Smaller pictures are at the top
    /// left, and the rest is 0 (after normalisation).
    ///
    /// # Errors
    /// [`VisionError::NoImages`], [`VisionError::NoPixels`], [`VisionError::TooLarge`] over [`MAX_PIXELS`] in all,
    /// [`VisionError::NotFinite`], [`VisionError::ZeroDeviation`]; [`VisionError::DoesNotFit`] for a larger picture.
    pub fn new(
        images: &'a [&'a Image],
        width: u32,
        height: u32,
        how: &'a Normalisation,
    ) -> Result<Self, VisionError> {
        check(images, width, height, how)?;
        Ok(Self {
            images,
            how,
            columns: width as usize,
            rows: height as usize,
        })
    }

    /// Of the tensor.
    pub fn shape(&self) -> [usize; 4] {
        let (n, rows, columns) = (self.images.len(), self.rows, self.columns);
        match self.how.layout {
            Layout::Nchw => [n, CHANNELS, rows, columns],
            Layout::Nhwc => [n, rows, columns, CHANNELS],
        }
    }

    /// Bytes of the tensor's elements.
    pub fn byte_len(&self) -> u64 {
        let pixels = (self.rows * self.columns * self.images.len()) as u64; // at most `MAX_PIXELS`
        pixels * (CHANNELS * size_of::<f32>()) as u64
    }

    /// Writes the tensor's elements. `elements` has the length of the shape, and is initially 0. The caller counts its memory.
    ///
    /// # Errors
    /// [`VisionError::Budget`] once the deadline has passed.
    pub fn write(&self, elements: &mut [f32], budget: &Budget<'_>) -> Result<(), VisionError> {
        budget.look()?;
        let plane = self.rows * self.columns;
        let parts = elements.chunks_exact_mut(plane * CHANNELS);
        for (image, out) in self.images.iter().zip(parts) {
            match self.how.layout {
                Layout::Nchw => planes(image, out, plane, self.columns, self.how, budget)?,
                Layout::Nhwc => interleaved(image, out, self.columns, self.how, budget)?,
            }
        }
        Ok(())
    }
}

/// The shape and the elements of the tensor that a [`Normaliser`] makes.
///
/// # Errors
/// As [`Normaliser::new`]; [`VisionError::Budget`].
pub fn normalise(
    images: &[&Image],
    width: u32,
    height: u32,
    how: &Normalisation,
    budget: &Budget<'_>,
) -> Result<(Vec<usize>, Vec<f32>), VisionError> {
    let normaliser = Normaliser::new(images, width, height, how)?;
    let shape = normaliser.shape();
    let (mut elements, _claim) = budget.zeros(shape.iter().product())?;
    normaliser.write(&mut elements, budget)?;
    Ok((shape.to_vec(), elements))
}

/// Checks all arguments.
fn check(
    images: &[&Image],
    width: u32,
    height: u32,
    how: &Normalisation,
) -> Result<(), VisionError> {
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
    Ok(())
}

/// The index of tensor channel `channel` in an RGB pixel.
fn position(how: &Normalisation, channel: usize) -> usize {
    match how.channels {
        Channels::Rgb => channel,
        Channels::Bgr => CHANNELS - 1 - channel,
    }
}

/// The element of every pixel value, by channel: the exact formula, evaluated 768 times instead of once per element.
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

fn planes(
    image: &Image,
    out: &mut [f32],
    plane: usize,
    columns: usize,
    how: &Normalisation,
    budget: &Budget<'_>,
) -> Result<(), VisionError> {
    let tables = tables(how);
    for (channel, (out, table)) in out.chunks_exact_mut(plane).zip(&tables).enumerate() {
        let at = position(how, channel);
        for (out, row) in out.chunks_exact_mut(columns).zip(image.rows()) {
            for (element, pixel) in out.iter_mut().zip(row.as_chunks::<CHANNELS>().0) {
                *element = look_up(table, pixel.get(at).copied().unwrap_or_default());
            }
            budget.spend(columns as u64)?;
        }
    }
    Ok(())
}

fn interleaved(
    image: &Image,
    out: &mut [f32],
    columns: usize,
    how: &Normalisation,
    budget: &Budget<'_>,
) -> Result<(), VisionError> {
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
        budget.spend(columns as u64)?;
    }
    Ok(())
}
