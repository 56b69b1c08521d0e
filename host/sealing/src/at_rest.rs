//! How a device keeps its files: as they are, or sealed. Writers and readers of files at rest use [`AtRest`] alone.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hotshoe_base::disk::Disk;
use hotshoe_base::files;
use zeroize::Zeroizing;

use crate::cipher::TAG_BYTES;
use crate::error::{UnsealError, of_file};
use crate::header::{HEADER_BYTES, is_sealed, is_sealed_file, key_of};
use crate::key::{DeviceKey, hex};
use crate::whole::{CHUNK_BYTES, SealWriter, SealedFile, seal, unseal};

/// How a device keeps its files. Clones share the key. The default is as they are.
#[derive(Debug, Clone, Default)]
pub struct AtRest(Option<Arc<Sealing>>);

impl PartialEq for AtRest {
    /// Whether files are kept in the same way, with the same key.
    fn eq(&self, other: &Self) -> bool {
        let of = |it: &Self| it.key().map(|key| (key.id, it.is_required()));
        of(self) == of(other)
    }
}

impl Eq for AtRest {}

#[derive(Debug)]
struct Sealing {
    key: DeviceKey,
    /// A file that is not sealed is an error.
    is_required: bool,
}

impl AtRest {
    /// Files as they are. A sealed one is an error: its key is missing.
    pub const fn plain() -> Self {
        Self(None)
    }

    /// Sealed files. Files that were written before are still read, unless sealing `is_required`.
    pub fn sealed(key: DeviceKey, is_required: bool) -> Self {
        Self(Some(Arc::new(Sealing { key, is_required })))
    }

    /// The device's key, if files are sealed.
    pub fn key(&self) -> Option<&DeviceKey> {
        self.0.as_deref().map(|sealing| &sealing.key)
    }

    /// Whether new files are sealed.
    pub const fn is_sealed(&self) -> bool {
        self.0.is_some()
    }

    /// Whether what is not sealed is an error.
    pub fn is_required(&self) -> bool {
        self.0.as_ref().is_some_and(|sealing| sealing.is_required)
    }

    /// Checks that files are sealed with the key of this device, before one of them is taken for damaged and replaced. One that is sealed with
    /// this key is enough, since the header of another may be damaged.
    ///
    /// # Errors
    /// [`UnsealError::OtherKey`], [`UnsealError::NoKey`], and [`UnsealError::Io`].
    pub fn check_key(&self, files: impl IntoIterator<Item = PathBuf>) -> Result<(), UnsealError> {
        let mut refused = None;
        for path in files {
            let name = name_of(&path);
            let file = match files::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(of_file(&name)(error)),
            };
            let Some(found) = key_of(&file).map_err(of_file(&name))? else {
                continue;
            };
            let error = match self.key() {
                Some(key) if key.id == found => return Ok(()),
                Some(key) => UnsealError::OtherKey {
                    file: name,
                    found: hex(&found),
                    expected: key.id(),
                },
                None => UnsealError::NoKey { file: name },
            };
            refused.get_or_insert(error);
        }
        refused.map_or(Ok(()), Err)
    }

    /// Replaces the contents of a file atomically. It is sealed under its file name.
    ///
    /// # Errors
    /// Those of the file system, and of missing random numbers.
    pub fn replace(&self, disk: &Disk, path: &Path, plain: &[u8]) -> io::Result<()> {
        match self.key() {
            None => disk.replace(path, plain),
            Some(key) => disk.replace(path, &seal(key, &name_of(path), plain)?),
        }
    }

    /// Reads a file with at most `most` bytes of contents.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::FileTooLarge`]; and [`io::ErrorKind::InvalidData`] with [`UnsealError`] as its source.
    pub fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        // Also without a key, so that a sealed file is named as such.
        let bytes = files::read_bytes(path, sealed_bytes(most))?;
        let plain = self.open_bytes(&name_of(path), bytes)?;
        if plain.len() as u64 > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(plain)
    }

    /// The contents of a file of which these are the bytes.
    ///
    /// # Errors
    /// [`UnsealError`]
    pub fn open_bytes(&self, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, UnsealError> {
        if is_sealed(&bytes) {
            let key = self.key_of(name)?;
            return Ok(std::mem::take(&mut *unseal(key, name, &bytes)?));
        }
        self.accept_plain(name)?;
        Ok(bytes)
    }

    /// The bytes to write for these contents.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn seal_bytes(&self, name: &str, plain: Vec<u8>) -> io::Result<Vec<u8>> {
        match self.key() {
            None => Ok(plain),
            Some(key) => seal(key, name, &plain),
        }
    }

    /// The contents of an open file, to be read from their start.
    ///
    /// # Errors
    /// [`UnsealError`]
    pub fn open(&self, file: File, name: &str) -> Result<Contents, UnsealError> {
        if is_sealed_file(&file).map_err(of_file(name))? {
            let stamp = file.try_clone().map_err(of_file(name))?;
            let sealed = SealedFile::open(file, self.key_of(name)?, name)?;
            return Ok(Contents::Sealed(Box::new(SealedReader {
                file: stamp,
                sealed,
                position: 0,
                piece: Zeroizing::default(),
                taken: 0,
            })));
        }
        self.accept_plain(name)?;
        Ok(Contents::Plain(file))
    }

    /// A writer into an empty file.
    ///
    /// # Errors
    /// Those of the file system, and of missing random numbers.
    pub fn writer(&self, disk: &Disk, file: File, name: &str) -> io::Result<ContentsWriter> {
        Ok(match self.key() {
            None => ContentsWriter::Plain(disk.clone(), file),
            Some(key) => {
                ContentsWriter::Sealed(Box::new(SealWriter::new(disk.clone(), file, key, name)?))
            }
        })
    }

    fn key_of(&self, name: &str) -> Result<&DeviceKey, UnsealError> {
        self.key().ok_or_else(|| UnsealError::NoKey {
            file: name.to_owned(),
        })
    }

    fn accept_plain(&self, name: &str) -> Result<(), UnsealError> {
        if self.is_required() {
            return Err(UnsealError::NotSealed {
                file: name.to_owned(),
            });
        }
        Ok(())
    }
}

/// The contents of a file at rest.
#[derive(Debug)]
pub enum Contents {
    /// The file itself.
    Plain(File),
    /// A sealed file.
    Sealed(Box<SealedReader>),
}

impl Contents {
    /// The number of their bytes.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Sealed(reader) => Ok(reader.sealed.len()),
        }
    }

    /// The file, if it is not sealed.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] for a sealed one.
    pub fn into_plain(self) -> io::Result<File> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Sealed(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The metadata of the file, whose length is not that of the contents.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn metadata(&self) -> io::Result<Metadata> {
        match self {
            Self::Plain(file) => file.metadata(),
            Self::Sealed(reader) => reader.file.metadata(),
        }
    }

    /// Reads as many bytes as `out` takes from `offset` on.
    ///
    /// # Errors
    /// Those of the file system, and [`io::ErrorKind::UnexpectedEof`].
    pub fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.read_exact_at(out, offset),
            Self::Sealed(reader) => {
                let mut done = 0;
                while done < out.len() {
                    let piece = reader.sealed.read_from(offset + done as u64)?;
                    let rest = out.get_mut(done..).unwrap_or_default();
                    let count = piece.len().min(rest.len());
                    if count == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    if let (Some(to), Some(from)) = (rest.get_mut(..count), piece.get(..count)) {
                        to.copy_from_slice(from);
                    }
                    done += count;
                }
                Ok(())
            }
        }
    }
}

impl Read for Contents {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(out),
            Self::Sealed(reader) => reader.read(out),
        }
    }
}

/// Reads a sealed file in order.
pub struct SealedReader {
    /// The same file, for its metadata.
    file: File,
    sealed: SealedFile,
    /// Bytes of the contents that were unsealed.
    position: u64,
    /// The piece that was unsealed last, and how many of its bytes were given.
    piece: Zeroizing<Vec<u8>>,
    taken: usize,
}

impl std::fmt::Debug for SealedReader {
    /// Without the piece, which is not sealed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedReader")
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}

impl SealedReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken >= self.piece.len() {
            self.piece = self.sealed.read_from(self.position)?;
            self.position += self.piece.len() as u64;
            self.taken = 0;
        }
        let rest = self.piece.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.taken += count;
        Ok(count)
    }
}

/// Writes the contents of a file at rest.
#[derive(Debug)]
pub enum ContentsWriter {
    /// The file itself.
    Plain(Disk, File),
    /// A sealed file.
    Sealed(Box<SealWriter>),
}

impl ContentsWriter {
    /// Adds bytes.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(disk, file) => disk.write(file, bytes),
            Self::Sealed(writer) => writer.write(bytes),
        }
    }

    /// The file with all its contents, which is not synced yet.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(self) -> io::Result<File> {
        match self {
            Self::Plain(_, file) => Ok(file),
            Self::Sealed(writer) => writer.finish(),
        }
    }
}

/// Bytes of a sealed file with these contents.
pub const fn sealed_bytes(plain: u64) -> u64 {
    let chunks = plain / CHUNK_BYTES as u64 + 1;
    plain
        .saturating_add(HEADER_BYTES as u64)
        .saturating_add(chunks.saturating_mul(TAG_BYTES as u64))
}

/// What a file is sealed as: its name, without its folder, so that a data folder can be moved.
fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
