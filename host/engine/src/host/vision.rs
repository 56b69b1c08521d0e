use hotshoe_infer::Tensor;
use hotshoe_vision::{DecodeError, DecodeLimits, ErrorKind, Image, Normaliser, VisionError};
use wasmtime::component::Resource;

use super::{HeldImage, HeldTensor, State, error};
use crate::bindings::hotshoe::pipeline::types::{Error, ErrorCode, Quad, Rect};
use crate::bindings::hotshoe::pipeline::vision;
use crate::fault::chain;
use crate::sample::Sample;

/// Bytes that decoding takes for a pixel: the image's own 3, and up to 8 inside the decoder (16-bit RGBA).
const DECODED_PIXEL_BYTES: u64 = 11;
/// Bytes of a pixel of an image: 8-bit RGB.
const PIXEL_BYTES: u64 = 3;
/// Bytes that blurring an image takes for a pixel: the result's 3, and a region's own while it is blurred.
const BLURRED_PIXEL_BYTES: u64 = 6;
/// Bytes that making an image of another size takes for a pixel: its own 3, and 6 between the passes (16-bit RGB).
const SCALED_PIXEL_BYTES: u64 = 9;
/// Bytes of an element of a normalised tensor (f32), three a pixel.
const NORMALISED_PIXEL_BYTES: u64 = 12;

type MadeImage = wasmtime::Result<Result<Resource<HeldImage>, Error>>;

impl State {
    fn made_image(&mut self, image: Result<Image, VisionError>) -> MadeImage {
        match image {
            Ok(image) => {
                let bytes = image.byte_len();
                self.hold(image, bytes)
            }
            Err(cause) => Ok(Err(from_vision(&cause))),
        }
    }

    fn decoded(&mut self, image: Result<Image, DecodeError>) -> MadeImage {
        match image {
            Ok(image) => self.made_image(Ok(image)),
            Err(cause) => {
                self.meter_refused |= matches!(cause.kind(), ErrorKind::LimitExceeded);
                Ok(Err(error(code(cause.kind()), chain(&cause))))
            }
        }
    }

    /// No picture is decoded that the component could not hold.
    fn decode_limits(&self) -> DecodeLimits {
        let defaults = DecodeLimits::default();
        DecodeLimits {
            max_pixels: defaults
                .max_pixels
                .min(self.meter.left() / DECODED_PIXEL_BYTES),
        }
    }

    /// Refuses what could not be held before the work of making it.
    fn room_for(&mut self, width: u32, height: u32, pixel_bytes: u64) -> Result<(), Error> {
        let bytes = u64::from(width)
            .saturating_mul(u64::from(height))
            .saturating_mul(pixel_bytes);
        self.room(1, usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

impl vision::Host for State {
    fn decode(&mut self, sample: Resource<Sample>) -> MadeImage {
        let limits = self.decode_limits();
        let image = hotshoe_vision::decode(&self.table.get(&sample)?.payload, &limits);
        self.decoded(image)
    }

    fn decode_bytes(&mut self, bytes: Vec<u8>) -> MadeImage {
        let limits = self.decode_limits();
        self.decoded(hotshoe_vision::decode(&bytes, &limits))
    }

    fn resize(
        &mut self,
        image: Resource<HeldImage>,
        width: u32,
        height: u32,
        filter: vision::Filter,
    ) -> MadeImage {
        if let Err(error) = self.room_for(width, height, SCALED_PIXEL_BYTES) {
            return Ok(Err(error));
        }
        let image = hotshoe_vision::resize(self.table.get(&image)?, width, height, filter.into());
        self.made_image(image)
    }

    fn crop(&mut self, image: Resource<HeldImage>, bounds: Rect) -> MadeImage {
        let image = hotshoe_vision::crop(
            self.table.get(&image)?,
            bounds.x,
            bounds.y,
            bounds.width,
            bounds.height,
        );
        self.made_image(image)
    }

    fn rotate(&mut self, image: Resource<HeldImage>, rotation: vision::Rotation) -> MadeImage {
        let rotation = match rotation {
            vision::Rotation::Quarter => hotshoe_vision::Rotation::Quarter,
            vision::Rotation::Half => hotshoe_vision::Rotation::Half,
            vision::Rotation::ThreeQuarters => hotshoe_vision::Rotation::ThreeQuarters,
        };
        let (width, height) = {
            let image = self.table.get(&image)?;
            (image.width(), image.height())
        };
        if let Err(error) = self.room_for(width, height, PIXEL_BYTES) {
            return Ok(Err(error));
        }
        let image = hotshoe_vision::rotate(self.table.get(&image)?, rotation);
        self.made_image(image)
    }

    fn warp(
        &mut self,
        image: Resource<HeldImage>,
        (a, b, c, d): Quad,
        width: u32,
        height: u32,
        filter: vision::Filter,
    ) -> MadeImage {
        if let Err(error) = self.room_for(width, height, SCALED_PIXEL_BYTES) {
            return Ok(Err(error));
        }
        let quad = [[a.x, a.y], [b.x, b.y], [c.x, c.y], [d.x, d.y]];
        let image =
            hotshoe_vision::warp(self.table.get(&image)?, quad, width, height, filter.into());
        self.made_image(image)
    }

    fn normalise(
        &mut self,
        images: Vec<Resource<HeldImage>>,
        width: u32,
        height: u32,
        how: vision::Normalisation,
    ) -> wasmtime::Result<Result<Resource<HeldTensor>, Error>> {
        let count = images.len() as u64;
        if let Err(error) =
            self.room_for(width, height, count.saturating_mul(NORMALISED_PIXEL_BYTES))
        {
            return Ok(Err(error));
        }
        let images: Vec<&Image> = images
            .iter()
            .map(|image| Ok(&**self.table.get(image)?))
            .collect::<wasmtime::Result<_>>()?;
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
        let normaliser = match Normaliser::new(&images, width, height, &how) {
            Ok(normaliser) => normaliser,
            Err(cause) => return Ok(Err(from_vision(&cause))),
        };
        // Straight into the memory that the model will read.
        let write = |elements: &mut [f32]| normaliser.write(elements);
        match Tensor::write_f32(&normaliser.shape(), write) {
            Ok(tensor) => self.hold_tensor(tensor),
            Err(cause) => Ok(Err(error(ErrorCode::Internal, cause))),
        }
    }

    fn blur(&mut self, image: Resource<HeldImage>, regions: Vec<Rect>, radius: u32) -> MadeImage {
        let (width, height) = {
            let image = self.table.get(&image)?;
            (image.width(), image.height())
        };
        if let Err(error) = self.room_for(width, height, BLURRED_PIXEL_BYTES) {
            return Ok(Err(error));
        }
        let regions: Vec<_> = regions
            .iter()
            .map(|region| hotshoe_vision::Region {
                x: region.x,
                y: region.y,
                width: region.width,
                height: region.height,
            })
            .collect();
        let image = hotshoe_vision::blur(self.table.get(&image)?, &regions, radius);
        self.made_image(image)
    }

    fn encode(
        &mut self,
        image: Resource<HeldImage>,
        format: vision::Format,
        quality: u8,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let format = match format {
            vision::Format::Jpeg => hotshoe_vision::Format::Jpeg,
            vision::Format::Png => hotshoe_vision::Format::Png,
        };
        let encoded = hotshoe_vision::encode(self.table.get(&image)?, format, quality);
        Ok(encoded.map_err(|cause| from_vision(&cause)))
    }
}

impl vision::HostImage for State {
    fn from_pixels(&mut self, width: u32, height: u32, pixels: Vec<u8>) -> MadeImage {
        self.made_image(Image::from_rgb(width, height, pixels))
    }

    fn width(&mut self, image: Resource<HeldImage>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&image)?.width())
    }

    fn height(&mut self, image: Resource<HeldImage>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&image)?.height())
    }

    fn pixels(&mut self, image: Resource<HeldImage>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table.get(&image)?.pixels().to_vec())
    }

    fn drop(&mut self, image: Resource<HeldImage>) -> wasmtime::Result<()> {
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

fn from_vision(cause: &VisionError) -> Error {
    error(code(cause.kind()), chain(cause))
}

const fn code(kind: ErrorKind) -> ErrorCode {
    match kind {
        ErrorKind::InvalidInput => ErrorCode::InvalidInput,
        ErrorKind::Unsupported => ErrorCode::Unsupported,
        ErrorKind::LimitExceeded => ErrorCode::LimitExceeded,
        ErrorKind::Internal => ErrorCode::Internal,
    }
}
