//! A picture of one line, in the three steps of the components: prepare, run the model, interpret.

use std::sync::Arc;

use hotshoe_infer::{Model, Tensor};
use hotshoe_vision::{Budget, DecodeLimits, DecodeOptions, Filter, Image, decode_with};
use label_reader::sizes::{self, Size};
use label_reader::{ModelOutputError, angle, ctc};

use crate::{NORMALISATION, NativeError, alphabet, run_model};

/// One way up that a line may be.
#[derive(Debug, Clone, PartialEq)]
pub struct AngleClass {
    /// Degrees.
    pub label: String,
    /// Position in the model's output.
    pub index: u32,
    /// 0 to 1.
    pub score: f32,
}

/// One line of text that was read, with the outline of the whole picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The characters.
    pub text: String,
    /// Mean score of the characters, 0 to 1.
    pub score: f32,
    /// Corners of the picture, in pixels.
    pub outline: [[f32; 2]; 4],
}

/// Says which way up a line is, as `classify-angle-pre` and `classify-angle-post` do.
pub struct NativeClassifier(Arc<Model>);

impl NativeClassifier {
    /// Takes the loaded model.
    pub fn new(model: Arc<Model>) -> Self {
        Self(model)
    }

    /// From a JPEG or PNG picture to the model's input.
    pub fn prepare(&self, picture: &[u8]) -> Result<Tensor, NativeError> {
        let line = decode_with(
            picture,
            &DecodeOptions::default(),
            &DecodeLimits::default(),
            &Budget::unlimited(),
        )?;
        let width = sizes::line_width((line.width(), line.height()), sizes::ANGLE_WIDTH);
        scale(&line, width, sizes::ANGLE_WIDTH)
    }

    /// Runs the model.
    pub fn run(&self, input: &Tensor) -> Result<Tensor, NativeError> {
        run_model(&self.0, input)
    }

    /// From the model's output to classes, best first.
    pub fn interpret(&self, output: &Tensor) -> Result<Vec<AngleClass>, NativeError> {
        let scores = output.as_f32()?;
        if output.shape() != [1, angle::LABELS.len()] {
            return Err(ModelOutputError::Shape {
                model: "angle classifier",
                expected: "1 x 2",
                found: output.shape().to_vec(),
            }
            .into());
        }
        let named = angle::LABELS.iter().zip(0u32..).zip(scores);
        let mut classes: Vec<AngleClass> = named
            .map(|((label, index), score)| AngleClass {
                label: (*label).to_owned(),
                index,
                score: *score,
            })
            .collect();
        classes.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(classes)
    }
}

/// Reads a line, as `recognise-text-pre` and `recognise-text-post` do.
pub struct NativeRecogniser(Arc<Model>);

impl NativeRecogniser {
    /// Takes the loaded model.
    pub fn new(model: Arc<Model>) -> Self {
        Self(model)
    }

    /// From a JPEG or PNG picture to the model's input, and the picture's size.
    pub fn prepare(&self, picture: &[u8]) -> Result<(Tensor, Size), NativeError> {
        let line = decode_with(
            picture,
            &DecodeOptions::default(),
            &DecodeLimits::default(),
            &Budget::unlimited(),
        )?;
        let size = (line.width(), line.height());
        let width = sizes::recogniser_width(size);
        let input = scale(&line, sizes::line_width(size, width), width)?;
        Ok((input, size))
    }

    /// Runs the model.
    pub fn run(&self, input: &Tensor) -> Result<Tensor, NativeError> {
        run_model(&self.0, input)
    }

    /// From the model's output to the text in a picture of this size.
    pub fn interpret(
        &self,
        output: &Tensor,
        (width, height): Size,
    ) -> Result<Vec<Line>, NativeError> {
        let readings = ctc::decode(output.as_f32()?, output.shape(), &alphabet(&self.0)?)?;
        let (width, height) = (width as f32, height as f32);
        let outline = [[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]];
        let lines = readings.into_iter().map(|reading| Line {
            text: reading.text,
            score: reading.score,
            outline,
        });
        Ok(lines.collect())
    }
}

/// Scales one line to `width` and puts it into an input `input_width` wide.
fn scale(line: &Image, width: u32, input_width: u32) -> Result<Tensor, NativeError> {
    let (height, budget) = (sizes::LINE_HEIGHT, Budget::unlimited());
    let scaled = hotshoe_vision::resize(line, width, height, Filter::Bilinear, &budget)?;
    let (shape, elements) =
        hotshoe_vision::normalise(&[&scaled], input_width, height, &NORMALISATION, &budget)?;
    Ok(Tensor::from_f32(&shape, elements)?)
}
