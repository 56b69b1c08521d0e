//! Sends blobs and manifests: a blob as one request where the registry takes that, otherwise in chunks.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hotshoe_trust::Blob;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName};
use reqwest::{Body, Client, StatusCode, Url};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::{InspectReader, ReaderStream};

use super::client::location;
use super::{RegistryClient, TransferError};

/// The size of a chunk in bytes, for registries that refuse a whole blob in one request.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;
/// The smallest chunk in bytes, for proxies that refuse larger requests.
const SMALLEST_CHUNK_BYTES: u64 = 512 * 1024;
/// How much of a file is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;
/// The minimum size of chunks, in the response to the start of an upload (OCI distribution specification 1.1).
const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// How the registry accepts blobs, if that is known.
#[derive(Default)]
pub(super) struct UploadMode {
    /// The size of chunks in bytes; 0 while the registry takes whole blobs.
    chunk: Cell<u64>,
}

/// An upload that the registry has begun.
struct Session {
    at: Url,
    /// The registry's minimum size of chunks, in bytes.
    chunk_min: u64,
}

/// Opens the file of a blob at its first byte.
pub(in super::super) type OpenBlob<'a> = &'a dyn Fn() -> io::Result<File>;

impl RegistryClient {
    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// [`TransferError`].
    pub(in super::super) async fn has_blob(&self, blob: &Blob) -> Result<bool, TransferError> {
        let url = self.url(&format!("blobs/{}", blob.digest))?;
        self.retried(async || {
            let answer = self.send(&url, &|http, url| Ok(http.head(url))).await;
            match answer {
                Ok(_) => Ok(true),
                // A registry that fails at the check, as some do while the blob arrives from elsewhere, gets it again.
                Err(error)
                    if matches!(
                        error.status(),
                        Some(StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR)
                    ) =>
                {
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Sends a manifest under `name`, a tag or its digest.
    ///
    /// # Errors
    /// [`TransferError`].
    pub(in super::super) async fn put_manifest(
        &self,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), TransferError> {
        let url = self.url(&format!("manifests/{name}"))?;
        self.retried(async || {
            let put = |http: &Client, url: Url| {
                let request = http.put(url).header(CONTENT_TYPE, media_type);
                Ok(request.body(bytes.to_vec()))
            };
            self.send(&url, &put).await.map(drop)
        })
        .await
    }

    /// Sends a blob.
    ///
    /// # Errors
    /// [`TransferError`].
    pub(in super::super) async fn upload(
        &self,
        blob: &Blob,
        open: OpenBlob<'_>,
    ) -> Result<(), TransferError> {
        self.retried(async || {
            if self.upload_mode.chunk.get() == 0 {
                let session = self.begin_upload().await?;
                match self.finish_upload(&session.at, blob, Some(open)).await {
                    Err(error) if is_too_large(&error) => {}
                    done => return done,
                }
                self.upload_mode.chunk.set(CHUNK_BYTES);
            }
            self.upload_chunks(blob, open).await
        })
        .await
    }

    async fn begin_upload(&self) -> Result<Session, TransferError> {
        let url = self.url("blobs/uploads/")?;
        let post = |http: &Client, url: Url| Ok(http.post(url).header(CONTENT_LENGTH, 0));
        let answer = self.send(&url, &post).await?;
        let minimum = answer.headers().get(CHUNK_MIN_LENGTH);
        Ok(Session {
            chunk_min: minimum
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .unwrap_or(0),
            at: location(&answer)?,
        })
    }

    async fn upload_chunks(&self, blob: &Blob, open: OpenBlob<'_>) -> Result<(), TransferError> {
        let mode = &self.upload_mode.chunk;
        let Session { mut at, chunk_min } = self.begin_upload().await?;
        let mut sent = 0;
        while sent < blob.size {
            let left = blob.size.saturating_sub(sent);
            let length = mode.get().max(chunk_min).min(left);
            let end = sent.saturating_add(length);
            let patch = |http: &Client, url: Url| {
                let request = http
                    .patch(url)
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(CONTENT_RANGE, format!("{sent}-{}", end.saturating_sub(1)))
                    .header(CONTENT_LENGTH, length);
                Ok(request.body(self.part(open, sent, length)?))
            };
            match self.send(&at, &patch).await {
                Ok(answer) => {
                    at = location(&answer)?;
                    sent = end;
                }
                Err(error)
                    if error.status() == Some(StatusCode::PAYLOAD_TOO_LARGE)
                        && mode.get() > SMALLEST_CHUNK_BYTES.max(chunk_min) =>
                {
                    mode.set((mode.get() / 4).max(SMALLEST_CHUNK_BYTES));
                }
                Err(error) => return Err(error),
            }
        }
        self.finish_upload(&at, blob, None).await
    }

    /// Ends an upload, with the whole blob or after its chunks.
    async fn finish_upload(
        &self,
        session: &Url,
        blob: &Blob,
        whole: Option<OpenBlob<'_>>,
    ) -> Result<(), TransferError> {
        let mut url = session.clone();
        url.query_pairs_mut()
            .append_pair("digest", &blob.digest.to_string());
        let put = |http: &Client, url: Url| {
            let request = http
                .put(url)
                .header(CONTENT_TYPE, "application/octet-stream");
            Ok(match whole {
                Some(open) => request
                    .header(CONTENT_LENGTH, blob.size)
                    .body(self.part(open, 0, blob.size)?),
                None => request.header(CONTENT_LENGTH, 0),
            })
        };
        self.send(&url, &put).await.map(drop)
    }

    /// A part of a file as the body of a request. Each attempt opens the file again, because the last one may still read it.
    fn part(&self, open: OpenBlob<'_>, start: u64, length: u64) -> Result<Body, TransferError> {
        let mut file = open().map_err(TransferError::File)?;
        file.seek(SeekFrom::Start(start))
            .map_err(TransferError::File)?;
        let sent = Arc::clone(&self.sent);
        let bytes = InspectReader::new(
            tokio::fs::File::from_std(file).take(length),
            move |read: &[u8]| {
                sent.fetch_add(read.len() as u64, Ordering::Relaxed);
            },
        );
        let stream = ReaderStream::with_capacity(bytes, READ_BYTES);
        Ok(Body::wrap_stream(stream))
    }
}

/// Whether a registry, or a proxy before it, takes no blob of this size in one request.
fn is_too_large(error: &TransferError) -> bool {
    let status = error.status();
    status.is_some_and(|status| {
        matches!(
            status,
            StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::LENGTH_REQUIRED
                | StatusCode::NOT_IMPLEMENTED
        )
    })
}
