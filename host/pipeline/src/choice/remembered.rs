//! Persistent backend choices, in a file of the data folder.

use std::io;
use std::path::{Path, PathBuf};

use hotshoe_base::chain;
use hotshoe_base::files::read_bytes;
use hotshoe_base::format::{FileFormat, NewerFormat};
use hotshoe_config::InferenceConfig;
use hotshoe_infer::Backend;
use hotshoe_store::replace_file;
use hotshoe_trust::Digest;
use serde::{Deserialize, Serialize};

use super::BackendDecision;
use super::machine::machine;

/// The file, in the data folder.
pub const BACKENDS_FILE: &str = "backends.json";
/// Most choices in the file; the oldest is dropped first.
pub const MAX_CHOICES: usize = 256;
/// Most bytes of the file that are read: 1 MiB.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most characters of a reason.
const MAX_REASON: usize = 400;
/// The format of the file.
const FORMAT: FileFormat = FileFormat::new(1, 1);

/// The chosen backends on this machine, by model digest.
#[derive(Debug)]
pub struct Backends {
    path: Option<PathBuf>,
    machine: String,
    /// Oldest first.
    choices: Vec<Choice>,
    changed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendsFile {
    format: u32,
    choices: Vec<Choice>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    model: Digest,
    machine: String,
    threads: usize,
    backend: Backend,
    reason: String,
    /// Whether the outputs of the other backend are the same, so that it may replace a failed one. Choices of an earlier version lack
    /// it, and are measured again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alike: Option<bool>,
}

impl Backends {
    /// Without a file: nothing is loaded or saved.
    pub fn in_memory(inference: &InferenceConfig) -> Self {
        Self {
            path: None,
            machine: machine(inference),
            choices: Vec::new(),
            changed: false,
        }
    }

    /// Loads the choices of the data folder. A damaged file is ignored, since everything in it can be measured again. The file of a newer
    /// version stays as it is.
    pub fn open(data: &Path, inference: &InferenceConfig) -> Self {
        let path = data.join(BACKENDS_FILE);
        let (path, choices) = match read(&path) {
            Ok(choices) => (Some(path), choices),
            Err(error) => {
                tracing::warn!(path = %path.display(), cause = chain(&error), "remembered backends cannot be read; they are measured again");
                let is_newer = matches!(error, ReadError::Newer(_));
                ((!is_newer).then_some(path), Vec::new())
            }
        };
        Self {
            path,
            choices,
            ..Self::in_memory(inference)
        }
    }

    /// Saves new choices. If that fails, the next start measures again.
    pub fn save(&mut self) {
        let Some(path) = self.path.as_ref().filter(|_| self.changed) else {
            return;
        };
        let file = BackendsFile {
            format: FORMAT.written(),
            choices: self.choices.clone(),
        };
        let written = serde_json::to_vec(&file)
            .map_err(|error| error.to_string())
            .and_then(|bytes| replace_file(path, &bytes).map_err(|error| chain(&error)));
        match written {
            Ok(()) => self.changed = false,
            Err(reason) => {
                tracing::warn!(
                    reason,
                    "the chosen backends cannot be saved; the next start measures again"
                )
            }
        }
    }

    /// The choice for this model.
    pub(super) fn get(&self, model: Digest, threads: usize) -> Option<BackendDecision> {
        let found = self.choices.iter().find(|it| self.is(it, model, threads))?;
        Some(BackendDecision {
            backend: found.backend,
            reason: found.reason.clone(),
            lasting: true,
            alike: found.alike?,
            undecided: false,
        })
    }

    pub(super) fn remember(&mut self, model: Digest, threads: usize, chosen: &BackendDecision) {
        let (before, machine) = (std::mem::take(&mut self.choices), self.machine.clone());
        self.choices = before
            .into_iter()
            .filter(|it| !self.is(it, model, threads))
            .collect();
        self.choices.push(Choice {
            model,
            machine,
            threads,
            backend: chosen.backend,
            reason: chosen.reason.chars().take(MAX_REASON).collect(),
            alike: Some(chosen.alike),
        });
        let surplus = self.choices.len().saturating_sub(MAX_CHOICES);
        self.choices.drain(..surplus);
        self.changed = true;
    }

    fn is(&self, choice: &Choice, model: Digest, threads: usize) -> bool {
        choice.model == model && choice.threads == threads && choice.machine == self.machine
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it is damaged")]
    Json(#[from] serde_json::Error),
    #[error("its format is {0}, which does not exist")]
    Format(u32),
    #[error("it has more than {MAX_CHOICES} choices")]
    TooMany,
    #[error(transparent)]
    Newer(#[from] NewerFormat),
}

fn read(path: &Path) -> Result<Vec<Choice>, ReadError> {
    let bytes = match read_bytes(path, MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    FORMAT.check_json(BACKENDS_FILE, &bytes)?;
    let file: BackendsFile = serde_json::from_slice(&bytes)?;
    if file.format == 0 {
        return Err(ReadError::Format(file.format));
    }
    if file.choices.len() > MAX_CHOICES {
        return Err(ReadError::TooMany);
    }
    Ok(file.choices)
}
