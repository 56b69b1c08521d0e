//! One entry of a segment: a fixed head, the names of source and class, and a body.

use crate::record::{LossCause, Priority};

/// Bytes of a frame before its names.
pub(crate) const FIXED_BYTES: usize = 32;
/// Most bytes of a body: its length has 24 bits.
pub(crate) const MAX_BODY_BYTES: usize = (1 << 24) - 1;
/// The first two bytes of a frame.
const MAGIC: [u8; 2] = [0xe5, 0x0b];
/// Bytes of the magic and the checksum, which the checksum does not cover.
const UNCHECKED: usize = 6;
/// Bytes of the body of a loss: its end, count, bytes and cause.
const LOSS_BODY_BYTES: usize = 6 + 8 + 8 + 1;
/// Bytes of the body of an acknowledgement: its end.
const ACK_BODY_BYTES: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Loss,
    Ack,
    /// The next sequence of a source, at the beginning of a segment.
    Next,
    /// Data whose body is sealed.
    Sealed,
}

impl Kind {
    /// Whether the frame is a record.
    pub(crate) const fn is_data(self) -> bool {
        matches!(self, Self::Data | Self::Sealed)
    }
}

/// A frame of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) priority: Priority,
    pub(crate) epoch: u16,
    pub(crate) sequence: u64,
    /// The age of the log when the frame was accepted, in milliseconds.
    pub(crate) age_ms: u64,
    /// The time of day then, in milliseconds since 1970.
    pub(crate) wall_ms: u64,
    pub(crate) source: &'a str,
    pub(crate) class: &'a str,
    pub(crate) body: &'a [u8],
}

/// What the body of a loss says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LossBody {
    pub(crate) to: u64,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    pub(crate) cause: LossCause,
}

/// Bytes of a frame of data.
pub(crate) fn size(source: &str, class: &str, body: usize) -> usize {
    FIXED_BYTES + source.len() + class.len() + body
}

impl<'a> Frame<'a> {
    /// Appends the frame. `key` is what its checksum begins with: without it, a payload cannot contain a valid frame.
    pub(crate) fn write(&self, key: u32, out: &mut Vec<u8>) {
        let start = out.len();
        let mut head = [0; FIXED_BYTES];
        let fields: [(usize, &[u8]); 9] = [
            (0, &MAGIC),
            (6, &[((self.kind as u8) << 4) | self.priority as u8]),
            (7, &self.epoch.to_le_bytes()),
            (9, &low::<3>(self.body.len() as u64)),
            (12, &low::<6>(self.sequence)),
            (18, &low::<6>(self.age_ms)),
            (24, &low::<6>(self.wall_ms)),
            // The names were checked when the record came.
            (30, &low::<1>(self.source.len() as u64)),
            (31, &low::<1>(self.class.len() as u64)),
        ];
        for (at, bytes) in fields {
            if let Some(place) = head.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        out.extend_from_slice(&head);
        out.extend_from_slice(self.source.as_bytes());
        out.extend_from_slice(self.class.as_bytes());
        out.extend_from_slice(self.body);
        let sum = checksum(key, out.get(start + UNCHECKED..).unwrap_or_default());
        if let Some(place) = out.get_mut(start + 2..start + UNCHECKED) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
    }

    /// The length of the frame that may begin here, if its head makes sense and all of it is there. Its checksum is not looked at.
    pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
        let head = bytes.get(..FIXED_BYTES)?;
        let (source, class) = (*head.get(30)?, *head.get(31)?);
        let makes_sense = head.starts_with(&MAGIC) && parts(*head.get(6)?).is_some() && source > 0;
        let length = FIXED_BYTES + usize::from(source) + usize::from(class) + body_length(head)?;
        (makes_sense && length <= bytes.len()).then_some(length)
    }

    /// The source and the sequence that a whole frame of data has, unchecked.
    pub(crate) fn claimed(bytes: &[u8]) -> Option<(&str, u64)> {
        let (kind, _) = parts(*bytes.get(6)?)?;
        let source = usize::from(*bytes.get(30)?);
        let name = bytes.get(FIXED_BYTES..FIXED_BYTES + source)?;
        let is_data = kind.is_data();
        is_data.then_some((str::from_utf8(name).ok()?, number(bytes.get(12..18)?)))
    }

    /// Reads the frame that begins here, with its length.
    pub(crate) fn read(bytes: &'a [u8], key: u32) -> Option<(Self, usize)> {
        let length = Self::length(bytes)?;
        let whole = bytes.get(..length)?;
        let sum = u32::from_le_bytes(whole.get(2..UNCHECKED)?.try_into().ok()?);
        if checksum(key, whole.get(UNCHECKED..)?) != sum {
            return None;
        }
        let (kind, priority) = parts(*whole.get(6)?)?;
        let (source, class) = (*whole.get(30)?, *whole.get(31)?);
        let (source, rest) = whole
            .get(FIXED_BYTES..)?
            .split_at_checked(usize::from(source))?;
        let (class, body) = rest.split_at_checked(usize::from(class))?;
        let frame = Self {
            kind,
            priority,
            epoch: u16::from_le_bytes(whole.get(7..9)?.try_into().ok()?),
            sequence: number(whole.get(12..18)?),
            age_ms: number(whole.get(18..24)?),
            wall_ms: number(whole.get(24..30)?),
            source: str::from_utf8(source).ok()?,
            class: str::from_utf8(class).ok()?,
            body,
        };
        let is_right = match kind {
            Kind::Data | Kind::Sealed | Kind::Next => true,
            Kind::Loss => frame.loss().is_some_and(|it| frame.is_range(it.to)),
            Kind::Ack => frame.acknowledged().is_some_and(|to| frame.is_range(to)),
        };
        (is_right && frame.sequence > 0).then_some((frame, length))
    }

    fn is_range(&self, to: u64) -> bool {
        to >= self.sequence
    }

    /// The body of a loss.
    pub(crate) fn loss(&self) -> Option<LossBody> {
        let body: &[u8; LOSS_BODY_BYTES] = self.body.try_into().ok()?;
        let (to, rest) = body.split_at_checked(6)?;
        let (count, rest) = rest.split_at_checked(8)?;
        let (bytes, cause) = rest.split_at_checked(8)?;
        Some(LossBody {
            to: number(to),
            count: number(count),
            bytes: number(bytes),
            cause: *LossCause::ALL.get(usize::from(*cause.first()?))?,
        })
    }

    /// The end of the range of an acknowledgement.
    pub(crate) fn acknowledged(&self) -> Option<u64> {
        (self.body.len() == ACK_BODY_BYTES).then(|| number(self.body))
    }
}

impl LossBody {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = low::<6>(self.to).to_vec();
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(self.bytes.to_le_bytes());
        bytes.push(self.cause as u8);
        bytes
    }
}

/// The body of an acknowledgement up to `to`.
pub(crate) fn ack_body(to: u64) -> [u8; ACK_BODY_BYTES] {
    low(to)
}

/// The checksum of `bytes`, begun with the key.
pub(crate) fn checksum(key: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(key);
    hasher.update(bytes);
    hasher.finalize()
}

fn body_length(head: &[u8]) -> Option<usize> {
    usize::try_from(number(head.get(9..12)?)).ok()
}

/// The kind and the priority in one byte.
fn parts(byte: u8) -> Option<(Kind, Priority)> {
    let kind = match byte >> 4 {
        0 => Kind::Data,
        1 => Kind::Loss,
        2 => Kind::Ack,
        3 => Kind::Next,
        4 => Kind::Sealed,
        _ => return None,
    };
    Some((kind, *Priority::ALL.get(usize::from(byte & 0xf))?))
}

/// The low bytes of a number, the lowest first. 48 bits of milliseconds end in the year 10889.
fn low<const N: usize>(number: u64) -> [u8; N] {
    let all = number.to_le_bytes();
    std::array::from_fn(|at| all.get(at).copied().unwrap_or_default())
}

/// The number of at most eight bytes, the lowest first.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    fn frame(body: &[u8]) -> Frame<'_> {
        Frame {
            kind: Kind::Data,
            priority: Priority::High,
            epoch: 7,
            sequence: 0x0102_0304_0506,
            age_ms: 99,
            wall_ms: 1_764_000_000_000,
            source: "camera",
            class: "insight",
            body,
        }
    }

    #[test]
    fn a_frame_of_a_512_byte_payload_is_read_as_written_and_takes_less_than_a_tenth_more() {
        let (payload, mut out) = ([5; 512], vec![1, 2, 3]);
        frame(&payload).write(8, &mut out);
        let bytes = &out[3..];
        // 32 + 6 + 7.
        assert_eq!(bytes.len(), 512 + 45);
        assert_eq!(bytes.len(), size("camera", "insight", 512));
        assert_eq!(Frame::read(bytes, 8), Some((frame(&payload), bytes.len())));
        assert_eq!(Frame::read(bytes, 9), None);
        assert_eq!(Frame::read(&bytes[..bytes.len() - 1], 8), None);
    }

    #[test]
    fn no_flipped_bit_passes() {
        let mut bytes = Vec::new();
        frame(b"abc").write(0, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::read(&bytes, 0), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn losses_and_acknowledgements_keep_their_ranges_and_one_that_ends_before_it_begins_is_none() {
        let loss = LossBody {
            to: 20,
            count: 3,
            bytes: 1 << 40,
            cause: LossCause::QueueFull,
        };
        let body = loss.to_bytes();
        let of = |kind, sequence, body| Frame {
            kind,
            sequence,
            ..frame(body)
        };
        let read = |frame: Frame<'_>| {
            let mut bytes = Vec::new();
            frame.write(0, &mut bytes);
            Frame::read(&bytes, 0).map(|(frame, _)| (frame.loss(), frame.acknowledged()))
        };
        assert_eq!(read(of(Kind::Loss, 20, &body)), Some((Some(loss), None)));
        assert_eq!(read(of(Kind::Loss, 21, &body)), None);
        let body = ack_body(9);
        assert_eq!(read(of(Kind::Ack, 9, &body)), Some((None, Some(9))));
        assert_eq!(read(of(Kind::Ack, 10, &body)), None);
        assert_eq!(read(of(Kind::Ack, 0, &body)), None);
    }
}
