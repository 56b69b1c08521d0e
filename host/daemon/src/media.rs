//! Media types and file extensions.

use std::path::Path;

/// The file extension of a media type; `bin` if it is unknown.
pub fn extension(content_type: &str) -> &'static str {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "application/json" => "json",
        "text/plain" => "txt",
        "text/csv" => "csv",
        "audio/wav" => "wav",
        hotshoe_infer::npz::CONTENT_TYPE => "npz",
        _ => "bin",
    }
}

/// The media type of a file by its extension, in any case; `None` if it is unknown.
pub fn content_type(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "json" => Some("application/json"),
        "txt" => Some("text/plain"),
        "csv" => Some("text/csv"),
        "wav" => Some("audio/wav"),
        "npz" => Some(hotshoe_infer::npz::CONTENT_TYPE),
        _ => None,
    }
}
