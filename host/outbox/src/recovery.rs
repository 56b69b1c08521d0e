//! Opening: reads every segment, names what is missing, and goes on after the last durable record.

mod reading;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hotshoe_base::Clock;
use hotshoe_base::disk::{self, Disk};
use hotshoe_sealing::AtRest;

use crate::age::{Age, Stamp};
use crate::bodies::Bodies;
use crate::error::OpenError;
use crate::frame::MAX_BODY_BYTES;
use crate::host::Host;
use crate::limits::Limits;
use crate::log::{Active, Log, RESERVE, SEGMENT, STATE, Written, segment_path};
use crate::record::Loss;
use crate::state::{Found, State, StateError};

use reading::Reading;

/// What was found when an outbox was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The folder was empty.
    pub is_new: bool,
    /// The folder is bound to another machine or folder: it is a copy, and the epoch rose.
    pub is_copy: bool,
    /// The state was missing or damaged, and the epoch rose.
    pub state_lost: bool,
    /// Bytes after the last whole frame: they were never durable, or were damaged since, so the epoch rose.
    pub torn_bytes: u64,
    /// Damaged bytes, by segment. The epoch rose when they were found first.
    pub damaged: Vec<(u64, u64)>,
    /// Segments that are missing or cannot be read.
    pub missing_segments: Vec<u64>,
    /// The damaged key of the records, which got this path: a new one took its place, and the epoch rose. Records that only the old one opens
    /// are lost as `corrupt` when they are read next.
    pub key_set_aside: Option<PathBuf>,
    /// Records that were lost by that.
    pub losses: Vec<Loss>,
    /// Undelivered records.
    pub records: usize,
}

/// Opens the log in a folder, which is created where it is missing.
pub(crate) fn open(
    folder: &Path,
    mut limits: Limits,
    (disk, at_rest): (Disk, &AtRest),
    clock: Clock,
    host: Host,
) -> Result<(Log, Recovery), OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    disk.make_folder(folder).map_err(io(folder))?;
    // On a read-only disk the outbox still drains.
    let _ = disk.sweep(folder);
    let (bodies, key_set_aside) = Bodies::open(folder, at_rest, &disk)?;
    limits.payload_bytes = limits.payload_bytes.min(MAX_BODY_BYTES - bodies.overhead());
    let path = folder.join(STATE);
    let found = State::read(&path).map_err(|error| match error {
        StateError::Newer(error) => OpenError::Newer(error),
        StateError::Io(source) => io(&path)(source),
    })?;
    let segments = segments(folder).map_err(io(folder))?;
    let state = match found {
        Found::State(state) => Some(*state),
        Found::Missing | Found::Damaged => None,
    };
    let key = state.as_ref().map(|state| state.key);
    let mut reading = Reading::begin(state.as_ref());
    reading.recovery.key_set_aside = key_set_aside;
    reading.recovery.is_new = state.is_none() && segments.is_empty();
    reading.recovery.state_lost = state.is_none() && !segments.is_empty();
    let last_segment = reading.read_all(&disk, &segments, state.as_ref(), key)?;
    reading.settle(state.is_some());
    let bound_to = host.bind(folder);
    let (identity, is_changed) = reading.identity(state.as_ref(), &bound_to);
    // Once for each start of the machine, so that ages go on by its uptime.
    let is_same_boot = state.as_ref().is_some_and(|it| it.time.boot == host.boot);
    let must_write_state = is_changed || !is_same_boot;
    reading.name_gaps(identity.epoch);
    let stamp = state.map_or_else(Stamp::default, |state| state.time);
    let age = Age::new(clock, host, &stamp, reading.newest);
    let mut recovery = reading.recovery;
    recovery.damaged = reading.damage.clone().into_iter().collect();
    recovery.records = reading.index.live_records;
    let reserve_bytes = fs::metadata(folder.join(RESERVE)).map_or(0, |about| about.len());
    let mut log = Log {
        disk,
        folder: folder.to_owned(),
        limits,
        age,
        bodies,
        identity,
        bound_to,
        index: reading.index,
        active: None,
        damaged: None,
        last_segment,
        in_commit: false,
        named_damage: reading.damage,
        unlisted: reading.unlisted,
        acknowledged: BTreeMap::new(),
        must_write_state,
        state_bytes: 0,
        reserve_bytes,
        is_disk_full: false,
        unreadable: None,
        next_look_ms: Some(0),
        buffer_bytes: 0,
        written: Written::default(),
        reader: None,
    };
    // What cannot be written now, the next commit writes. The end of a segment is cut off only after what it showed is durable.
    if !log.must_write_state || log.write_state().is_ok() {
        log.active = reopen(&mut log, reading.last, recovery.torn_bytes);
    }
    log.commit(&[], &[]);
    log.keep_reserve();
    Ok((log, recovery))
}

/// The segments of a folder, by number.
fn segments(folder: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let files = disk::files(folder)?.into_iter();
    let numbered = files.filter_map(|path| {
        let is_segment = path.extension().is_some_and(|it| it == SEGMENT);
        let number = path.file_stem()?.to_str()?.parse().ok()?;
        is_segment.then_some((number, path))
    });
    Ok(numbered.collect())
}

/// Cuts the torn end of the last segment off, and opens it for more. Where that fails, the next commit begins a new one.
fn reopen(log: &mut Log, last: Option<(u64, u64)>, torn_bytes: u64) -> Option<Active> {
    let (number, bytes) = last?;
    let path = segment_path(&log.folder, number);
    let file = log.disk.open_end(&path).ok()?;
    if torn_bytes > 0 {
        let cut = log.disk.truncate(&file, bytes);
        cut.and_then(|()| log.disk.sync_data(&file)).ok()?;
        log.index.segments.entry(number).or_default().bytes = bytes;
    }
    Some(Active {
        number,
        file,
        bytes,
    })
}
