//! The media type that a file's name suggests.

use std::path::Path;

/// The media type by the extension, in any case; `None` where it says nothing.
pub fn content_type(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "json" => Some("application/json"),
        "txt" => Some("text/plain"),
        "csv" => Some("text/csv"),
        "wav" => Some("audio/wav"),
        _ => None,
    }
}
