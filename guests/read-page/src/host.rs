//! The pixels and models of the host, as `label_reader` takes them.

use hotshoe_sdk::infer::Model;
use hotshoe_sdk::prelude::*;
use hotshoe_sdk::vision::{self, Filter, Image, Normalisation, Rotation};
use label_reader::geometry::Quad;
use label_reader::sizes::Size;
use label_reader::{ModelOutputError, ctc, page};

/// The release's models by their names in it.
pub struct Host {
    detect: Model,
    classify_angle: Model,
    recognise: Model,
}

impl Host {
    /// Opens the models.
    pub fn open() -> Result<Self> {
        Ok(Self {
            detect: Model::open("detect")?,
            classify_angle: Model::open("classify-angle")?,
            recognise: Model::open("recognise")?,
        })
    }

    /// The recogniser's character list.
    pub fn characters(&self) -> Result<String> {
        let list = self.recognise.metadata(ctc::CHARACTERS_KEY);
        list.ok_or_else(|| {
            Error::unsupported("the model `recognise` has no character list in its metadata")
        })
    }
}

impl page::Runtime for Host {
    type Image = Image;
    type Tensor = Tensor;
    type Error = Error;

    fn size(&self, image: &Image) -> Size {
        (image.width(), image.height())
    }

    fn resize(&self, image: &Image, (width, height): Size) -> Result<Image> {
        Ok(vision::resize(image, width, height, Filter::Bilinear)?)
    }

    fn add_bars(&self, image: &Image, rows: u32) -> Result<Image> {
        let bar = image.width() as usize * rows as usize * 3;
        let mut pixels = vec![0; bar];
        pixels.extend_from_slice(&image.pixels());
        pixels.resize(pixels.len() + bar, 0);
        Ok(Image::from_pixels(
            image.width(),
            image.height() + 2 * rows,
            &pixels,
        )?)
    }

    fn warp(&self, image: &Image, outline: &Quad, (width, height): Size) -> Result<Image> {
        let [a, b, c, d] = outline.map(|[x, y]| Point { x, y });
        Ok(vision::warp(
            image,
            (a, b, c, d),
            width,
            height,
            Filter::Bicubic,
        )?)
    }

    fn lay_down(&self, image: &Image) -> Result<Image> {
        Ok(vision::rotate(image, Rotation::ThreeQuarters)?)
    }

    fn turn_over(&self, image: &Image) -> Result<Image> {
        Ok(vision::rotate(image, Rotation::Half)?)
    }

    fn normalise(&self, images: &[Image], (width, height): Size) -> Result<Tensor> {
        let images: Vec<&Image> = images.iter().collect();
        Ok(vision::normalise(
            &images,
            width,
            height,
            Normalisation::bgr(),
        )?)
    }

    fn run<T>(
        &self,
        model: page::Model,
        input: Tensor,
        read: impl FnOnce(&[usize], &[f32]) -> Result<T, ModelOutputError>,
    ) -> Result<T> {
        let model = match model {
            page::Model::Detector => &self.detect,
            page::Model::AngleClassifier => &self.classify_angle,
            page::Model::Recogniser => &self.recognise,
        };
        let outputs = model.run(&[("x".into(), &input)])?;
        let output = outputs.only()?;
        Ok(read(&output.dimensions(), &output.read_f32()?)?)
    }
}
