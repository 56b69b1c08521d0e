//! Models that differ in their bytes alone, to deliver one after the other.

use std::path::Path;
use std::{fs, io};

/// The protobuf tag of field 6, `doc_string`, of ONNX's `ModelProto`: length-delimited.
const DOC_STRING: u8 = (6 << 3) | 2;

/// The bytes of an ONNX file with `doc_string` set: another file, the same network.
///
/// # Errors
/// The file cannot be read, or the text is longer than 127 bytes, which would need a longer length.
pub fn with_doc_string(model: &Path, text: &str) -> io::Result<Vec<u8>> {
    let length = u8::try_from(text.len()).ok().filter(|it| *it < 0x80);
    let length = length.ok_or_else(|| {
        let message = "a doc_string has at most 127 bytes";
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })?;
    let mut bytes = fs::read(model)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", model.display())))?;
    bytes.extend([DOC_STRING, length]);
    bytes.extend(text.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn another_model_ends_in_a_doc_string() {
        let folder = tempfile::TempDir::new().unwrap();
        let model = folder.path().join("model");
        fs::write(&model, b"abc").unwrap();
        assert_eq!(with_doc_string(&model, "xy").unwrap(), b"abc\x32\x02xy");
        assert!(with_doc_string(&model, &"x".repeat(128)).is_err());
    }
}
