//! The samples inside a WAV file: RIFF chunks, of which `fmt ` says what kind of sound it is and `data` holds it (Multimedia
//! Programming Interface and Data Specifications 1.0, 1991).

use crate::{BlockError, RATE};

/// Plain integers.
const PCM: u16 = 1;
/// A chunk's name and its length.
const HEADER: usize = 8;

/// The bytes of the samples, which are of the one kind that is handled.
pub(crate) fn samples(file: &[u8]) -> Result<&[u8], BlockError> {
    let damaged = |why| Err(BlockError::Damaged(why));
    let Some((b"RIFF", rest)) = file.split_first_chunk() else {
        return damaged("it does not begin with RIFF");
    };
    let Some((b"WAVE", mut rest)) = rest.get(4..).and_then(<[u8]>::split_first_chunk) else {
        return damaged("its RIFF is of another type than WAVE");
    };
    let mut checked = false;
    while let Some((name, body, after)) = chunk(rest) {
        match name {
            b"fmt " => {
                check(body)?;
                checked = true;
            }
            b"data" if checked => return Ok(body),
            b"data" => return damaged("`fmt ` is missing before its `data`"),
            _ => {}
        }
        rest = after;
    }
    damaged("its `data` is missing or truncated")
}

/// A chunk's name and content, and what follows it; none if it is cut off.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (name, after) = bytes.split_first_chunk::<4>()?;
    let (length, _) = after.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let end = HEADER.checked_add(length)?;
    let body = bytes.get(HEADER..end)?;
    // Chunks begin at even places.
    let next = bytes.get(end + length % 2..).unwrap_or_default();
    Some((name, body, next))
}

fn check(description: &[u8]) -> Result<(), BlockError> {
    let short = |at: usize| {
        let bytes = description
            .get(at..)
            .and_then(<[u8]>::first_chunk::<2>)
            .ok_or(BlockError::Damaged("its `fmt ` is cut off"))?;
        Ok(u16::from_le_bytes(*bytes))
    };
    let (format, channels, bits) = (short(0)?, short(2)?, short(14)?);
    let rate = u32::from(short(6)?) << 16 | u32::from(short(4)?);
    if (format, channels, rate, bits) == (PCM, 1, RATE, 16) {
        return Ok(());
    }
    Err(BlockError::Kind {
        format,
        channels,
        rate,
        bits,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn file(rate: u32, between: &[u8], data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        file.extend(rate.to_le_bytes());
        file.extend((rate * 2).to_le_bytes());
        file.extend([2, 0, 16, 0]);
        file.extend(between);
        file.extend(b"data");
        file.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn the_samples_are_found_behind_other_chunks() {
        let odd = b"LIST\x03\0\0\0abc\0";
        assert_eq!(
            samples(&file(RATE, odd, &[1, 2, 3, 4])).unwrap(),
            [1, 2, 3, 4]
        );
        assert_eq!(samples(&file(RATE, &[], &[])).unwrap(), []);
    }

    #[test]
    fn other_sound_and_damage_are_told_apart() {
        let whole = file(RATE, &[], &[1, 2, 3, 4]);
        for end in 0..whole.len() {
            let found = samples(&whole[..end]);
            assert!(matches!(found, Err(BlockError::Damaged(_))), "{end}");
        }
        let other = samples(&file(44_100, &[], &[])).unwrap_err();
        assert!(other.to_string().contains("44100 times"), "{other}");
    }
}
