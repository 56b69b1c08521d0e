//! The registry's record: statements, stored releases, and new versions of `trust.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use hotshoe_base::files::read_bytes;
use hotshoe_base::format::FileFormat;
use hotshoe_store::{BlobError, replace_file};
use hotshoe_trust::{DeviceSelector, Digest, ReadStatement, StatementTimes, Time};
use serde::{Deserialize, Serialize};

use super::RegistryError;

/// Most statements; beyond it, unsigned ones are refused.
const MAX_STATEMENTS: usize = 1_024;
/// Most bytes of unsigned statements: 16 MiB.
const MAX_UNSIGNED_BYTES: usize = 16 << 20;
/// Most versions of `trust.toml`. A device that missed more needs a manual update.
const MAX_UPDATES: usize = 32;
/// Largest file, in bytes.
const MAX_RECORD_BYTES: u64 = 1 << 30;

/// The format of the file.
const FORMAT: FileFormat = FileFormat::new(1, 1);

/// A completely stored release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRelease {
    /// Its name.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// The digest of its manifest.
    pub release: Digest,
    /// The digests of its signature bundles.
    pub bundles: Vec<Digest>,
    /// When it was signed.
    pub issued: Time,
}

/// A stored statement, with which queries are answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredStatement {
    pub name: String,
    /// The newest signed and the newest unsigned statement are kept, so that an unsigned one cannot displace a signed one.
    pub signed: bool,
    pub kind: String,
    /// Addressed devices: a statement for one device does not displace one for all.
    #[serde(default)]
    pub devices: DeviceSelector,
    pub issued: Time,
    pub expires: Time,
    pub envelope: String,
}

/// The content of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The version of its format; `None` is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<u32>,
    pub statements: Vec<StoredStatement>,
    pub releases: Vec<StoredRelease>,
    /// Versions of `trust.toml`, in order.
    pub updates: Vec<String>,
    /// Blobs of packages that could not be verified when the record was rebuilt. They stay while the quota allows it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unverified: BTreeSet<Digest>,
}

impl Record {
    pub(super) fn load(path: &Path) -> Result<Self, RegistryError> {
        let failed = |source| RegistryError::Record {
            path: path.to_owned(),
            source,
        };
        match read_bytes(path, MAX_RECORD_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self {
                format: FORMAT.mark(),
                ..Self::default()
            }),
            Err(error) => Err(failed(error)),
            Ok(bytes) => {
                FORMAT.check_json(path.display(), &bytes)?;
                let record: Self =
                    serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
                Ok(Self {
                    format: FORMAT.mark(),
                    ..record
                })
            }
        }
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), BlobError> {
        replace_file(path, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Adds a statement. False if there is a newer one of its kind, or there are too many.
    pub(super) fn add_statement(
        &mut self,
        statement: &ReadStatement,
        envelope: String,
        now: Time,
        times: &mut StatementTimes,
    ) -> bool {
        self.statements.retain(|kept| kept.expires > now);
        let new = StoredStatement {
            name: statement.order.name().to_owned(),
            signed: !statement.signers().is_empty(),
            kind: statement.order.kind().to_owned(),
            devices: statement.devices.clone(),
            issued: statement.issued,
            expires: statement.expires,
            envelope,
        };
        let same = |kept: &StoredStatement| {
            (&kept.name, kept.signed, &kept.kind, &kept.devices)
                == (&new.name, new.signed, &new.kind, &new.devices)
        };
        // Unsigned statements can be made by anyone, and each rewrites the whole record.
        let others = self.statements.iter().filter(|k| !k.signed && !same(k));
        let unsigned: usize = others.map(|kept| kept.envelope.len()).sum();
        if !new.signed && unsigned.saturating_add(new.envelope.len()) > MAX_UNSIGNED_BYTES {
            return false;
        }
        // A signed statement from a clock that is ahead must not keep later ones out. An unsigned one can claim any time.
        let from = match new.signed {
            true => times.hear(new.issued, now),
            false => new.issued,
        };
        match self.statements.iter().position(same) {
            Some(place) => {
                let older = self
                    .statements
                    .get(place)
                    .is_some_and(|k| times.counts_from(k.issued) < from);
                if !older {
                    return false;
                }
                self.statements.remove(place);
            }
            None if self.statements.len() >= MAX_STATEMENTS && !new.signed => return false,
            None => {}
        }
        self.statements.push(new);
        true
    }

    pub(super) fn add_release(&mut self, held: StoredRelease) {
        self.releases.retain(|other| other.release != held.release);
        self.releases.push(held);
    }

    pub(super) fn update_trust(&mut self, update: String) {
        self.updates.push(update);
        let over = self.updates.len().saturating_sub(MAX_UPDATES);
        self.updates.drain(..over);
    }

    /// Removes and returns the releases that have at least `keep` newer complete ones of their name.
    pub(super) fn surplus(
        &mut self,
        keep: usize,
        incomplete: &BTreeSet<Digest>,
    ) -> Vec<StoredRelease> {
        let mut generations: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let releases = self.releases.iter();
        for held in releases.filter(|held| !incomplete.contains(&held.release)) {
            generations
                .entry(held.name.clone())
                .or_default()
                .push(held.generation);
        }
        for generations in generations.values_mut() {
            generations.sort_unstable_by(|a, b| b.cmp(a));
        }
        let stays = |held: &StoredRelease| {
            let newer = generations.get(&held.name).map_or(0, |all| {
                all.iter().filter(|other| **other > held.generation).count()
            });
            newer < keep.max(1)
        };
        let (stay, go) = self.releases.drain(..).partition(stays);
        self.releases = stay;
        go
    }

    /// Removes and returns the release with the oldest signature, but never the newest complete one of a name, or one that is newer.
    pub(super) fn oldest(&mut self, incomplete: &BTreeSet<Digest>) -> Option<StoredRelease> {
        let newest = |held: &StoredRelease| {
            !self.releases.iter().any(|other| {
                other.name == held.name
                    && other.generation > held.generation
                    && !incomplete.contains(&other.release)
            })
        };
        let place = self
            .releases
            .iter()
            .enumerate()
            .filter(|(_, held)| !newest(held))
            .min_by_key(|(_, held)| held.issued)
            .map(|(place, _)| place)?;
        Some(self.releases.remove(place))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_incomplete_release_displaces_no_complete_one() {
        let release = |generation: u64| StoredRelease {
            name: "ocr".to_owned(),
            generation,
            release: Digest::of(&generation.to_le_bytes()),
            bundles: Vec::new(),
            issued: Time::UNIX_EPOCH,
        };
        let mut record = Record {
            releases: vec![release(1), release(2)],
            ..Record::default()
        };
        let incomplete = BTreeSet::from([release(2).release]);
        assert!(record.surplus(1, &incomplete).is_empty());
        assert_eq!(record.oldest(&incomplete), None);
        let complete = BTreeSet::new();
        assert_eq!(record.clone().oldest(&complete), Some(release(1)));
        assert_eq!(record.surplus(1, &complete), [release(1)]);
        assert_eq!(record.releases, [release(2)]);
    }

    #[test]
    fn a_record_without_a_version_is_read_and_a_newer_one_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.json");
        let text = r#"{"statements":[],"releases":[],"updates":["v2"]}"#;
        std::fs::write(&path, text).unwrap();
        let record = Record::load(&path).unwrap();
        record.save(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        let newer = r#"{"format":99,"statements":{},"new":[]}"#;
        std::fs::write(&path, newer).unwrap();
        let error = Record::load(&path).unwrap_err();
        assert_eq!(error.name(), "newer_format");
        assert!(error.to_string().contains("format 99"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
    }
}
