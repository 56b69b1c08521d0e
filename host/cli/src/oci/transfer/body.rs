//! Reads bodies within a limit, because an endless one would exhaust memory.

use reqwest::Response;

use super::TransferError;

/// The maximum size of an error response, in bytes.
const REASON_BYTES: usize = 16 * 1024;

/// The whole body.
///
/// # Errors
/// [`TransferError::TooLarge`] with more than `limit` bytes, [`TransferError::Connection`].
pub(super) async fn whole(mut answer: Response, limit: u64) -> Result<Vec<u8>, TransferError> {
    let mut bytes = Vec::new();
    while let Some(more) = answer.chunk().await? {
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
    while let Ok(Some(more)) = answer.chunk().await {
        bytes.extend_from_slice(&more);
        if bytes.len() >= REASON_BYTES {
            break;
        }
    }
    bytes.truncate(REASON_BYTES);
    bytes
}
