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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs;

    use hotshoe_rollout::{
        Command, Deadlines, DeviceId, Directive, Gate, OnFailure, Plan, RolloutStatement, Selector,
        SignedText, Stage,
    };
    use hotshoe_store::Cause;
    use hotshoe_trust::{Digest, SigningKey};

    use super::*;

    fn seconds(seconds: i64) -> Time {
        Time::from_second(seconds).unwrap()
    }

    /// Keys, and an aborted rollout that they signed.
    fn aborted() -> (TrustRoot, Rollouts) {
        let key = SigningKey::generate().unwrap();
        let entry = TrustRoot::key_entry("a", &key.public_key().unwrap(), &["*"]);
        let trust = TrustRoot::parse(&format!("threshold = 1\n{entry}")).unwrap();
        let plan = Plan {
            rollout: 1,
            name: "ocr".to_owned(),
            release: Digest::of(b"new"),
            generation: 2,
            bundles: Vec::new(),
            previous: Digest::of(b"old"),
            seed: 1,
            selector: Selector::default(),
            first: vec![DeviceId {
                site: "lab".to_owned(),
                name: "cam".to_owned(),
            }],
            stages: vec![Stage {
                share_ppm: 0,
                watch_s: 60,
                gate: Gate::default(),
            }],
            deadlines: Deadlines::default(),
            spread_s: 0,
            approve_between: false,
            on_failure: OnFailure::Pause,
            max_site_devices: 10,
            compare: None,
            issued: seconds(1_000),
            expires: seconds(100_000),
        };
        let mut text = SignedText::of_plan(&plan).unwrap();
        text.sign(&key).unwrap();
        let mut rollouts = Rollouts::default();
        rollouts
            .receive(&text, &[], &trust, seconds(1_000))
            .unwrap();
        let known = rollouts.get("ocr").unwrap().plan().clone();
        let abort = RolloutStatement {
            plan: known.digest(),
            number: 1,
            stage: 0,
            command: Command::Abort {
                cause: Cause::new("ordered", "a message"),
            },
            issued: seconds(1_001),
        };
        let mut said = SignedText::of_statement(&abort, &known).unwrap();
        said.sign(&key).unwrap();
        let heard = rollouts.receive(&text, &[said], &trust, seconds(1_001));
        assert!(heard.unwrap().is_changed);
        (trust, rollouts)
    }

    #[test]
    fn an_abort_is_there_at_the_next_start_though_the_clock_is_not_set() {
        let folder = tempfile::tempdir().unwrap();
        let (trust, rollouts) = aborted();
        let (file, stored) = RolloutFile::open(folder.path(), &trust, seconds(2_000));
        assert_eq!(stored.rollouts.iter().count(), 0);
        file.save(&rollouts, &[]).unwrap();
        let (again, stored) = RolloutFile::open(folder.path(), &trust, seconds(0));
        assert_eq!(stored.rollouts, rollouts);
        let control = stored.rollouts.get("ocr").unwrap().control();
        assert!(matches!(control.directive(), Directive::Abort(_)));
        assert!(again.run() > file.run());
    }

    #[test]
    fn what_other_keys_do_not_sign_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (trust, rollouts) = aborted();
        let (other, _) = aborted();
        let (file, _) = RolloutFile::open(folder.path(), &trust, seconds(2_000));
        file.save(&rollouts, &[]).unwrap();
        let (_, stored) = RolloutFile::open(folder.path(), &other, seconds(2_000));
        assert_eq!(stored.rollouts.iter().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_replaced_and_one_of_a_newer_version_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let (trust, rollouts) = aborted();
        fs::write(&path, "{").unwrap();
        let (file, _) = RolloutFile::open(folder.path(), &trust, seconds(2_000));
        file.save(&rollouts, &[]).unwrap();
        let (_, stored) = RolloutFile::open(folder.path(), &trust, seconds(2_000));
        assert_eq!(stored.rollouts, rollouts);
        let newer = r#"{"format":99,"new":[]}"#;
        fs::write(&path, newer).unwrap();
        let (file, _) = RolloutFile::open(folder.path(), &trust, seconds(2_000));
        file.save(&rollouts, &[]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    }
}
