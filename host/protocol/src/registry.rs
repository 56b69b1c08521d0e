//! The status of a registry and of its site's releases: the answer to a query of `@registry/<name>`.

use hotshoe_store::Cause;
use hotshoe_trust::Digest;
use serde::{Deserialize, Serialize};

/// Most releases in a [`RegistryStatus`], those of the newest statements.
pub const MAX_RELEASES: usize = 64;

/// The status of a registry. It is not signed: a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryStatus {
    /// Its site.
    pub site: String,
    /// Its name.
    pub name: String,
    /// A random id of this run. Two ids of one name are two registries.
    pub instance: String,
    /// Ids of other registries with the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub same_name: Vec<String>,
    /// Number of completely stored releases.
    pub stored: u64,
    /// Number of stored blobs that were found damaged and set aside.
    pub damaged: u64,
    /// Number of statements and releases that it refused.
    pub refused: u64,
    /// Releases of the last statements, the newest last.
    pub releases: Vec<KeptRelease>,
}

/// A release at a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRelease {
    /// Its name.
    pub name: String,
    /// Its generation, as the statement claims.
    pub generation: u64,
    /// The digest of its manifest.
    pub release: Digest,
    /// Whether the registry has it.
    pub state: KeptState,
    /// Why it does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// Whether a registry has a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum KeptState {
    /// It is complete and serves devices.
    Stored,
    /// The registry does not store it.
    Refused,
    /// It cannot be stored now; the registry tries again.
    Retrying,
    /// It waits to be fetched, or is being fetched. A state that this reader does not know counts as this.
    #[serde(other)]
    Pending,
}

impl KeptState {
    /// The name, as in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
