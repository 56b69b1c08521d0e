//! Receives a blob into a file, and goes on after the bytes that the file already has.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use hotshoe_trust::{Blob, Digest, Hasher};
use reqwest::header::{ACCEPT, CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, Url};

use super::{RegistryClient, TransferError, body};

/// By how many bytes the file must grow until failed attempts are counted from the start.
const PROGRESS_BYTES: u64 = 1024 * 1024;
/// How much of a file is hashed at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// A blob that is being received.
struct Partial<'a> {
    file: &'a mut File,
    hasher: Hasher,
    size: u64,
    /// Whether an earlier attempt left bytes.
    is_resumed: bool,
    /// The bytes that came over the network.
    received: u64,
}

impl Partial<'_> {
    /// Hashes what the file already has.
    fn open(file: &mut File, limit: u64) -> std::io::Result<Partial<'_>> {
        let mut partial = Partial {
            file,
            hasher: Hasher::new(),
            size: 0,
            is_resumed: false,
            received: 0,
        };
        if partial.file.metadata()?.len() > limit {
            partial.clear()?;
            return Ok(partial);
        }
        partial.file.seek(SeekFrom::Start(0))?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = partial.file.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            partial.hasher.update(bytes);
            partial.size = partial.size.saturating_add(bytes.len() as u64);
        }
        partial.is_resumed = partial.size > 0;
        Ok(partial)
    }

    fn clear(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Hasher::new();
        self.size = 0;
        self.is_resumed = false;
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        let more = bytes.len() as u64;
        self.size = self.size.saturating_add(more);
        self.received = self.received.saturating_add(more);
        Ok(())
    }

    fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }
}

impl RegistryClient {
    /// Receives a blob into `file`, after the bytes that it has, and checks its digest. Never writes more than the blob's size. `progress`
    /// gets the size of the file so far. Returns the number of received bytes.
    ///
    /// # Errors
    /// [`TransferError`]; the file then has what arrived, for the next attempt.
    pub(in super::super) async fn download(
        &self,
        blob: &Blob,
        file: &mut File,
        mut progress: impl FnMut(u64),
    ) -> Result<u64, TransferError> {
        let mut partial = Partial::open(file, blob.size).map_err(TransferError::File)?;
        let mut attempts = self.attempts();
        // The size up to which attempts were counted. Received bytes are no measure: a registry may send the same ones again and again.
        let mut counted = partial.size;
        loop {
            match self.receive(blob, &mut partial, &mut progress).await {
                Ok(()) => return Ok(partial.received),
                Err(error) => {
                    if partial.size.saturating_sub(counted) >= PROGRESS_BYTES {
                        attempts.restart();
                        counted = partial.size;
                    }
                    attempts.wait(error).await?;
                    partial.is_resumed = partial.size > 0;
                }
            }
        }
    }

    async fn receive(
        &self,
        blob: &Blob,
        partial: &mut Partial<'_>,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), TransferError> {
        if partial.size < blob.size {
            let mut answer = self.request(blob, partial).await?;
            while let Some(bytes) = body::next(&mut answer).await? {
                let size = partial.size.saturating_add(bytes.len() as u64);
                if size > blob.size {
                    partial.clear().map_err(TransferError::File)?;
                    return Err(TransferError::TooLarge { limit: blob.size });
                }
                partial.add(&bytes).map_err(TransferError::File)?;
                progress(partial.size);
            }
        }
        if partial.size < blob.size {
            return Err(TransferError::Truncated {
                expected: blob.size,
                found: partial.size,
            });
        }
        let found = partial.digest();
        if found == blob.digest {
            return Ok(());
        }
        let was_resumed = partial.is_resumed;
        partial.clear().map_err(TransferError::File)?;
        Err(if was_resumed {
            TransferError::BadResume
        } else {
            TransferError::Mismatch { found }
        })
    }

    /// Requests the bytes that are missing. A registry that does not know ranges sends all, which then replace what was there.
    async fn request(
        &self,
        blob: &Blob,
        partial: &mut Partial<'_>,
    ) -> Result<Response, TransferError> {
        let url = self.url(&format!("blobs/{}", blob.digest))?;
        let start = partial.size;
        let get = |http: &Client, url: Url| Ok(http.get(url).header(ACCEPT, "*/*"));
        if start == 0 {
            return self.send(&url, &get).await;
        }
        let range = format!("bytes={start}-");
        let rest = |http: &Client, url: Url| Ok(get(http, url)?.header(RANGE, &range));
        match self.send(&url, &rest).await {
            Ok(answer) if begins_at(&answer, start) => Ok(answer),
            Ok(answer) if answer.status() == StatusCode::OK => {
                partial.clear().map_err(TransferError::File)?;
                Ok(answer)
            }
            Err(error) if error.status() != Some(StatusCode::RANGE_NOT_SATISFIABLE) => Err(error),
            _ => {
                partial.clear().map_err(TransferError::File)?;
                self.send(&url, &get).await
            }
        }
    }
}

/// Whether a response is the part of a blob from `start` on.
fn begins_at(answer: &Response, start: u64) -> bool {
    answer.status() == StatusCode::PARTIAL_CONTENT
        && answer
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with(&format!("bytes {start}-")))
}
