//! Versions of the files that a daemon keeps on disk.
//!
//! A version of Hotshoe learns to read a new format before any version writes it: the first release raises [`FileFormat::newest`], a later
//! one raises [`FileFormat::written`]. So a daemon that was updated and does not work out can be replaced by the one before.

use serde::Deserialize;

/// The versions of one kind of file. A file without a version has version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFormat {
    written: u32,
    newest: u32,
}

/// A file that a newer version of Hotshoe wrote. It is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file} has format {found}, and this version of Hotshoe reads up to format {newest}; update Hotshoe, or restore the copy from before the update"
)]
pub struct NewerFormat {
    /// The file, or what it contains.
    pub file: String,
    /// Its version.
    pub found: u32,
    /// The newest version that this program reads.
    pub newest: u32,
}

impl NewerFormat {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        "newer_format"
    }
}

impl FileFormat {
    /// A format that is written as `written` and read up to `newest`.
    ///
    /// # Panics
    /// At compile time, if the program could not read what it writes.
    pub const fn new(written: u32, newest: u32) -> Self {
        assert!(written >= 1 && written <= newest, "1 <= written <= newest");
        Self { written, newest }
    }

    /// The version that this program writes.
    pub const fn written(self) -> u32 {
        self.written
    }

    /// The newest version that this program reads.
    pub const fn newest(self) -> u32 {
        self.newest
    }

    /// The version to write into a file that had none at first: `None` for version 1, so that its bytes stay what older readers know.
    pub const fn mark(self) -> Option<u32> {
        if self.written == 1 {
            None
        } else {
            Some(self.written)
        }
    }

    /// Checks the version of a file; `None` is 1.
    ///
    /// # Errors
    /// [`NewerFormat`]
    pub fn check(self, file: impl ToString, found: Option<u32>) -> Result<(), NewerFormat> {
        match found {
            Some(found) if found > self.newest => Err(NewerFormat {
                file: file.to_string(),
                found,
                newest: self.newest,
            }),
            _ => Ok(()),
        }
    }

    /// Checks the version of a JSON file, whatever else is in it. Text that is not JSON passes: its own reader refuses it.
    ///
    /// # Errors
    /// [`NewerFormat`]
    pub fn check_json(self, file: impl ToString, json: &[u8]) -> Result<(), NewerFormat> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(alias = "version")]
            format: Option<u32>,
        }
        let head: Option<Head> = serde_json::from_slice(json).ok();
        self.check(file, head.and_then(|head| head.format))
    }

    /// Checks the version of a file that begins with `prefix`, its version in decimal, and a line feed. Other bytes pass.
    ///
    /// # Errors
    /// [`NewerFormat`]
    pub fn check_magic(
        self,
        file: impl ToString,
        bytes: &[u8],
        prefix: &[u8],
    ) -> Result<(), NewerFormat> {
        let number = bytes.strip_prefix(prefix).and_then(|rest| {
            let end = rest.iter().take(11).position(|byte| *byte == b'\n')?;
            std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
        });
        self.check(file, number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const FORMAT: FileFormat = FileFormat::new(1, 2);

    #[test]
    fn a_file_without_a_version_has_version_1_and_version_1_is_not_written() {
        assert_eq!(
            (FORMAT.written(), FORMAT.newest(), FORMAT.mark()),
            (1, 2, None)
        );
        assert_eq!(FileFormat::new(2, 2).mark(), Some(2));
        for json in [
            "{}",
            r#"{"format":1}"#,
            r#"{"version":2,"more":[]}"#,
            "{",
            "7",
        ] {
            assert_eq!(FORMAT.check_json("it", json.as_bytes()), Ok(()), "{json}");
        }
    }

    #[test]
    fn a_newer_version_is_named_with_the_newest_readable_one_and_the_way_out() {
        for json in [r#"{"format":99,"new":{}}"#, r#"{"version":99}"#] {
            let error = FORMAT
                .check_json("ledger.json", json.as_bytes())
                .unwrap_err();
            assert_eq!(
                (error.name(), error.found, error.newest),
                ("newer_format", 99, 2)
            );
            let text = error.to_string();
            for part in [
                "ledger.json",
                "format 99",
                "up to format 2",
                "update Hotshoe",
            ] {
                assert!(text.contains(part), "{text}");
            }
        }
        let magic = |bytes: &[u8]| FORMAT.check_magic("it", bytes, b"code-");
        assert_eq!(magic(b"code-3\nabc").unwrap_err().found, 3);
        for bytes in [
            &b"code-2\n"[..],
            b"code-",
            b"code-99999999999999\n",
            b"x",
            b"code-3",
        ] {
            assert_eq!(magic(bytes), Ok(()));
        }
    }
}
