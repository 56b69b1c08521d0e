//! The file with what is kept of alerts over a restart.

use std::io;
use std::path::{Path, PathBuf};

use hotshoe_base::chain;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::format::{FileFormat, NewerFormat};
use hotshoe_sealing::AtRest;
use serde::{Deserialize, Serialize};

use super::book::Kept;

/// Its name in the data folder.
const FILE: &str = "alerts.json";
/// Largest file, in bytes: far more than the alerts and silences that there may be.
const MAX_FILE_BYTES: u64 = 1 << 20;
const FORMAT: FileFormat = FileFormat::new(1, 1);

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    #[serde(flatten)]
    kept: Kept,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it is damaged")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Newer(#[from] NewerFormat),
}

/// The file in a data folder that this process has locked.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    at_rest: AtRest,
    /// False if a newer version wrote it: it stays as it is.
    is_saved: bool,
    /// What it has.
    kept: Kept,
}

impl KeptFile {
    /// Reads it. One that cannot be read is as if it were not there.
    pub(super) fn open(data: &Path, at_rest: AtRest) -> Self {
        let path = data.join(FILE);
        let read = read(&path, &at_rest);
        let is_saved = !matches!(read, Err(ReadError::Newer(_)));
        let kept = read.unwrap_or_else(|error| {
            tracing::warn!(
                reason = chain(&error),
                "cannot read which alerts were silenced; they are told again"
            );
            Kept::default()
        });
        Self {
            path,
            at_rest,
            is_saved,
            kept,
        }
    }

    pub(super) const fn kept(&self) -> &Kept {
        &self.kept
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what differs from what it has.
    ///
    /// # Errors
    /// It cannot be written; the next call tries again.
    pub(super) fn save(&mut self, kept: Kept) -> io::Result<()> {
        if kept == self.kept {
            return Ok(());
        }
        if self.is_saved {
            let record = Record {
                format: FORMAT.written(),
                kept: kept.clone(),
            };
            let bytes = serde_json::to_vec(&record)?;
            let disk = Disk::new(Faults::never());
            self.at_rest.replace(&disk, &self.path, &bytes)?;
        }
        self.kept = kept;
        Ok(())
    }
}

fn read(path: &Path, at_rest: &AtRest) -> Result<Kept, ReadError> {
    let bytes = match at_rest.read(path, MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        other => other?,
    };
    FORMAT.check_json(FILE, &bytes)?;
    let record: Record = serde_json::from_slice(&bytes)?;
    Ok(record.kept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::fs;

    use hotshoe_protocol::alert::{AlertKind, Silence};
    use hotshoe_trust::Time;

    use super::*;

    fn kept() -> Kept {
        Kept {
            alerts: Vec::new(),
            silences: vec![Silence {
                kind: AlertKind::Heat,
                subject: None,
                until: Time::UNIX_EPOCH,
            }],
        }
    }

    #[test]
    fn what_was_saved_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = KeptFile::open(folder.path(), AtRest::plain());
        assert_eq!(file.kept(), &Kept::default());
        file.save(kept()).unwrap();
        assert_eq!(
            KeptFile::open(folder.path(), AtRest::plain()).kept(),
            &kept()
        );
    }

    #[test]
    fn a_damaged_file_is_replaced_and_one_of_a_newer_version_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "{").unwrap();
        let mut file = KeptFile::open(folder.path(), AtRest::plain());
        assert_eq!(file.kept(), &Kept::default());
        file.save(kept()).unwrap();
        assert_eq!(
            KeptFile::open(folder.path(), AtRest::plain()).kept(),
            &kept()
        );
        let newer = "{\"format\": 2, \"more\": true}";
        fs::write(&path, newer).unwrap();
        let mut file = KeptFile::open(folder.path(), AtRest::plain());
        file.save(kept()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    }
}
