//! Files that are written once, in chunks that can be read in any order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use hotshoe_base::disk::Disk;
use zeroize::Zeroizing;

use crate::cipher::{Cipher, NONCE_BYTES, TAG_BYTES};
use crate::error::{UnsealError, damaged, of_file};
use crate::header::{self, HEADER_BYTES, Kind};
use crate::key::DeviceKey;

/// Bytes of a chunk before it is sealed.
pub const CHUNK_BYTES: usize = 64 * 1024;
const SEALED_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// The nonce of a chunk. The file's key is new, and each chunk is written once, so a number is enough. The last chunk has a mark: a file that was
/// cut between two chunks is found.
fn nonce(chunk: u64, is_last: bool) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    for (to, from) in nonce.iter_mut().zip(chunk.to_le_bytes()) {
        *to = from;
    }
    if let Some(mark) = nonce.last_mut() {
        *mark = u8::from(is_last);
    }
    nonce
}

/// Seals the contents of a small file. `name` says what the file is; it opens under this name alone.
///
/// # Errors
/// The operating system has no random numbers.
pub fn seal(key: &DeviceKey, name: &str, plain: &[u8]) -> io::Result<Vec<u8>> {
    let (mut sealed, cipher) = header::create(key, Kind::Whole, name)?;
    let last = plain.len().saturating_sub(1) / CHUNK_BYTES;
    for chunk in 0..=last {
        let from = chunk * CHUNK_BYTES;
        let to = plain.len().min(from + CHUNK_BYTES);
        let piece = plain.get(from..to).unwrap_or_default();
        let nonce = nonce(chunk as u64, chunk == last);
        sealed.extend(cipher.encrypt(nonce, piece, &[])?);
    }
    Ok(sealed)
}

/// Opens what [`seal`] or a [`SealWriter`] made.
///
/// # Errors
/// [`UnsealError`]
pub fn unseal(
    key: &DeviceKey,
    name: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
    let cipher = header::read(key, Kind::Whole, name, sealed)?;
    let body = sealed.get(HEADER_BYTES..).unwrap_or_default();
    let last = body.len().saturating_sub(1) / SEALED_BYTES;
    let mut plain = Zeroizing::new(Vec::with_capacity(body.len()));
    for chunk in 0..=last {
        let from = chunk * SEALED_BYTES;
        let to = body.len().min(from + SEALED_BYTES);
        let piece = body.get(from..to).unwrap_or_default();
        let opened = cipher.decrypt(nonce(chunk as u64, chunk == last), piece, &[]);
        plain.extend_from_slice(&opened.map_err(|_| damaged(name, (HEADER_BYTES + from) as u64))?);
    }
    Ok(plain)
}

/// Seals a file piece by piece.
pub struct SealWriter {
    file: File,
    disk: Disk,
    cipher: Cipher,
    buffer: Zeroizing<Vec<u8>>,
    chunk: u64,
}

impl SealWriter {
    /// Writes the header into a file that is empty.
    ///
    /// # Errors
    /// Those of the file system, and of missing random numbers.
    pub fn new(disk: Disk, mut file: File, key: &DeviceKey, name: &str) -> io::Result<Self> {
        let (header, cipher) = header::create(key, Kind::Whole, name)?;
        disk.write(&mut file, &header)?;
        Ok(Self {
            file,
            disk,
            cipher,
            buffer: Zeroizing::new(Vec::with_capacity(CHUNK_BYTES)),
            chunk: 0,
        })
    }

    /// Adds bytes. They reach the disk in chunks.
    ///
    /// # Errors
    /// Those of the file system; then the file cannot be finished.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.buffer.len() == CHUNK_BYTES {
                self.flush(false)?;
            }
            let fits = bytes.len().min(CHUNK_BYTES - self.buffer.len());
            let (now, later) = bytes.split_at(fits);
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Writes the last chunk, and returns the file, which is not synced yet. A file without its last chunk does not open.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(mut self) -> io::Result<File> {
        self.flush(true)?;
        Ok(self.file)
    }

    fn flush(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = nonce(self.chunk, is_last);
        let sealed = self.cipher.encrypt(nonce, &self.buffer, &[])?;
        // Even if the write fails: a nonce is used once.
        self.chunk += 1;
        self.buffer.clear();
        self.disk.write(&mut self.file, &sealed)
    }
}

impl std::fmt::Debug for SealWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealWriter")
            .field("file", &self.file)
            .field("chunk", &self.chunk)
            .finish_non_exhaustive()
    }
}

/// A sealed file that is read in parts.
pub struct SealedFile {
    file: File,
    name: String,
    cipher: Cipher,
    /// Bytes after the header.
    body: u64,
    last: u64,
}

impl SealedFile {
    /// Opens a file, and checks its header and its end.
    ///
    /// # Errors
    /// [`UnsealError`]
    pub fn open(file: File, key: &DeviceKey, name: &str) -> Result<Self, UnsealError> {
        let bytes = file.metadata().map_err(of_file(name))?.len();
        let mut header = [0; HEADER_BYTES];
        if bytes < HEADER_BYTES as u64 {
            return Err(UnsealError::NotSealed {
                file: name.to_owned(),
            });
        }
        file.read_exact_at(&mut header, 0).map_err(of_file(name))?;
        let body = bytes - HEADER_BYTES as u64;
        let opened = Self {
            cipher: header::read(key, Kind::Whole, name, &header)?,
            file,
            name: name.to_owned(),
            body,
            last: body.saturating_sub(1) / SEALED_BYTES as u64,
        };
        opened.chunk(opened.last)?;
        Ok(opened)
    }

    /// Bytes of the contents.
    pub fn len(&self) -> u64 {
        self.body.saturating_sub((self.last + 1) * TAG_BYTES as u64)
    }

    /// Whether there are no contents.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part of the contents from `offset` on: to the end of its chunk, so at most [`CHUNK_BYTES`]. Empty at the end.
    ///
    /// # Errors
    /// [`UnsealError::Damaged`] and [`UnsealError::Io`].
    pub fn read_from(&self, offset: u64) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        if offset >= self.len() {
            return Ok(Zeroizing::default());
        }
        let mut chunk = self.chunk(offset / CHUNK_BYTES as u64)?;
        let skipped = usize::try_from(offset % CHUNK_BYTES as u64).unwrap_or(CHUNK_BYTES);
        let skipped = skipped.min(chunk.len());
        chunk.drain(..skipped);
        Ok(chunk)
    }

    fn chunk(&self, chunk: u64) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let from = chunk * SEALED_BYTES as u64;
        let bytes = self.body.saturating_sub(from).min(SEALED_BYTES as u64);
        let mut sealed = vec![0; usize::try_from(bytes).unwrap_or(SEALED_BYTES)];
        let at = HEADER_BYTES as u64 + from;
        self.file
            .read_exact_at(&mut sealed, at)
            .map_err(of_file(&self.name))?;
        let nonce = nonce(chunk, chunk == self.last);
        self.cipher
            .decrypt(nonce, &sealed, &[])
            .map_err(|_| damaged(&self.name, at))
    }
}

impl std::fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedFile")
            .field("name", &self.name)
            .field("bytes", &self.len())
            .finish_non_exhaustive()
    }
}
