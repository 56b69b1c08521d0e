//! The record of watched files that killed the daemon or were refused, so that they are not retried for ever.
//!
//! While a file's sample is being processed, there is a marker for it in the data folder. A marker that exists at the start belongs to a
//! file that was being processed when the daemon died. Markers are not synced: they must survive the process, not the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use hotshoe_base::chain;
use hotshoe_base::files::read_bytes;
use hotshoe_base::format::{FileFormat, NewerFormat};
use hotshoe_egress::Egress;
use hotshoe_protocol::event::{EventCause, KnownKind, Subject};
use hotshoe_protocol::status::WatchStatus;
use hotshoe_store::replace_file;
use hotshoe_trust::Digest;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Version;
use super::folder_state::FolderState;
use crate::events::EventLog;

/// Name of the record in the data folder.
const RECORD: &str = "watched.json";
/// Folder of markers in the data folder.
const MARKERS: &str = "watching";
/// Times that a file may kill the daemon or be refused, per release, before it is set aside.
const MAX_TRIES: u32 = 2;
/// Most files in the record; the oldest is removed first.
const MAX_FILES: usize = 1_024;
/// Largest record or marker, in bytes: 8 MiB.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// Longest reason, in characters.
const MAX_REASON: usize = 400;
/// The fault of a sample that was not processed because its component is paused after other failures.
const BACKING_OFF: &str = "backing_off";
/// The format of the record.
const FORMAT: FileFormat = FileFormat::new(1, 1);

/// A version of a file, and the release that processed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Attempt {
    path: PathBuf,
    size: u64,
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    modified_ns: u64,
    release: Option<Digest>,
}

/// The failures of one attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct FileRecord {
    #[serde(flatten)]
    of: Attempt,
    /// Times that the daemon died while it was processed.
    deaths: u32,
    /// Times that its sample failed.
    refusals: u32,
    /// The last reason.
    reason: String,
}

impl FileRecord {
    fn is_set_aside(&self) -> bool {
        self.deaths >= MAX_TRIES || self.refusals >= MAX_TRIES
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    files: Vec<FileRecord>,
}

/// What to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Process it normally.
    Try,
    /// Process it while no other file is processed: the daemon died with it once.
    TryAlone,
    /// Set it aside.
    SetAside,
}

/// The record of failed files, over all starts.
#[derive(Debug)]
pub struct FailedFiles {
    data: PathBuf,
    /// False if a newer version wrote the record, which then stays as it is.
    is_saved: bool,
    events: Arc<EventLog>,
    folder: FolderState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first.
    files: Vec<FileRecord>,
    /// The release that serves.
    release: Option<Digest>,
}

/// Marks a file as in progress until it is dropped.
#[derive(Debug)]
pub(super) struct InProgressMarker(PathBuf);

impl Drop for InProgressMarker {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // the next start would count it once too often
    }
}

impl FailedFiles {
    /// Opens the record in a data folder, and counts the files that were being processed when the daemon died.
    pub fn open(data: &Path, events: Arc<EventLog>) -> Arc<Self> {
        let read = read_record(&data.join(RECORD));
        let is_newer = matches!(read, Err(RecordError::Newer(_)));
        let files = read.unwrap_or_else(|error| {
            tracing::warn!(
                reason = chain(&error),
                "cannot read which watched files were set aside; they are tried again"
            );
            Vec::new()
        });
        let failed_files = Self {
            data: data.to_owned(),
            is_saved: !is_newer,
            events,
            folder: FolderState::default(),
            state: Mutex::new(State {
                files,
                release: None,
            }),
        };
        let reason = "the daemon died while the file was being processed";
        for died in failed_files.take_markers() {
            failed_files.record_failure(died, reason, |known| &mut known.deaths);
        }
        Arc::new(failed_files)
    }

    /// Sets the release that serves. Failures count per release. Without a release, files wait for [`Self::resume`].
    pub fn serve(&self, release: Option<Digest>) {
        self.lock().release = release;
        if release.is_none() {
            self.folder.pause();
        }
    }

    /// Sets how long processed files may be kept: the retention of the class of pictures.
    pub fn keep_for(&self, retention: Option<Duration>) {
        self.folder.set_retention(retention);
    }

    /// Lets files wait while the device rests.
    pub fn rest(&self, rests: bool) {
        self.folder.rest(rests);
    }

    /// Has waiting files read: a release serves.
    pub fn resume(&self) {
        self.folder.resume();
    }

    /// The state of the folder itself.
    pub(crate) const fn folder(&self) -> &FolderState {
        &self.folder
    }

    /// Records an event about the folder or an entry of it.
    pub(crate) fn report(&self, kind: KnownKind, path: &Path, cause: Option<EventCause>) {
        let path = path.display().to_string();
        let subject = Subject::File { path };
        self.events.record(kind, subject, cause, &[]);
    }

    pub(crate) fn verdict(&self, path: &Path, version: Version) -> Verdict {
        let state = self.lock();
        let wanted = of(path, version, state.release);
        match state.files.iter().find(|known| known.of == wanted) {
            Some(known) if known.is_set_aside() => Verdict::SetAside,
            Some(known) if known.deaths > 0 => Verdict::TryAlone,
            _ => Verdict::Try,
        }
    }

    /// Marks the file as in progress. If the marker cannot be written, the file is processed all the same.
    pub(super) fn begin(&self, path: &Path, version: Version) -> Option<InProgressMarker> {
        let marker = of(path, version, self.lock().release);
        let folder = self.data.join(MARKERS);
        let file = folder.join(format!("{}.json", Uuid::now_v7()));
        let text = serde_json::to_vec(&marker).ok()?;
        let written = fs::write(&file, &text).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                fs::create_dir_all(&folder).and_then(|()| fs::write(&file, &text))
            }
            _ => Err(error),
        });
        // A partly written marker is removed on drop.
        let marker = InProgressMarker(file);
        match written {
            Ok(()) => Some(marker),
            Err(error) => {
                tracing::debug!(%error, "cannot mark a watched file as in progress; it is processed all the same");
                None
            }
        }
    }

    /// Removes a file from the record: it gave a result, or is no longer in the folder.
    pub(super) fn forget(&self, path: &Path, version: Version) {
        let mut state = self.lock();
        let done = of(path, version, state.release);
        let before = state.files.len();
        state.files.retain(|known| known.of != done);
        if state.files.len() != before {
            self.save(&state.files);
        }
    }

    /// Records a failed sample with its error. The record, the status and events show it: it is what may leave the device.
    pub(super) fn refused(&self, path: &Path, version: Version, error: Option<&Egress>) {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct ErrorBody {
            fault: String,
            message: String,
        }
        let body = error.map_or(&[][..], Egress::bytes);
        let error: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
        if error.fault == BACKING_OFF {
            return;
        }
        let tried = of(path, version, self.lock().release);
        let reason = format!("{}: {}", error.fault, error.message);
        self.record_failure(tried, &reason, |known| &mut known.refusals);
    }

    /// How the folder is watched, the number of files that are set aside, and the last one.
    pub fn status(&self) -> WatchStatus {
        let state = self.lock();
        let mut set_aside = state.files.iter().filter(|known| {
            known.is_set_aside() && (state.release.is_none() || known.of.release == state.release)
        });
        let last = set_aside.next_back();
        let folder = self.folder.view();
        WatchStatus {
            mode: folder.mode,
            reason: folder.reason,
            skipped: folder.skipped,
            set_aside: set_aside.count() as u64 + u64::from(last.is_some()),
            last_file: last.map(|known| known.of.path.display().to_string()),
            last_reason: last.map(|known| known.reason.clone()),
        }
    }

    fn record_failure(&self, tried: Attempt, reason: &str, count: fn(&mut FileRecord) -> &mut u32) {
        let mut state = self.lock();
        // Failures of another version, or with another release, no longer count.
        let at = state.files.iter().position(|it| it.of.path == tried.path);
        let before = at.map(|at| state.files.remove(at));
        let mut known = before
            .filter(|known| known.of == tried)
            .unwrap_or(FileRecord {
                of: tried,
                deaths: 0,
                refusals: 0,
                reason: String::new(),
            });
        *count(&mut known) += 1;
        known.reason = reason.chars().take(MAX_REASON).collect();
        if known.is_set_aside() {
            let path = known.of.path.display().to_string();
            let message = format!(
                "it was tried {MAX_TRIES} times; change it to have it tried again; {}",
                known.reason
            );
            let name = if known.deaths >= MAX_TRIES {
                "daemon_died"
            } else {
                "refused"
            };
            let cause = EventCause::new(name, message);
            let subject = Subject::File { path };
            self.events
                .record(KnownKind::FileSetAside, subject, Some(cause), &[]);
        }
        state.files.push(known);
        let surplus = state.files.len().saturating_sub(MAX_FILES);
        state.files.drain(..surplus);
        self.save(&state.files);
    }

    fn save(&self, files: &[FileRecord]) {
        if !self.is_saved {
            return;
        }
        let record = Record {
            format: FORMAT.written(),
            files: files.to_vec(),
        };
        let written = serde_json::to_vec(&record)
            .map_err(|error| EventCause::new("not_json", error.to_string()))
            .and_then(|bytes| {
                replace_file(&self.data.join(RECORD), &bytes)
                    .map_err(|error| EventCause::new(error.name(), chain(&error)))
            });
        if let Err(cause) = written {
            let path = self.data.join(RECORD).display().to_string();
            let subject = Subject::File { path };
            self.events
                .record(KnownKind::DiskWriteFailed, subject, Some(cause), &[]);
        }
    }

    /// Reads and removes the markers of the last run. Partly written ones are ignored.
    fn take_markers(&self) -> Vec<Attempt> {
        let Ok(entries) = fs::read_dir(self.data.join(MARKERS)) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort_unstable();
        let mut markers = Vec::new();
        for path in paths {
            let marker = read_bytes(&path, MAX_FILE_BYTES).ok();
            let marker = marker.and_then(|text| serde_json::from_slice(&text).ok());
            markers.extend(marker);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove a marker of the last run");
            }
        }
        let surplus = markers.len().saturating_sub(MAX_FILES);
        markers.drain(..surplus);
        markers
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

fn of(path: &Path, version: Version, release: Option<Digest>) -> Attempt {
    let modified = version.modified.duration_since(UNIX_EPOCH);
    let modified = modified.unwrap_or_default().as_nanos();
    Attempt {
        path: path.to_owned(),
        size: version.size,
        modified_ns: u64::try_from(modified).unwrap_or(u64::MAX),
        release,
    }
}

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it is damaged")]
    Json(#[from] serde_json::Error),
    #[error("its format is {0}, which does not exist")]
    Format(u32),
    #[error("it has more than {MAX_FILES} files")]
    TooMany,
    #[error(transparent)]
    Newer(#[from] NewerFormat),
}

fn read_record(path: &Path) -> Result<Vec<FileRecord>, RecordError> {
    let bytes = match read_bytes(path, MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    FORMAT.check_json(RECORD, &bytes)?;
    let record: Record = serde_json::from_slice(&bytes)?;
    if record.format == 0 {
        return Err(RecordError::Format(record.format));
    }
    if record.files.len() > MAX_FILES {
        return Err(RecordError::TooMany);
    }
    Ok(record.files)
}
