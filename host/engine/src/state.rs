//! State that components keep through the `state` import, across samples and releases.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hotshoe_base::format::{FileFormat, NewerFormat};
use hotshoe_trust::ReleaseLimits;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use crate::insight::base64_bytes;

/// Most entries of one component.
pub const MAX_STATE_ENTRIES: usize = 256;
/// Longest key, in bytes.
pub const MAX_STATE_KEY_BYTES: usize = 128;
/// Largest value, in bytes.
pub const MAX_STATE_VALUE_BYTES: usize = 64 << 10;
/// Largest `state-kib` of a component, in bytes of keys and values.
pub const MAX_STATE_BYTES: usize = (ReleaseLimits::STATE_KIB as usize) << 10;
/// Largest snapshot, in bytes: more than all components of one release can keep.
pub const MAX_SNAPSHOT_BYTES: usize = 128 << 20;

/// The format of a snapshot.
const FORMAT: FileFormat = FileFormat::new(1, 1);

/// The state of one component, shared by all of its instances in a pipeline.
#[derive(Debug, Default)]
pub(crate) struct KeptState {
    /// The state-version that this release writes.
    own_version: u32,
    /// Its limit `state-kib`, in bytes.
    max_bytes: usize,
    kept: Mutex<StateEntries>,
    changes: AtomicU64,
}

/// The entries of one component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateEntries {
    /// The state-version of the last write; 0 before the first one.
    version: u32,
    entries: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Value(#[serde(with = "base64_bytes")] Vec<u8>);

/// Why a component may not write an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StateError {
    #[error("a key of the state must not be empty")]
    EmptyKey,
    #[error("a key of {0} bytes exceeds the limit of {MAX_STATE_KEY_BYTES} bytes")]
    Key(usize),
    #[error("a value of {0} bytes exceeds the limit of {MAX_STATE_VALUE_BYTES} bytes")]
    Value(usize),
    #[error("the state already has {MAX_STATE_ENTRIES} entries; delete one first")]
    Entries,
    #[error(
        "the state would hold {bytes} bytes, more than the {max} bytes of the component's limit `state-kib`"
    )]
    Bytes { bytes: usize, max: usize },
}

impl StateEntries {
    fn check(&self, key: &str, value: &[u8], max: usize) -> Result<(), StateError> {
        if key.is_empty() {
            return Err(StateError::EmptyKey);
        }
        if key.len() > MAX_STATE_KEY_BYTES {
            return Err(StateError::Key(key.len()));
        }
        if value.len() > MAX_STATE_VALUE_BYTES {
            return Err(StateError::Value(value.len()));
        }
        let old = self.entries.get(key);
        if old.is_none() && self.entries.len() >= MAX_STATE_ENTRIES {
            return Err(StateError::Entries);
        }
        let freed = old.map_or(0, |old| key.len() + old.0.len());
        let bytes = self.bytes() - freed + key.len() + value.len();
        if bytes > max {
            return Err(StateError::Bytes { bytes, max });
        }
        Ok(())
    }

    /// Adding up at most 256 lengths is cheaper than maintaining a sum.
    fn bytes(&self) -> usize {
        let sizes = self.entries.iter();
        sizes.map(|(key, value)| key.len() + value.0.len()).sum()
    }

    fn within_limits(&self) -> Result<(), StateError> {
        let mut checked = Self::default();
        for (key, value) in &self.entries {
            checked.check(key, &value.0, MAX_STATE_BYTES)?;
            checked.entries.insert(key.clone(), value.clone());
        }
        Ok(())
    }
}

impl KeptState {
    /// An empty state with this state-version and this limit in bytes.
    pub(crate) fn new(own_version: u32, max_bytes: usize) -> Self {
        Self {
            own_version,
            max_bytes,
            ..Self::default()
        }
    }

    /// An independent copy.
    pub(crate) fn fork(&self) -> Self {
        Self {
            own_version: self.own_version,
            max_bytes: self.max_bytes,
            kept: Mutex::new(self.lock().clone()),
            changes: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.lock().entries.get(key).map(|value| value.0.clone())
    }

    pub(crate) fn set(&self, key: String, value: Vec<u8>) -> Result<(), StateError> {
        self.write(&mut self.lock(), key, value)
    }

    pub(crate) fn replace(
        &self,
        key: String,
        expected: Option<&[u8]>,
        value: Option<Vec<u8>>,
    ) -> Result<bool, StateError> {
        let mut kept = self.lock();
        if kept.entries.get(&key).map(|value| value.0.as_slice()) != expected {
            return Ok(false);
        }
        match value {
            Some(value) => self.write(&mut kept, key, value)?,
            None => self.remove(&mut kept, &key),
        }
        Ok(true)
    }

    pub(crate) fn delete(&self, key: &str) {
        self.remove(&mut self.lock(), key);
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.lock().entries.keys().cloned().collect()
    }

    pub(crate) fn version(&self) -> u32 {
        self.lock().version
    }

    fn write(
        &self,
        kept: &mut StateEntries,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), StateError> {
        kept.check(&key, &value, self.max_bytes)?;
        let value = Value(value);
        if kept.version == self.own_version && kept.entries.get(&key) == Some(&value) {
            return Ok(());
        }
        kept.version = self.own_version;
        kept.entries.insert(key, value);
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn remove(&self, kept: &mut StateEntries, key: &str) {
        if kept.entries.remove(key).is_some() {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, StateEntries> {
        self.kept.lock()
    }
}

/// A snapshot of the state of all components of a pipeline, by name. It is saved to disk and passed to the next release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSnapshot {
    /// The version of its format; `None` is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<u32>,
    components: BTreeMap<String, StateEntries>,
}

/// Why a saved snapshot cannot be used. The components then start with empty state.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is too large.
    #[error("the saved state has {0} bytes, which exceeds the limit of {MAX_SNAPSHOT_BYTES} bytes")]
    TooLarge(usize),
    /// It is not the expected JSON: the file is damaged.
    #[error("the saved state is damaged")]
    Unreadable(#[source] serde_json::Error),
    /// A newer version of Hotshoe wrote it.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// A component would exceed a limit.
    #[error("the saved state of component `{component}` exceeds a limit: {message}")]
    OverLimit {
        /// Its name in the release.
        component: String,
        /// Which limit.
        message: String,
    },
}

impl SnapshotError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "state_too_large",
            Self::Unreadable(_) => "state_unreadable",
            Self::Newer(error) => error.name(),
            Self::OverLimit { .. } => "state_over_limit",
        }
    }
}

impl StateSnapshot {
    /// Parses the bytes of [`Self::to_bytes`].
    ///
    /// # Errors
    /// [`SnapshotError`] for anything else; the release should serve nevertheless.
    pub fn parse(bytes: &[u8]) -> Result<Self, SnapshotError> {
        if bytes.len() > MAX_SNAPSHOT_BYTES {
            return Err(SnapshotError::TooLarge(bytes.len()));
        }
        let file = "the saved state";
        let mut snapshot: Self = match serde_json::from_slice(bytes) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                FORMAT.check_json(file, bytes)?;
                return Err(SnapshotError::Unreadable(error));
            }
        };
        FORMAT.check(file, snapshot.format)?;
        snapshot.format = FORMAT.mark();
        for (component, kept) in &snapshot.components {
            kept.within_limits()
                .map_err(|error| SnapshotError::OverLimit {
                    component: component.clone(),
                    message: error.to_string(),
                })?;
        }
        Ok(snapshot)
    }

    /// As JSON, values in base64.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Infallible: maps with text keys and numbers.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether no component has state.
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// Adds the state of a component, if it has any.
    pub(crate) fn add(&mut self, component: &str, state: &KeptState) {
        let kept = state.lock().clone();
        if kept != StateEntries::default() {
            self.format = FORMAT.mark();
            self.components.insert(component.to_owned(), kept);
        }
    }

    /// Replaces the state of a component. This does not count as a change.
    pub(crate) fn restore(&self, component: &str, state: &KeptState) {
        *state.lock() = self.components.get(component).cloned().unwrap_or_default();
    }
}

impl KeptState {
    /// Number of writes that changed something.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests"
    )]
    use super::*;

    /// The default of `state-kib`.
    const MIB: usize = 1 << 20;

    fn set(state: &KeptState, key: &str, value: &[u8]) -> Result<(), StateError> {
        state.set(key.to_owned(), value.to_vec())
    }

    #[test]
    fn the_first_write_of_a_release_stamps_its_version() {
        let old = KeptState::new(1, MIB);
        assert_eq!(old.version(), 0);
        set(&old, "a", b"1").unwrap();
        let mut snapshot = StateSnapshot::default();
        snapshot.add("counter", &old);

        let new = KeptState::new(2, MIB);
        StateSnapshot::parse(&snapshot.to_bytes())
            .unwrap()
            .restore("counter", &new);
        assert_eq!(
            (new.version(), new.get("a"), new.changes()),
            (1, Some(b"1".to_vec()), 0)
        );
        new.delete("a");
        assert_eq!((new.version(), new.changes()), (1, 1));
        set(&new, "a", b"1").unwrap();
        assert_eq!((new.version(), new.changes()), (2, 2));
        // The same again changes nothing that would have to be written.
        set(&new, "a", b"1").unwrap();
        assert_eq!(new.changes(), 2);
        assert_eq!(old.version(), 1);
    }

    #[test]
    fn each_limit_has_its_own_error_and_changes_nothing() {
        let state = KeptState::new(1, MIB);
        assert_eq!(set(&state, "", b""), Err(StateError::EmptyKey));
        let long = "k".repeat(MAX_STATE_KEY_BYTES + 1);
        assert_eq!(set(&state, &long, b""), Err(StateError::Key(long.len())));
        set(&state, &long[1..], b"").unwrap();
        state.delete(&long[1..]);
        let large = vec![0; MAX_STATE_VALUE_BYTES + 1];
        assert_eq!(
            set(&state, "a", &large),
            Err(StateError::Value(large.len()))
        );
        for n in 0..MAX_STATE_ENTRIES {
            set(&state, &n.to_string(), b"x").unwrap();
        }
        assert_eq!(set(&state, "more", b"x"), Err(StateError::Entries));
        set(&state, "0", b"other").unwrap();
        assert_eq!(state.keys().len(), MAX_STATE_ENTRIES);
    }

    #[test]
    fn all_values_together_are_bounded() {
        let state = KeptState::new(1, MIB);
        let value = vec![7; MAX_STATE_VALUE_BYTES];
        let fit = MIB / (MAX_STATE_VALUE_BYTES + 2);
        for n in 0..fit {
            set(&state, &format!("{n:02}"), &value).unwrap();
        }
        assert!(matches!(
            set(&state, "xx", &value),
            Err(StateError::Bytes { max: MIB, .. })
        ));
        assert_eq!(state.get("xx"), None);
        // In the place of an entry of the same size it fits.
        set(&state, "00", &value).unwrap();
    }

    #[test]
    fn replace_writes_only_over_what_is_expected() {
        let state = KeptState::new(1, MIB);
        let replace = |expected: Option<&[u8]>, value: Option<&[u8]>| {
            state
                .replace("n".to_owned(), expected, value.map(<[u8]>::to_vec))
                .unwrap()
        };
        assert!(!replace(Some(b"0"), Some(b"1")));
        assert!(replace(None, Some(b"1")));
        assert!(!replace(None, Some(b"2")));
        assert!(replace(Some(b"1"), Some(b"2")));
        assert_eq!(state.get("n").unwrap(), b"2");
        assert!(replace(Some(b"2"), None));
        assert_eq!(state.get("n"), None);
    }

    #[test]
    fn a_fork_goes_its_own_way() {
        let state = KeptState::new(3, MIB);
        set(&state, "a", b"1").unwrap();
        let fork = state.fork();
        set(&fork, "a", b"2").unwrap();
        assert_eq!(state.get("a").unwrap(), b"1");
        assert_eq!(fork.get("a").unwrap(), b"2");
    }

    #[test]
    fn what_nobody_wrote_is_refused() {
        for (bytes, name) in [
            (&b"{"[..], "state_unreadable"),
            (b"\xff\xfe", "state_unreadable"),
            (
                br#"{"components":{"a":{"version":1,"entries":{"":"AA=="}}}}"#,
                "state_over_limit",
            ),
            (
                br#"{"components":{"a":{"version":1,"entries":{"k":"?"}}}}"#,
                "state_unreadable",
            ),
            (br#"{"components":{},"more":1}"#, "state_unreadable"),
            (br#"{"format":99,"components":[],"more":1}"#, "newer_format"),
            (br#"{"format":99,"components":{}}"#, "newer_format"),
        ] {
            assert_eq!(StateSnapshot::parse(bytes).unwrap_err().name(), name);
        }
        assert!(
            StateSnapshot::parse(br#"{"components":{}}"#)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_snapshot_of_format_1_names_no_format() {
        let state = KeptState::new(1, MIB);
        set(&state, "a", b"1").unwrap();
        let mut snapshot = StateSnapshot::default();
        snapshot.add("counter", &state);
        let bytes = br#"{"components":{"counter":{"version":1,"entries":{"a":"MQ=="}}}}"#;
        assert_eq!(snapshot.to_bytes(), bytes);
        assert_eq!(StateSnapshot::parse(bytes).unwrap().to_bytes(), bytes);
    }

    #[test]
    fn a_component_that_the_snapshot_lacks_begins_with_nothing() {
        let state = KeptState::new(1, MIB);
        set(&state, "a", b"1").unwrap();
        StateSnapshot::default().restore("other", &state);
        assert_eq!((state.version(), state.keys()), (0, Vec::new()));
    }
}
