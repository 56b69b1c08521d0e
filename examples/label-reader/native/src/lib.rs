#![forbid(unsafe_code)]
//! The label reader without WebAssembly: the same algorithms, pixels and models as the components, linked into one program. The benches
//! measure the components against it.

use std::sync::Arc;

use hotshoe_infer::{Model, RunError, Tensor, TensorError};
use hotshoe_vision::{
    Channels, DecodeError, DecodeLimits, Filter, Image, Layout, Normalisation, Rotation,
    VisionError,
};
use label_reader::geometry::Quad;
use label_reader::sizes::{self, Size};
use label_reader::{ModelOutputError, angle, ctc, page};

/// How pixels become elements: BGR values from -1 to 1.
pub const NORMALISATION: Normalisation = Normalisation {
    layout: Layout::Nchw,
    channels: Channels::Bgr,
    scale: 1.0 / 255.0,
    mean: [0.5; 3],
    std: [0.5; 3],
};

/// Name of the one input that each of the three models has.
const INPUT: &str = "x";

/// A picture that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// The bytes are no picture.
    #[error("the picture cannot be decoded")]
    Decode(#[from] DecodeError),
    /// An operation on pixels failed.
    #[error("the picture cannot be prepared")]
    Vision(#[from] VisionError),
    /// Pixels and shape do not fit.
    #[error("the model's input or output cannot be handled")]
    Tensor(#[from] TensorError),
    /// A model failed.
    #[error("the model cannot be run")]
    Run(#[from] RunError),
    /// A model is another one than expected.
    #[error(transparent)]
    Output(#[from] ModelOutputError),
    /// The recogniser's file has no character list.
    #[error(
        "the recogniser has no entry `{}` in its metadata; use the model that this code is made for",
        ctc::CHARACTERS_KEY
    )]
    NoCharacters,
    /// A model without outputs.
    #[error("the model has no output")]
    NoOutput,
}

/// The three models, ready to read pictures.
pub struct NativeReader {
    detect: Arc<Model>,
    classify_angle: Arc<Model>,
    recognise: Arc<Model>,
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

    /// Reads all text of a JPEG or PNG picture, as the component `read-page` does.
    pub fn read(&self, picture: &[u8]) -> Result<Vec<page::Line>, NativeError> {
        let picture = hotshoe_vision::decode(picture, &DecodeLimits::default())?;
        page::read(self, picture, &self.alphabet()?)
    }

    /// Says which way up a picture of one line is, as `classify-angle-pre` and `classify-angle-post` do.
    pub fn classify_line(&self, picture: &[u8]) -> Result<Option<angle::Angle>, NativeError> {
        let line = hotshoe_vision::decode(picture, &DecodeLimits::default())?;
        let width = sizes::line_width((line.width(), line.height()), sizes::ANGLE_WIDTH);
        let input = prepare_line(&line, width, sizes::ANGLE_WIDTH)?;
        let angles = run_model(&self.classify_angle, &input, |shape, scores| {
            angle::classify(scores, shape)
        })?;
        Ok(angles.first().copied())
    }

    /// Reads a picture of one line, as `recognise-text-pre` and `recognise-text-post` do.
    pub fn read_line(&self, picture: &[u8]) -> Result<Vec<ctc::Reading>, NativeError> {
        let line = hotshoe_vision::decode(picture, &DecodeLimits::default())?;
        let size = (line.width(), line.height());
        let width = sizes::recogniser_width(size);
        let input = prepare_line(&line, sizes::line_width(size, width), width)?;
        let alphabet = self.alphabet()?;
        run_model(&self.recognise, &input, |shape, values| {
            ctc::decode(values, shape, &alphabet)
        })
    }

    fn alphabet(&self) -> Result<ctc::Alphabet, NativeError> {
        self.recognise
            .metadata(ctc::CHARACTERS_KEY)
            .map(ctc::Alphabet::parse)
            .ok_or(NativeError::NoCharacters)
    }
}

/// Scales one line to `width` and puts it into an input `input_width` wide.
fn prepare_line(line: &Image, width: u32, input_width: u32) -> Result<Tensor, NativeError> {
    let scaled = hotshoe_vision::resize(line, width, sizes::LINE_HEIGHT, Filter::Bilinear)?;
    let (shape, elements) =
        hotshoe_vision::normalise(&[&scaled], input_width, sizes::LINE_HEIGHT, &NORMALISATION)?;
    Ok(Tensor::from_f32(&shape, elements)?)
}

fn run_model<T>(
    model: &Model,
    input: &Tensor,
    read: impl FnOnce(&[usize], &[f32]) -> Result<T, ModelOutputError>,
) -> Result<T, NativeError> {
    let outputs = model.run(&[(INPUT, input)])?;
    let (_, output) = outputs.first().ok_or(NativeError::NoOutput)?;
    Ok(read(output.shape(), output.as_f32()?)?)
}

impl page::Runtime for NativeReader {
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
        )?)
    }

    fn lay_down(&self, image: &Image) -> Result<Image, NativeError> {
        Ok(hotshoe_vision::rotate(image, Rotation::ThreeQuarters)?)
    }

    fn turn_over(&self, image: &Image) -> Result<Image, NativeError> {
        Ok(hotshoe_vision::rotate(image, Rotation::Half)?)
    }

    fn normalise(&self, images: &[Image], (width, height): Size) -> Result<Tensor, NativeError> {
        let images: Vec<&Image> = images.iter().collect();
        let (shape, elements) = hotshoe_vision::normalise(&images, width, height, &NORMALISATION)?;
        Ok(Tensor::from_f32(&shape, elements)?)
    }

    fn run<T>(
        &self,
        model: page::Model,
        input: Tensor,
        read: impl FnOnce(&[usize], &[f32]) -> Result<T, ModelOutputError>,
    ) -> Result<T, NativeError> {
        let model = match model {
            page::Model::Detector => &self.detect,
            page::Model::AngleClassifier => &self.classify_angle,
            page::Model::Recogniser => &self.recognise,
        };
        run_model(model, &input, read)
    }
}
