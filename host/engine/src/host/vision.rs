//! `vision`. Every operation runs in [`State::native`], within the rest of `tensor-mib` and of the deadline.

use std::time::Instant;

use hotshoe_base::chain;
use hotshoe_infer::{Tensor, TensorError};
use hotshoe_vision::{
    Budget, BudgetError, DecodeError, DecodeLimits, ErrorKind, Image, MAX_PIXELS, Normaliser,
    VisionError,
};
use wasmtime::component::Resource;

use super::bindings::hotshoe::pipeline::types::{Error, ErrorCode, Quad, Rect};
use super::bindings::hotshoe::pipeline::vision;
use super::{CountedImage, CountedTensor, State, error};
use crate::call_end::CallEnd;
use crate::sample::Sample;

/// Bytes of a pixel of an image: 8-bit RGB.
const PIXEL_BYTES: u64 = 3;

pub(super) type MadeImage = wasmtime::Result<Result<Resource<CountedImage>, Error>>;

/// Why a native operation failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NativeError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Vision(#[from] VisionError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Handle(#[from] wasmtime::component::ResourceTableError),
}

impl From<BudgetError> for NativeError {
    fn from(error: BudgetError) -> Self {
        Self::Vision(error.into())
    }
}

impl NativeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Decode(error) => error.kind(),
            Self::Vision(error) => error.kind(),
            Self::Tensor(_) | Self::Handle(_) => ErrorKind::Internal,
        }
    }

    /// Whether it exceeded the component's own limit, and not one of all pictures.
    fn is_over_budget(&self) -> bool {
        let memory = |error: &BudgetError| matches!(error.kind(), ErrorKind::LimitExceeded);
        match self {
            Self::Decode(DecodeError::Budget(error)) | Self::Vision(VisionError::Budget(error)) => {
                memory(error)
            }
            Self::Decode(DecodeError::TooLarge { .. }) => true,
            _ => false,
        }
    }

    /// Whether the picture is larger than any may be, so that no key would help.
    const fn is_over_every_limit(&self) -> bool {
        matches!(self, Self::Decode(DecodeError::TooLarge { limit, .. }) if *limit >= MAX_PIXELS)
    }
}

impl State {
    /// Runs an operation within the remaining memory budget and until the deadline, which ends the call.
    pub(super) fn native<T>(
        &mut self,
        operation: &'static str,
        run: impl FnOnce(&Self, &Budget<'_>) -> Result<T, NativeError>,
    ) -> wasmtime::Result<Result<T, Error>> {
        let deadline = self.deadline;
        let is_over = || Instant::now() >= deadline;
        let budget = Budget::new(self.tensor_budget.left(), &is_over);
        let result = run(self, &budget);
        self.tensor_budget.note(budget.peak_bytes());
        let cause = match result {
            Ok(made) => return Ok(Ok(made)),
            Err(NativeError::Handle(cause)) => return Err(cause.into()),
            Err(cause) => cause,
        };
        let over_budget = cause.is_over_budget();
        self.tensor_refused |= over_budget;
        let code = match cause.kind() {
            ErrorKind::InvalidInput => ErrorCode::InvalidInput,
            ErrorKind::Unsupported => ErrorCode::Unsupported,
            ErrorKind::LimitExceeded => ErrorCode::LimitExceeded,
            ErrorKind::DeadlineExceeded => return Err(CallEnd::NativeDeadline { operation }.into()),
            ErrorKind::Internal => ErrorCode::Internal,
        };
        let mut message = chain(&cause);
        if over_budget && !cause.is_over_every_limit() {
            let name = self.services.name();
            message += &format!(
                "; raise `tensor-mib` in `limits` under [components.{name}] in release.toml, and in [limits] of hotshoe.toml where that is lower"
            );
        }
        Ok(Err(error(code, message)))
    }

    /// As [`Self::native`], for an operation that creates an image.
    pub(super) fn image(
        &mut self,
        operation: &'static str,
        run: impl FnOnce(&Self, &Budget<'_>) -> Result<Image, NativeError>,
    ) -> MadeImage {
        if let Err(error) = self.check_budget(1, 0) {
            return Ok(Err(error));
        }
        match self.native(operation, run)? {
            Ok(image) => {
                let bytes = image.byte_len();
                self.hold(image, bytes)
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Decode limits, so that no picture is decoded beyond the budget of the component.
    pub(super) fn decode_limits(&self) -> DecodeLimits {
        let defaults = DecodeLimits::default();
        let max_pixels = self.tensor_budget.left() / PIXEL_BYTES;
        DecodeLimits {
            max_pixels: defaults.max_pixels.min(max_pixels),
        }
    }
}

impl vision::Host for State {
    fn decode(&mut self, sample: Resource<Sample>) -> MadeImage {
        let limits = self.decode_limits();
        self.image("decode", |state, budget| {
            let payload = &state.table.get(&sample)?.payload;
            Ok(hotshoe_vision::decode(payload, &limits, budget)?)
        })
    }

    fn decode_bytes(&mut self, bytes: Vec<u8>) -> MadeImage {
        let limits = self.decode_limits();
        self.image("decode-bytes", |_, budget| {
            Ok(hotshoe_vision::decode(&bytes, &limits, budget)?)
        })
    }

    fn resize(
        &mut self,
        image: Resource<CountedImage>,
        width: u32,
        height: u32,
        filter: vision::Filter,
    ) -> MadeImage {
        self.image("resize", |state, budget| {
            let image = state.table.get(&image)?;
            let filter = filter.into();
            Ok(hotshoe_vision::resize(
                image, width, height, filter, budget,
            )?)
        })
    }

    fn crop(&mut self, image: Resource<CountedImage>, bounds: Rect) -> MadeImage {
        self.image("crop", |state, budget| {
            let image = state.table.get(&image)?;
            let Rect {
                x,
                y,
                width,
                height,
            } = bounds;
            Ok(hotshoe_vision::crop(image, x, y, width, height, budget)?)
        })
    }

    fn rotate(&mut self, image: Resource<CountedImage>, rotation: vision::Rotation) -> MadeImage {
        let rotation = match rotation {
            vision::Rotation::Quarter => hotshoe_vision::Rotation::Quarter,
            vision::Rotation::Half => hotshoe_vision::Rotation::Half,
            vision::Rotation::ThreeQuarters => hotshoe_vision::Rotation::ThreeQuarters,
        };
        self.image("rotate", |state, budget| {
            let image = state.table.get(&image)?;
            Ok(hotshoe_vision::rotate(image, rotation, budget)?)
        })
    }

    fn warp(
        &mut self,
        image: Resource<CountedImage>,
        (a, b, c, d): Quad,
        width: u32,
        height: u32,
        filter: vision::Filter,
    ) -> MadeImage {
        let quad = [[a.x, a.y], [b.x, b.y], [c.x, c.y], [d.x, d.y]];
        self.image("warp", |state, budget| {
            let image = state.table.get(&image)?;
            let filter = filter.into();
            Ok(hotshoe_vision::warp(
                image, quad, width, height, filter, budget,
            )?)
        })
    }

    fn normalise(
        &mut self,
        images: Vec<Resource<CountedImage>>,
        width: u32,
        height: u32,
        how: vision::Normalisation,
    ) -> wasmtime::Result<Result<Resource<CountedTensor>, Error>> {
        let how = hotshoe_vision::Normalisation {
            layout: match how.layout {
                vision::Layout::Nchw => hotshoe_vision::Layout::Nchw,
                vision::Layout::Nhwc => hotshoe_vision::Layout::Nhwc,
            },
            channels: match how.channels {
                vision::Channels::Rgb => hotshoe_vision::Channels::Rgb,
                vision::Channels::Bgr => hotshoe_vision::Channels::Bgr,
            },
            scale: how.scale,
            mean: [how.mean.0, how.mean.1, how.mean.2],
            std: [how.std.0, how.std.1, how.std.2],
        };
        if let Err(error) = self.check_budget(1, 0) {
            return Ok(Err(error));
        }
        let tensor = self.native("normalise", |state, budget| {
            let _list = budget.claim(size_of_val(images.as_slice()) as u64)?;
            let images: Vec<&Image> = images
                .iter()
                .map(|image| Ok(&**state.table.get(image)?))
                .collect::<Result<_, NativeError>>()?;
            let normaliser = Normaliser::new(&images, width, height, &how)?;
            let _elements = budget.claim(normaliser.byte_len())?;
            // Written directly into the memory that the model reads.
            let mut written = Ok(());
            let tensor = Tensor::write_f32(&normaliser.shape(), |elements| {
                written = normaliser.write(elements, budget);
            })?;
            written?;
            Ok(tensor)
        })?;
        match tensor {
            Ok(tensor) => self.hold_tensor(tensor),
            Err(error) => Ok(Err(error)),
        }
    }

    fn blur(
        &mut self,
        image: Resource<CountedImage>,
        regions: Vec<Rect>,
        radius: u32,
    ) -> MadeImage {
        self.image("blur", |state, budget| {
            let _list = budget.claim(size_of_val(regions.as_slice()) as u64)?;
            let regions: Vec<_> = regions
                .iter()
                .map(|region| hotshoe_vision::Region {
                    x: region.x,
                    y: region.y,
                    width: region.width,
                    height: region.height,
                })
                .collect();
            let image = state.table.get(&image)?;
            Ok(hotshoe_vision::blur(image, &regions, radius, budget)?)
        })
    }

    fn encode(
        &mut self,
        image: Resource<CountedImage>,
        format: vision::Format,
        quality: u8,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let format = match format {
            vision::Format::Jpeg => hotshoe_vision::Format::Jpeg,
            vision::Format::Png => hotshoe_vision::Format::Png,
        };
        self.native("encode", |state, budget| {
            let image = state.table.get(&image)?;
            Ok(hotshoe_vision::encode(image, format, quality, budget)?)
        })
    }
}

impl vision::HostImage for State {
    fn from_pixels(&mut self, width: u32, height: u32, pixels: Vec<u8>) -> MadeImage {
        self.image("from-pixels", |_, budget| {
            // The pixels already exist; the budget is checked before they become an image.
            let _pixels = budget.claim(pixels.len() as u64)?;
            Ok(Image::from_rgb(width, height, pixels)?)
        })
    }

    fn width(&mut self, image: Resource<CountedImage>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&image)?.width())
    }

    fn height(&mut self, image: Resource<CountedImage>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&image)?.height())
    }

    fn pixels(&mut self, image: Resource<CountedImage>) -> wasmtime::Result<Vec<u8>> {
        let pixels = self.table.get(&image)?.pixels();
        // The list is copied once on the host before it is copied into the component.
        let fits = self.tensor_budget.check(0, pixels.len() as u64);
        fits.map_err(CallEnd::Tensors)?;
        Ok(pixels.to_vec())
    }

    fn drop(&mut self, image: Resource<CountedImage>) -> wasmtime::Result<()> {
        self.table.delete(image)?;
        Ok(())
    }
}

impl From<vision::Filter> for hotshoe_vision::Filter {
    fn from(filter: vision::Filter) -> Self {
        match filter {
            vision::Filter::Nearest => Self::Nearest,
            vision::Filter::Bilinear => Self::Bilinear,
            vision::Filter::Bicubic => Self::Bicubic,
            vision::Filter::Area => Self::Area,
        }
    }
}
