//! The interfaces of `hotshoe:pipeline@0.2.0`. What is as in 0.1.0 is done there.

use hotshoe_infer::Tensor;
use hotshoe_vision::{DecodeOptions, Image, RawFrame};
use wasmtime::component::Resource;

use super::bindings::hotshoe::pipeline as v0_1;
use super::bindings::hotshoe::pipeline::tensors::NamedTensor;
use super::bindings::hotshoe::pipeline::types::{Error, Quad, Rect};
use super::bindings::v0_2::{clock, config, fault, infer, log, metrics, state, vision};
use super::vision::{MadeImage, NativeError};
use super::{CountedImage, CountedTensor, OpenModel, State};
use crate::sample::Sample;

type MadeTensor = wasmtime::Result<Result<Resource<CountedTensor>, Error>>;

impl log::Host for State {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => v0_1::log::Level::Trace,
            log::Level::Debug => v0_1::log::Level::Debug,
            log::Level::Info => v0_1::log::Level::Info,
            log::Level::Warn => v0_1::log::Level::Warn,
            log::Level::Error => v0_1::log::Level::Error,
        };
        v0_1::log::Host::log(self, level, message)
    }
}

impl metrics::Host for State {
    fn count(&mut self, name: String, by: u64) -> wasmtime::Result<()> {
        v0_1::metrics::Host::count(self, name, by)
    }

    fn observe(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        v0_1::metrics::Host::observe(self, name, value)
    }
}

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        v0_1::clock::Host::now(self)
    }

    fn monotonic(&mut self) -> wasmtime::Result<u64> {
        v0_1::clock::Host::monotonic(self)
    }
}

impl config::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        v0_1::config::Host::get(self, key)
    }
}

impl fault::Host for State {
    fn report(&mut self, message: String) -> wasmtime::Result<()> {
        self.report_fault(message);
        Ok(())
    }
}

impl state::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        v0_1::state::Host::get(self, key)
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        v0_1::state::Host::set(self, key, value)
    }

    fn replace(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<bool, Error>> {
        v0_1::state::Host::replace(self, key, expected, value)
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        v0_1::state::Host::delete(self, key)
    }

    fn keys(&mut self) -> wasmtime::Result<Vec<String>> {
        v0_1::state::Host::keys(self)
    }

    fn version(&mut self) -> wasmtime::Result<u32> {
        v0_1::state::Host::version(self)
    }
}

impl infer::Host for State {}

fn infos(infos: Vec<v0_1::infer::TensorInfo>) -> Vec<infer::TensorInfo> {
    let infos = infos.into_iter().map(|info| infer::TensorInfo {
        name: info.name,
        element_type: info.element_type,
        shape: info.shape,
    });
    infos.collect()
}

impl infer::HostModel for State {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<OpenModel>, Error>> {
        v0_1::infer::HostModel::open(self, name)
    }

    fn inputs(&mut self, model: Resource<OpenModel>) -> wasmtime::Result<Vec<infer::TensorInfo>> {
        v0_1::infer::HostModel::inputs(self, model).map(infos)
    }

    fn outputs(&mut self, model: Resource<OpenModel>) -> wasmtime::Result<Vec<infer::TensorInfo>> {
        v0_1::infer::HostModel::outputs(self, model).map(infos)
    }

    fn metadata(
        &mut self,
        model: Resource<OpenModel>,
        key: String,
    ) -> wasmtime::Result<Option<String>> {
        v0_1::infer::HostModel::metadata(self, model, key)
    }

    fn run(
        &mut self,
        model: Resource<OpenModel>,
        inputs: Vec<(String, Resource<CountedTensor>)>,
    ) -> wasmtime::Result<Result<Vec<NamedTensor>, Error>> {
        v0_1::infer::HostModel::run(self, model, inputs)
    }

    fn drop(&mut self, model: Resource<OpenModel>) -> wasmtime::Result<()> {
        v0_1::infer::HostModel::drop(self, model)
    }
}

fn options(wit: Option<vision::DecodeOptions>) -> DecodeOptions {
    wit.map_or_else(DecodeOptions::default, |wit| DecodeOptions {
        apply_orientation: wit.apply_orientation,
        background: wit.background.map(<[u8; 3]>::from),
    })
}

const fn filter(wit: vision::Filter) -> v0_1::vision::Filter {
    match wit {
        vision::Filter::Nearest => v0_1::vision::Filter::Nearest,
        vision::Filter::Bilinear => v0_1::vision::Filter::Bilinear,
        vision::Filter::Bicubic => v0_1::vision::Filter::Bicubic,
        vision::Filter::Area => v0_1::vision::Filter::Area,
    }
}

/// Decodes what `content_type` says, with the state's limits.
fn decode(
    bytes: &[u8],
    content_type: &str,
    options: &DecodeOptions,
    limits: &hotshoe_vision::DecodeLimits,
    budget: &hotshoe_vision::Budget<'_>,
) -> Result<Image, NativeError> {
    let frame = RawFrame::from_media_type(content_type);
    Ok(match frame.map_err(hotshoe_vision::DecodeError::from)? {
        Some(frame) => hotshoe_vision::decode_raw(bytes, &frame, limits, budget)?,
        None => hotshoe_vision::decode_with(bytes, options, limits, budget)?,
    })
}

impl vision::Host for State {
    fn decode(
        &mut self,
        sample: Resource<Sample>,
        wit: Option<vision::DecodeOptions>,
    ) -> MadeImage {
        let limits = self.decode_limits();
        self.image("decode", |state, budget| {
            let sample = state.table.get(&sample)?;
            let (payload, kind) = (&sample.payload, &sample.content_type);
            decode(payload, kind, &options(wit), &limits, budget)
        })
    }

    fn decode_bytes(
        &mut self,
        bytes: Vec<u8>,
        content_type: Option<String>,
        wit: Option<vision::DecodeOptions>,
    ) -> MadeImage {
        let limits = self.decode_limits();
        self.image("decode-bytes", |_, budget| {
            let kind = content_type.as_deref().unwrap_or_default();
            decode(&bytes, kind, &options(wit), &limits, budget)
        })
    }

    fn decode_u16(&mut self, sample: Resource<Sample>, apply_orientation: bool) -> MadeTensor {
        let limits = self.decode_limits();
        if let Err(error) = self.check_budget(1, 0) {
            return Ok(Err(error));
        }
        let tensor = self.native("decode-u16", |state, budget| {
            let payload = &state.table.get(&sample)?.payload;
            let image = hotshoe_vision::decode_u16(payload, apply_orientation, &limits, budget)?;
            let shape = [
                image.height() as usize,
                image.width() as usize,
                image.channels(),
            ];
            let _image = budget.claim(image.byte_len() as u64)?;
            let elements = image.values().len() as u64;
            let _elements = budget.claim(elements.saturating_mul(size_of::<f32>() as u64))?;
            Ok(Tensor::write_f32(&shape, |elements| {
                for (element, value) in elements.iter_mut().zip(image.values()) {
                    *element = value.into();
                }
            })?)
        })?;
        match tensor {
            Ok(tensor) => self.hold_tensor(tensor),
            Err(error) => Ok(Err(error)),
        }
    }

    fn resize(
        &mut self,
        image: Resource<CountedImage>,
        width: u32,
        height: u32,
        wit: vision::Filter,
    ) -> MadeImage {
        v0_1::vision::Host::resize(self, image, width, height, filter(wit))
    }

    fn letterbox(
        &mut self,
        image: Resource<CountedImage>,
        width: u32,
        height: u32,
        fill: vision::Colour,
        wit: vision::Filter,
    ) -> wasmtime::Result<Result<(Resource<CountedImage>, Rect), Error>> {
        let mut bounds = None;
        let made = self.image("letterbox", |state, budget| {
            let image = state.table.get(&image)?;
            let (fill, filter) = (fill.into(), filter(wit).into());
            let boxed = hotshoe_vision::letterbox(image, width, height, fill, filter, budget)?;
            bounds = Some(Rect {
                x: boxed.left as f32,
                y: boxed.top as f32,
                width: boxed.width as f32,
                height: boxed.height as f32,
            });
            Ok(boxed.image)
        })?;
        let bounds = bounds.unwrap_or(Rect {
            x: 0.0,
            y: 0.0,
            width: 0.0,
            height: 0.0,
        });
        Ok(made.map(|image| (image, bounds)))
    }

    fn grey(&mut self, image: Resource<CountedImage>) -> MadeImage {
        self.image("grey", |state, budget| {
            Ok(hotshoe_vision::grey(state.table.get(&image)?, budget)?)
        })
    }

    fn crop(&mut self, image: Resource<CountedImage>, bounds: Rect) -> MadeImage {
        v0_1::vision::Host::crop(self, image, bounds)
    }

    fn rotate(&mut self, image: Resource<CountedImage>, rotation: vision::Rotation) -> MadeImage {
        let rotation = match rotation {
            vision::Rotation::Quarter => v0_1::vision::Rotation::Quarter,
            vision::Rotation::Half => v0_1::vision::Rotation::Half,
            vision::Rotation::ThreeQuarters => v0_1::vision::Rotation::ThreeQuarters,
        };
        v0_1::vision::Host::rotate(self, image, rotation)
    }

    fn warp(
        &mut self,
        image: Resource<CountedImage>,
        outline: Quad,
        width: u32,
        height: u32,
        wit: vision::Filter,
    ) -> MadeImage {
        v0_1::vision::Host::warp(self, image, outline, width, height, filter(wit))
    }

    fn normalise(
        &mut self,
        images: Vec<Resource<CountedImage>>,
        width: u32,
        height: u32,
        how: vision::Normalisation,
    ) -> MadeTensor {
        let how = v0_1::vision::Normalisation {
            layout: match how.layout {
                vision::Layout::Nchw => v0_1::vision::Layout::Nchw,
                vision::Layout::Nhwc => v0_1::vision::Layout::Nhwc,
            },
            channels: match how.channels {
                vision::Channels::Rgb => v0_1::vision::Channels::Rgb,
                vision::Channels::Bgr => v0_1::vision::Channels::Bgr,
            },
            scale: how.scale,
            mean: how.mean,
            std: how.std,
        };
        v0_1::vision::Host::normalise(self, images, width, height, how)
    }

    fn blur(
        &mut self,
        image: Resource<CountedImage>,
        regions: Vec<Rect>,
        radius: u32,
    ) -> MadeImage {
        v0_1::vision::Host::blur(self, image, regions, radius)
    }

    fn encode(
        &mut self,
        image: Resource<CountedImage>,
        format: vision::Format,
        quality: u8,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let format = match format {
            vision::Format::Jpeg => v0_1::vision::Format::Jpeg,
            vision::Format::Png => v0_1::vision::Format::Png,
        };
        v0_1::vision::Host::encode(self, image, format, quality)
    }
}

impl vision::HostImage for State {
    fn from_pixels(&mut self, width: u32, height: u32, pixels: Vec<u8>) -> MadeImage {
        v0_1::vision::HostImage::from_pixels(self, width, height, pixels)
    }

    fn width(&mut self, image: Resource<CountedImage>) -> wasmtime::Result<u32> {
        v0_1::vision::HostImage::width(self, image)
    }

    fn height(&mut self, image: Resource<CountedImage>) -> wasmtime::Result<u32> {
        v0_1::vision::HostImage::height(self, image)
    }

    fn pixels(&mut self, image: Resource<CountedImage>) -> wasmtime::Result<Vec<u8>> {
        v0_1::vision::HostImage::pixels(self, image)
    }

    fn drop(&mut self, image: Resource<CountedImage>) -> wasmtime::Result<()> {
        v0_1::vision::HostImage::drop(self, image)
    }
}
