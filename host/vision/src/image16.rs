//! Pictures of 16-bit values.

/// A picture of 16-bit values: rows from the top, no padding. What the values mean is up to the camera: millimetres, for most depth cameras.
#[derive(Clone, PartialEq, Eq)]
pub struct Image16 {
    width: u32,
    height: u32,
    channels: usize,
    bytes: Vec<u8>,
}

impl Image16 {
    /// `bytes` are big-endian.
    pub(crate) const fn new(width: u32, height: u32, channels: usize, bytes: Vec<u8>) -> Self {
        Self {
            width,
            height,
            channels,
            bytes,
        }
    }

    /// Pixels, at least 1.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Pixels, at least 1.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Values of a pixel: 1 for grey and depth, 3 for RGB.
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// Bytes of memory that the values take.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// All values, row by row from the top, `height x width x channels`.
    pub fn values(&self) -> impl ExactSizeIterator<Item = u16> {
        let values = self.bytes.as_chunks::<2>().0.iter();
        values.map(|&value| u16::from_be_bytes(value))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl std::fmt::Debug for Image16 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (width, height, channels) = (self.width, self.height, self.channels);
        write!(f, "Image16({width} x {height} x {channels})")
    }
}
