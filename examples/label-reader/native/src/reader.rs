//! Reads a whole page, as the component `read-page` does.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_infer::{Model, Tensor};
use hotshoe_vision::{Budget, DecodeLimits, DecodeOptions, Filter, Image, Rotation, decode_with};
use label_reader::geometry::Quad;
use label_reader::sizes::Size;
use label_reader::{ModelOutputError, page};

use crate::{NORMALISATION, NativeError, alphabet, run_model};

/// The three models, ready to read pictures.
pub struct NativeReader {
    detect: Arc<Model>,
    classify_angle: Arc<Model>,
    recognise: Arc<Model>,
}

/// Time spent in each model while one picture was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelTimes {
    /// In the one run of the detector.
    pub detect: Duration,
    /// In all runs of the angle classifier.
    pub classify_angle: Duration,
    /// In all runs of the recogniser.
    pub recognise: Duration,
}

impl NativeReader {
    /// Takes the loaded models.
    pub fn new(detect: Arc<Model>, classify_angle: Arc<Model>, recognise: Arc<Model>) -> Self {
        Self {
            detect,
            classify_angle,
            recognise,
        }
    }

    /// Reads all text of a JPEG or PNG picture.
    pub fn read(&self, picture: &[u8]) -> Result<Vec<page::Line>, NativeError> {
        Ok(self.read_timed(picture)?.0)
    }

    /// As [`NativeReader::read`], with the time that the models took.
    pub fn read_timed(&self, picture: &[u8]) -> Result<(Vec<page::Line>, ModelTimes), NativeError> {
        let reading = Reading {
            reader: self,
            times: RefCell::default(),
        };
        let picture = decode_with(
            picture,
            &DecodeOptions::default(),
            &DecodeLimits::default(),
            &Budget::unlimited(),
        )?;
        let lines = page::read(&reading, picture, &alphabet(&self.recognise)?)?;
        Ok((lines, reading.times.into_inner()))
    }
}

/// One picture being read.
struct Reading<'a> {
    reader: &'a NativeReader,
    times: RefCell<ModelTimes>,
}

impl page::Runtime for Reading<'_> {
    type Image = Image;
    type Tensor = Tensor;
    type Error = NativeError;

    fn size(&self, image: &Image) -> Size {
        (image.width(), image.height())
    }

    fn resize(&self, image: &Image, (width, height): Size) -> Result<Image, NativeError> {
        Ok(hotshoe_vision::resize(
            image,
            width,
            height,
            Filter::Bilinear,
            &Budget::unlimited(),
        )?)
    }

    fn add_bars(&self, image: &Image, rows: u32) -> Result<Image, NativeError> {
        let bar = image.width() as usize * rows as usize * 3;
        let mut pixels = vec![0; bar];
        pixels.extend_from_slice(image.pixels());
        pixels.resize(pixels.len() + bar, 0);
        Ok(Image::from_rgb(
            image.width(),
            image.height() + 2 * rows,
            pixels,
        )?)
    }

    fn warp(
        &self,
        image: &Image,
        outline: &Quad,
        (width, height): Size,
    ) -> Result<Image, NativeError> {
        Ok(hotshoe_vision::warp(
            image,
            *outline,
            width,
            height,
            Filter::Bicubic,
            &Budget::unlimited(),
        )?)
    }

    fn lay_down(&self, image: &Image) -> Result<Image, NativeError> {
        Ok(hotshoe_vision::rotate(
            image,
            Rotation::ThreeQuarters,
            &Budget::unlimited(),
        )?)
    }

    fn turn_over(&self, image: &Image) -> Result<Image, NativeError> {
        Ok(hotshoe_vision::rotate(
            image,
            Rotation::Half,
            &Budget::unlimited(),
        )?)
    }

    fn normalise(&self, images: &[Image], (width, height): Size) -> Result<Tensor, NativeError> {
        let images: Vec<&Image> = images.iter().collect();
        let (shape, elements) = hotshoe_vision::normalise(
            &images,
            width,
            height,
            &NORMALISATION,
            &Budget::unlimited(),
        )?;
        Ok(Tensor::from_f32(&shape, elements)?)
    }

    fn run<T>(
        &self,
        model: page::Model,
        input: Tensor,
        read: impl FnOnce(&[usize], &[f32]) -> Result<T, ModelOutputError>,
    ) -> Result<T, NativeError> {
        let loaded = match model {
            page::Model::Detector => &self.reader.detect,
            page::Model::AngleClassifier => &self.reader.classify_angle,
            page::Model::Recogniser => &self.reader.recognise,
        };
        let started = Instant::now();
        let output = run_model(loaded, &input)?;
        let elapsed = started.elapsed();
        let mut times = self.times.borrow_mut();
        *match model {
            page::Model::Detector => &mut times.detect,
            page::Model::AngleClassifier => &mut times.classify_angle,
            page::Model::Recogniser => &mut times.recognise,
        } += elapsed;
        Ok(read(output.shape(), output.as_f32()?)?)
    }
}
