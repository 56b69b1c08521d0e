//! The bytes that the postprocessor hands to the policy: the number of faces in four bytes, little-endian, and then the blurred picture as a JPEG file.

use thiserror::Error;

/// The media type of the custom insight.
pub const CONTENT_TYPE: &str = "application/x-hotshoe-blurred-picture";

/// Bytes that are not a packet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{found} bytes are not a packet: a packet is a number of four bytes, then a JPEG file")]
pub struct PacketError {
    /// Their number.
    pub found: usize,
}

/// A blurred picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Faces that were blurred.
    pub faces: u32,
    /// A JPEG file.
    pub picture: Vec<u8>,
}

impl Packet {
    /// The packet as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.faces.to_le_bytes().as_slice(), &self.picture].concat()
    }

    /// # Errors
    /// [`PacketError`] if the number, or the JPEG file after it, is missing.
    pub fn parse(bytes: &[u8]) -> Result<Self, PacketError> {
        match bytes.split_first_chunk() {
            // Every JPEG file begins so.
            Some((faces, picture)) if picture.starts_with(&[0xff, 0xd8]) => Ok(Self {
                faces: u32::from_le_bytes(*faces),
                picture: picture.to_vec(),
            }),
            _ => Err(PacketError { found: bytes.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_packet_is_refused() {
        for bytes in [&[] as &[u8], &[1, 0, 0], &[1, 0, 0, 0], &[1, 0, 0, 0, 0xff]] {
            let found = bytes.len();
            assert_eq!(Packet::parse(bytes), Err(PacketError { found }));
        }
    }

    proptest! {
        #[test]
        fn it_arrives_as_it_left(faces: u32, mut picture: Vec<u8>) {
            picture.splice(0..0, [0xff, 0xd8]);
            let packet = Packet { faces, picture };
            prop_assert_eq!(Packet::parse(&packet.to_bytes()).unwrap(), packet);
        }
    }
}
