//! Files that grow by frames, such as segments of a log.

use std::fs::File;
use std::io;

use hotshoe_base::disk::Disk;
use zeroize::Zeroizing;

use crate::cipher::{Cipher, Forged, NONCE_BYTES, TAG_BYTES, random};
use crate::error::{UnsealError, damaged};
use crate::header::{self, HEADER_BYTES, Kind};
use crate::key::DeviceKey;

/// Most bytes of a frame.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// Random bytes of a frame's nonces; the last byte of a nonce says what it is for. They are random and not counted: after a power cut another
/// frame takes the place of a torn one, of which a copy may be left on the disk.
const SALT_BYTES: usize = NONCE_BYTES - 1;
const LENGTH_BYTES: usize = 4;
/// Bytes that a frame has beside its contents. It begins with its salt and its sealed length: a changed length is damage, and not a torn end.
pub const FRAME_OVERHEAD_BYTES: usize = SALT_BYTES + LENGTH_BYTES + TAG_BYTES + TAG_BYTES;
/// Bytes before the first frame.
pub const LOG_HEADER_BYTES: usize = HEADER_BYTES;

/// A log that is written. Frames are numbered, so one that moved, or is missing before others, is found; frames that are missing at the end are
/// not.
pub struct SealedLog {
    file: File,
    disk: Disk,
    cipher: Cipher,
    frames: u64,
}

/// What a log has.
#[derive(Debug)]
pub struct LogContents {
    /// The contents of the complete frames.
    pub frames: Vec<Zeroizing<Vec<u8>>>,
    /// Bytes of the file up to the end of the last complete frame. More bytes are a torn frame, which is cut off before the next one is added.
    pub complete_bytes: u64,
}

impl SealedLog {
    /// Begins a log in an empty file, which is not synced.
    ///
    /// # Errors
    /// Those of the file system, and of missing random numbers.
    pub fn create(disk: Disk, mut file: File, key: &DeviceKey, name: &str) -> io::Result<Self> {
        let (header, cipher) = header::create(key, Kind::Log, name)?;
        disk.write(&mut file, &header)?;
        Ok(Self {
            file,
            disk,
            cipher,
            frames: 0,
        })
    }

    /// Continues a log. `file` is open to append ([`Disk::open_end`]), and `bytes` are its contents. A torn end is cut off.
    ///
    /// # Errors
    /// [`UnsealError`]; a damaged log is left as it is.
    pub fn resume(
        disk: Disk,
        file: File,
        key: &DeviceKey,
        name: &str,
        bytes: &[u8],
    ) -> Result<(Self, LogContents), UnsealError> {
        let cipher = header::read(key, Kind::Log, name, bytes)?;
        let contents = frames_of(&cipher, name, bytes)?;
        if contents.complete_bytes < bytes.len() as u64 {
            disk.truncate(&file, contents.complete_bytes)
                .map_err(crate::error::of_file(name))?;
        }
        let frames = contents.frames.len() as u64;
        let log = Self {
            file,
            disk,
            cipher,
            frames,
        };
        Ok((log, contents))
    }

    /// Adds frames with one write, which [`SealedLog::sync`] makes durable.
    ///
    /// # Errors
    /// Those of the file system, after which the log is opened again; and [`io::ErrorKind::InvalidInput`] for a frame above [`MAX_FRAME_BYTES`].
    pub fn append(&mut self, frames: &[&[u8]]) -> io::Result<()> {
        let mut sealed = Vec::new();
        for (number, frame) in (self.frames..).zip(frames) {
            seal_frame(&self.cipher, number, frame, &mut sealed)?;
        }
        self.disk.write(&mut self.file, &sealed)?;
        self.frames += frames.len() as u64;
        Ok(())
    }

    /// Makes all frames durable.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sync(&self) -> io::Result<()> {
        self.disk.sync_data(&self.file)
    }
}

impl std::fmt::Debug for SealedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedLog")
            .field("file", &self.file)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

/// A log that is read frame by frame, where an index says where the frames are.
pub struct LogReader {
    cipher: Cipher,
    name: String,
}

impl LogReader {
    /// The reader of the log that begins with these bytes: at least [`LOG_HEADER_BYTES`].
    ///
    /// # Errors
    /// [`UnsealError`]
    pub fn new(key: &DeviceKey, name: &str, bytes: &[u8]) -> Result<Self, UnsealError> {
        Ok(Self {
            cipher: header::read(key, Kind::Log, name, bytes)?,
            name: name.to_owned(),
        })
    }

    /// The contents of the frame with this number, from 0, whose bytes begin at `offset` of the file. It has [`FRAME_OVERHEAD_BYTES`] more than
    /// its contents; bytes behind it are ignored.
    ///
    /// # Errors
    /// [`UnsealError::Damaged`], also if the bytes end before the frame does.
    pub fn frame(
        &self,
        number: u64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        match open_frame(&self.cipher, number, bytes) {
            Ok(Some((frame, _))) => Ok(frame),
            Ok(None) | Err(Forged) => Err(damaged(&self.name, offset)),
        }
    }
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Reads a log.
///
/// # Errors
/// [`UnsealError`]
pub fn read_log(key: &DeviceKey, name: &str, bytes: &[u8]) -> Result<LogContents, UnsealError> {
    let cipher = header::read(key, Kind::Log, name, bytes)?;
    frames_of(&cipher, name, bytes)
}

fn frames_of(cipher: &Cipher, name: &str, bytes: &[u8]) -> Result<LogContents, UnsealError> {
    let mut frames = Vec::new();
    let mut at = LOG_HEADER_BYTES;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match open_frame(cipher, frames.len() as u64, rest) {
            Ok(Some((frame, size))) => {
                frames.push(frame);
                at += size;
            }
            Ok(None) => {
                return Ok(LogContents {
                    frames,
                    complete_bytes: at as u64,
                });
            }
            Err(Forged) => return Err(damaged(name, at as u64)),
        }
    }
}

/// The contents of a frame, and its size.
type OpenedFrame = (Zeroizing<Vec<u8>>, usize);

/// The frame at the start of `bytes`; `None` if it does not end there.
fn open_frame(cipher: &Cipher, number: u64, bytes: &[u8]) -> Result<Option<OpenedFrame>, Forged> {
    let number = number.to_le_bytes();
    let Some((salt, rest)) = bytes.split_first_chunk::<SALT_BYTES>() else {
        return Ok(None);
    };
    let Some((sealed_length, rest)) = rest.split_at_checked(LENGTH_BYTES + TAG_BYTES) else {
        return Ok(None);
    };
    let length = cipher.decrypt(nonce(salt, Part::Length), sealed_length, &number)?;
    let length = length.first_chunk().copied().ok_or(Forged)?;
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| Forged)?;
    let Some(body) = rest.get(..length.saturating_add(TAG_BYTES)) else {
        return Ok(None);
    };
    let frame = cipher.decrypt(nonce(salt, Part::Body), body, &number)?;
    Ok(Some((frame, length + FRAME_OVERHEAD_BYTES)))
}

#[derive(Clone, Copy)]
enum Part {
    Length = 0,
    Body = 1,
}

fn nonce(salt: &[u8; SALT_BYTES], part: Part) -> [u8; NONCE_BYTES] {
    let mut nonce = [part as u8; NONCE_BYTES];
    for (to, from) in nonce.iter_mut().zip(salt) {
        *to = *from;
    }
    nonce
}

fn seal_frame(cipher: &Cipher, number: u64, frame: &[u8], sealed: &mut Vec<u8>) -> io::Result<()> {
    let length = u32::try_from(frame.len())
        .ok()
        .filter(|_| frame.len() <= MAX_FRAME_BYTES)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let salt: [u8; SALT_BYTES] = random()?;
    let number = number.to_le_bytes();
    sealed.extend(salt);
    sealed.extend(cipher.encrypt(nonce(&salt, Part::Length), &length.to_le_bytes(), &number)?);
    sealed.extend(cipher.encrypt(nonce(&salt, Part::Body), frame, &number)?);
    Ok(())
}
