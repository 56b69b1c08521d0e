#![forbid(unsafe_code)]
//! Finds faces with CenterFace, so that they can be blurred before a picture leaves the device.
//!
//! It has what its components need beside the model: the size of the input, boxes from the outputs, and the bytes in which the
//! postprocessor hands the blurred picture to the policy.

mod faces;
mod packet;

pub use faces::{Face, Heads, HeadsError, faces};
pub use packet::{CONTENT_TYPE, Packet, PacketError};

/// The model takes pictures whose sides are multiples of this.
const STEP: u32 = 32;

/// The size at which a picture goes into the model: its own, made smaller where its longer side is above `longest`, and rounded up to
/// what the model takes.
pub fn input_size(width: u32, height: u32, longest: u32) -> (u32, u32) {
    let longer = width.max(height).max(1);
    let scale = (f64::from(longest) / f64::from(longer)).min(1.0);
    let side = |pixels: u32| {
        let scaled = (f64::from(pixels) * scale).round().max(1.0) as u32;
        scaled.div_ceil(STEP) * STEP
    };
    (side(width), side(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_size_up_to_the_longest_side() {
        assert_eq!(input_size(512, 512, 1024), (512, 512));
        assert_eq!(input_size(600, 400, 1024), (608, 416));
        assert_eq!(input_size(2048, 1024, 1024), (1024, 512));
        assert_eq!(input_size(4000, 1, 1024), (1024, 32));
        assert_eq!(input_size(0, 0, 1024), (32, 32));
    }
}
