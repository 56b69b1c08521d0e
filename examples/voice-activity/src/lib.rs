#![forbid(unsafe_code)]
//! Tells speech from everything else, 32 milliseconds at a time, with silero-vad.
//!
//! This is what its components need beside the model: the samples of a sound block as the model takes them. The model carries a state from block
//! to block, which the host keeps for each source, so that nothing here remembers anything.

mod wav;

/// Samples a second. The model knows 8,000 too, with blocks of half the size; this example does not.
pub const RATE: u32 = 16_000;
/// New samples in a block: 32 ms.
pub const WINDOW: usize = 512;
/// Samples of the block before, repeated at the beginning of a block: 4 ms. The model was trained with them, and hears the start of a
/// word worse without them.
pub const CONTEXT: usize = 64;
/// Samples in a block.
pub const BLOCK: usize = CONTEXT + WINDOW;
/// Sixteen-bit samples run from minus this to just below this.
const FULL_SCALE: f32 = 32_768.0;

/// A block that does not fit the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It is of another media type.
    #[error(
        "{found:?} is not a supported media type; send audio/wav, or audio/pcm;rate={RATE} (16 bits, little-endian, one channel)"
    )]
    ContentType {
        /// What the sample says it is.
        found: String,
    },
    /// Plain samples at another rate, or at none.
    #[error(
        "{found:?} does not say that there are {RATE} samples a second; send audio/pcm;rate={RATE}, and resample what was recorded otherwise"
    )]
    Rate {
        /// What the sample says it is.
        found: String,
    },
    /// A WAV file that is cut off or not one.
    #[error("it is not a complete WAV file: {0}")]
    Damaged(&'static str),
    /// A WAV file of another kind of sound.
    #[error(
        "the WAV file has {channels} channels of {bits} bits in format {format}, {rate} times a second; one channel of 16 bits, format 1, {RATE} times a second is handled"
    )]
    Kind {
        /// 1 is plain integers.
        format: u16,
        /// How many.
        channels: u16,
        /// Samples a second.
        rate: u32,
        /// Of one sample of one channel.
        bits: u16,
    },
    /// Too short or too long.
    #[error(
        "a block has {BLOCK} samples, the last {CONTEXT} of the block before (at first, zeros) and {WINDOW} new ones; this one has {found} bytes of them"
    )]
    Length {
        /// Bytes of samples in the block.
        found: usize,
    },
}

/// The samples of one block, from -1 to 1.
///
/// # Errors
/// [`BlockError`]: not a supported media type, another sample format, or another length.
pub fn samples(content_type: &str, payload: &[u8]) -> Result<Vec<f32>, BlockError> {
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let plain = match kind.as_str() {
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => wav::samples(payload)?,
        "audio/pcm" => {
            let rate = format!("rate={RATE}");
            if !parts.any(|parameter| parameter.eq_ignore_ascii_case(&rate)) {
                return Err(BlockError::Rate {
                    found: content_type.to_owned(),
                });
            }
            payload
        }
        _ => {
            return Err(BlockError::ContentType {
                found: content_type.to_owned(),
            });
        }
    };
    let (samples, rest) = plain.as_chunks::<2>();
    if samples.len() != BLOCK || !rest.is_empty() {
        return Err(BlockError::Length { found: plain.len() });
    }
    Ok(samples
        .iter()
        .map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / FULL_SCALE)
        .collect())
}

/// A recording cut into blocks, each with the end of the one before. What does not fill a block at the end is left out.
pub fn blocks(recording: &[i16]) -> Vec<Vec<i16>> {
    let mut padded = vec![0; CONTEXT];
    padded.extend_from_slice(recording);
    padded
        .windows(BLOCK)
        .step_by(WINDOW)
        .map(<[i16]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    const PCM: &str = "audio/pcm;rate=16000";

    fn bytes(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|s| s.to_le_bytes()).collect()
    }

    #[test]
    fn plain_samples_run_from_minus_one_to_one() {
        let mut block = vec![0; BLOCK];
        (block[0], block[1]) = (i16::MIN, i16::MAX);
        let found = samples("audio/PCM; rate=16000", &bytes(&block)).unwrap();
        assert_eq!(found.len(), BLOCK);
        assert_eq!((found[0], found[2]), (-1.0, 0.0));
        assert!(found[1] < 1.0 && found[1] > 0.9999);
    }

    #[test]
    fn what_is_no_block_is_refused_with_the_way_out() {
        let said = |content_type: &str, payload: &[u8]| {
            samples(content_type, payload).unwrap_err().to_string()
        };
        assert!(said("image/png", &[]).contains("send audio/wav"));
        assert!(said("audio/pcm", &[0; 2 * BLOCK]).contains("rate=16000"));
        assert!(said("audio/pcm;rate=8000", &[0; 2 * BLOCK]).contains("resample"));
        assert!(said(PCM, &[0; 2 * WINDOW]).contains("576 samples"));
        assert!(said(PCM, &[0; 2 * BLOCK + 1]).contains("1153 bytes"));
    }

    #[test]
    fn each_block_begins_with_the_end_of_the_one_before() {
        let recording: Vec<i16> = (1..=1100).collect();
        let blocks = blocks(&recording);
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0][..CONTEXT], [0; CONTEXT]);
        assert_eq!(blocks[0][CONTEXT..], recording[..WINDOW]);
        assert_eq!(blocks[1][..CONTEXT], recording[WINDOW - CONTEXT..WINDOW]);
        assert_eq!(blocks[1][CONTEXT..], recording[WINDOW..2 * WINDOW]);
        assert!(super::blocks(&recording[..WINDOW - 1]).is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(payload in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = samples("audio/wav", &payload);
            let _ = samples(PCM, &payload);
        }
    }
}
