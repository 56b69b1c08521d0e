//! The file with the rollouts that a device or a registry knows. A restart must not forget that a rollout was aborted.

use std::io;
use std::path::{Path, PathBuf};

use hotshoe_base::format::{FileFormat, NewerFormat};
use hotshoe_base::{chain, files};
use hotshoe_protocol::rollout::StatedRollout;
use hotshoe_rollout::Rollouts;
use hotshoe_store::{BlobError, replace_file};
use hotshoe_trust::{Time, TrustRoot};
use serde::{Deserialize, Serialize};

/// Its name in the data folder.
const FILE: &str = "rollouts.json";
/// Largest file, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// The format of the file.
const FORMAT: FileFormat = FileFormat::new(1, 1);

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    format: u32,
    /// The run that wrote it.
    run: u64,
    rollouts: Vec<StatedRollout>,
    /// Rollouts whose place others took, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    past: Vec<StatedRollout>,
}

/// What the file has.
#[derive(Debug, Default)]
pub struct StoredRollouts {
    /// The rollouts that apply, verified.
    pub rollouts: Rollouts,
    /// Rollouts whose place others took, oldest first. They are not verified.
    pub past: Vec<StatedRollout>,
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
pub struct RolloutFile {
    path: PathBuf,
    /// False if a newer version wrote it: it stays as it is.
    is_saved: bool,
    run: u64,
}

impl RolloutFile {
    /// Reads the file, and verifies its rollouts again. One that cannot be read is a warning: registries and controllers state rollouts again.
    pub fn open(data: &Path, trust: &TrustRoot, now: Time) -> (Self, StoredRollouts) {
        let path = data.join(FILE);
        let read = read(&path);
        let is_saved = !matches!(read, Err(ReadError::Newer(_)));
        let record = read.unwrap_or_else(|error| {
            tracing::warn!(
                path = %path.display(),
                reason = chain(&error),
                "cannot read the rollouts that were known; they are collected again"
            );
            None
        });
        let (last, stated, past) =
            record.map_or_else(Default::default, |it| (it.run, it.rollouts, it.past));
        let mut rollouts = Rollouts::default();
        for StatedRollout {
            plan, statements, ..
        } in &stated
        {
            // It was verified when it arrived. The clock may not be set yet.
            let received = rollouts.receive(plan, statements, trust, Time::MAX);
            if let Err(error) = received {
                tracing::warn!(%error, "a rollout that was known is not valid any more");
            }
        }
        // Above that of every earlier run, also where the file or the clock was lost.
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let run = seconds.min(u32::MAX.into()).max(last.saturating_add(1));
        let file = Self {
            path,
            is_saved,
            run,
        };
        if !stated.is_empty()
            && let Err(error) = file.save(&rollouts, &past)
        {
            tracing::warn!(%error, "cannot store the rollouts that are known");
        }
        (file, StoredRollouts { rollouts, past })
    }

    /// The number of this run, above those of earlier runs.
    pub const fn run(&self) -> u64 {
        self.run
    }

    /// Writes the rollouts.
    ///
    /// # Errors
    /// [`BlobError`].
    pub fn save(&self, rollouts: &Rollouts, past: &[StatedRollout]) -> Result<(), BlobError> {
        if !self.is_saved {
            return Ok(());
        }
        let record = Record {
            format: FORMAT.written(),
            run: self.run,
            rollouts: rollouts.iter().map(StatedRollout::of).collect(),
            past: past.to_vec(),
        };
        replace_file(&self.path, &serde_json::to_vec(&record).unwrap_or_default())
    }
}

fn read(path: &Path) -> Result<Option<Record>, ReadError> {
    let bytes = match files::read_bytes(path, MAX_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    FORMAT.check_json(FILE, &bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}
