use std::sync::Arc;

/// One input with its metadata. Cheap to clone: the payload is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Unique on this device; given by the sender or made by the host.
    pub id: String,
    /// Its source: the key it was published under, or the path of its file.
    pub source: String,
    /// Its media type, such as `image/png`.
    pub content_type: String,
    /// When it was taken, in microseconds since 1970-01-01T00:00:00Z.
    pub timestamp_us: u64,
    /// The bytes.
    pub payload: Arc<[u8]>,
}
