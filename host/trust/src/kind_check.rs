//! What a release of each kind may have.

use crate::{
    data_contract::DataContract, kind::ReleaseKind, limits::ReleaseLimits, privacy::Privacy,
    release::Release, release_error::ReleaseError, rules::within,
};

impl Release {
    /// Checks that the name fits the kind, and that a release without a pipeline has data files alone.
    pub(crate) fn check_kind(&self) -> Result<(), ReleaseError> {
        let kind = self.kind;
        if ReleaseKind::of_name(&self.name) != kind {
            return Err(ReleaseError::KindName {
                name: self.name.clone(),
                kind,
            });
        }
        if kind == ReleaseKind::Pipeline {
            return Ok(());
        }
        let unused = [
            ("components", !self.components.is_empty()),
            ("models", !self.models.is_empty()),
            ("pipeline", !self.pipeline.is_empty()),
            ("tests", !self.tests.is_empty()),
            ("modes", !self.modes.is_empty()),
            (
                "data-contract",
                self.data_contract != DataContract::default(),
            ),
            ("privacy", self.privacy != Privacy::default()),
            ("drift", self.drift.is_some()),
        ];
        if let Some((key, _)) = unused.into_iter().find(|(_, is_used)| *is_used) {
            return Err(ReleaseError::KindKey { kind, key });
        }
        match kind {
            ReleaseKind::Config if !self.data.contains_key(ReleaseKind::CONFIG_FILE) => {
                Err(ReleaseError::NoConfigFile)
            }
            ReleaseKind::Config => within("the number of data files", self.data.len() as u64, 1, 1),
            _ => within(
                "the number of platforms",
                self.data.len() as u64,
                1,
                ReleaseLimits::ENTRIES,
            ),
        }
    }
}
