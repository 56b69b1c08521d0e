//! Responses within limits: of time, because a registry may fall silent, and of size, because an endless one would exhaust memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{RequestBuilder, Response};
use tokio::time::timeout;

use super::TransferError;

/// How long no byte may move in either direction.
const SILENCE: Duration = Duration::from_secs(60);
/// The maximum size of an error response, in bytes.
const REASON_BYTES: usize = 16 * 1024;

/// Sends a request and waits for the head of its response. `sent` counts the bytes of bodies that were sent: while it grows, the registry
/// may be silent. (The read timeout of `reqwest` would end a long upload.)
///
/// # Errors
/// [`TransferError::Connection`], [`TransferError::Silent`].
pub(super) async fn answered(
    request: RequestBuilder,
    sent: &AtomicU64,
) -> Result<Response, TransferError> {
    let mut answer = Box::pin(request.send());
    loop {
        let before = sent.load(Ordering::Relaxed);
        match timeout(SILENCE, &mut answer).await {
            Ok(answer) => return Ok(answer?),
            Err(_) if sent.load(Ordering::Relaxed) > before => {}
            Err(_) => return Err(silent()),
        }
    }
}

const fn silent() -> TransferError {
    TransferError::Silent {
        seconds: SILENCE.as_secs(),
    }
}

/// The next bytes of a body.
///
/// # Errors
/// [`TransferError::Connection`], [`TransferError::Silent`].
pub(super) async fn next(answer: &mut Response) -> Result<Option<Bytes>, TransferError> {
    match timeout(SILENCE, answer.chunk()).await {
        Ok(bytes) => Ok(bytes?),
        Err(_) => Err(silent()),
    }
}

/// The whole body.
///
/// # Errors
/// As [`next`], and [`TransferError::TooLarge`] with more than `limit` bytes.
pub(super) async fn whole(mut answer: Response, limit: u64) -> Result<Vec<u8>, TransferError> {
    let mut bytes = Vec::new();
    while let Some(more) = next(&mut answer).await? {
        let size = (bytes.len() as u64).saturating_add(more.len() as u64);
        if size > limit {
            return Err(TransferError::TooLarge { limit });
        }
        bytes.extend_from_slice(&more);
    }
    Ok(bytes)
}

/// The first bytes of an error response, or as many as arrived.
pub(super) async fn reason(mut answer: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(Some(more)) = next(&mut answer).await {
        bytes.extend_from_slice(&more);
        if bytes.len() >= REASON_BYTES {
            break;
        }
    }
    bytes.truncate(REASON_BYTES);
    bytes
}
