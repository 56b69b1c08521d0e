//! The file of a replica, `shared-data.json`, which is replaced whole with each change.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use hotshoe_base::disk::Disk;
use hotshoe_base::format::FileFormat;
use hotshoe_sealing::{AtRest, UnsealError};
use hotshoe_trust::strict_json::{self, JsonError};
use serde::{Deserialize, Serialize};

use crate::clock::HybridClock;
use crate::entry::Writer;
use crate::error::{SharedDataError, StoreError};
use crate::replica::{Held, Replica};

/// The file's name in its folder.
pub const FILE: &str = "shared-data.json";
/// The name that a damaged file gets.
const DAMAGED: &str = "shared-data.damaged.json";
/// Largest file, in bytes: 64 MiB. The largest values of all names need about 45.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Its format.
const FORMAT: FileFormat = FileFormat::new(1, 1);

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    clock: &'a HybridClock,
    values: &'a BTreeMap<String, Held>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    #[serde(rename = "format")]
    _format: u32,
    clock: HybridClock,
    values: BTreeMap<String, Held>,
}

/// A damaged file, which was renamed. The replica starts empty, and gets its values back from the other end.
#[derive(Debug, thiserror::Error)]
#[error("the shared data {} is damaged, and was renamed to {}; this end starts without it", path.display(), to.display())]
pub struct SetAside {
    /// The file.
    pub path: PathBuf,
    /// Its new name.
    pub to: PathBuf,
    /// What is wrong with it; `None` if it is JSON with values that no replica can have.
    #[source]
    pub source: Option<JsonError>,
}

impl SetAside {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        "damaged_shared_data"
    }
}

/// A replica with its file.
#[derive(Debug)]
pub struct SharedStore {
    disk: Disk,
    at_rest: AtRest,
    path: PathBuf,
    replica: Replica,
}

impl SharedStore {
    /// Reads the file in `folder`, which may be missing. A damaged one is renamed and returned, and the replica is empty.
    ///
    /// # Errors
    /// [`StoreError`]; a file of a newer format stays as it is.
    pub fn open(
        disk: Disk,
        folder: &Path,
        own: Writer,
    ) -> Result<(Self, Option<SetAside>), StoreError> {
        Self::open_at_rest(disk, &AtRest::plain(), folder, own)
    }

    /// [`Self::open`] on a device whose files may be sealed.
    ///
    /// # Errors
    /// The same, and [`StoreError::Read`] for a file whose key is not there.
    pub fn open_at_rest(
        disk: Disk,
        at_rest: &AtRest,
        folder: &Path,
        own: Writer,
    ) -> Result<(Self, Option<SetAside>), StoreError> {
        let path = folder.join(FILE);
        let store = |replica| Self {
            disk: disk.clone(),
            at_rest: at_rest.clone(),
            path: path.clone(),
            replica,
        };
        let bytes = match at_rest.read(&path, MAX_FILE_BYTES) {
            Ok(bytes) => bytes,
            // Damage of a sealed file: what is left is not JSON.
            Err(error) if is_damage(&error) => Vec::new(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((store(Replica::new(own)), None));
            }
            Err(source) => return Err(StoreError::Read { path, source }),
        };
        FORMAT.check_json(path.display(), &bytes)?;
        let source = match strict_json::parse(&bytes, MAX_FILE_BYTES) {
            Ok(Found { clock, values, .. }) => {
                match Replica::from_parts(own.clone(), clock, values) {
                    Some(replica) => return Ok((store(replica), None)),
                    None => None,
                }
            }
            Err(error) => Some(error),
        };
        let to = folder.join(DAMAGED);
        disk.rename(&path, &to)
            .map_err(|source| StoreError::Write {
                path: path.clone(),
                source,
            })?;
        let empty = store(Replica::new(own));
        Ok((empty, Some(SetAside { path, to, source })))
    }

    /// The values.
    pub const fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Changes which values there are, without a write: the next change writes it.
    pub fn define<T>(&mut self, define: impl FnOnce(&mut Replica) -> T) -> T {
        define(&mut self.replica)
    }

    /// Changes the values, and writes them if they differ. After an error, the values are as before.
    ///
    /// # Errors
    /// Those of `change`, and [`StoreError::Write`].
    pub fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Replica) -> Result<T, SharedDataError>,
    ) -> Result<T, SharedDataError> {
        let mut changed = self.replica.clone();
        let result = change(&mut changed)?;
        if changed != self.replica {
            self.write(&changed)?;
            self.replica = changed;
        }
        Ok(result)
    }

    fn write(&self, replica: &Replica) -> Result<(), StoreError> {
        let (clock, values) = replica.parts();
        let format = FORMAT.written();
        let written = Written {
            format,
            clock,
            values,
        };
        let failed = |source| StoreError::Write {
            path: self.path.clone(),
            source,
        };
        let bytes = serde_json::to_vec(&written).map_err(|error| failed(error.into()))?;
        self.at_rest
            .replace(&self.disk, &self.path, &bytes)
            .map_err(failed)
    }
}

fn is_damage(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|it| it.downcast_ref());
    matches!(cause, Some(UnsealError::Damaged { .. }))
}
