//! Rollouts on the wire (0092, 0093): what a registry states, and what a device reports. Counts are [`hotshoe_rollout::Count`].
//!
//! A device signs its report, and a registry its count, as each message of a device; plans and statements have signatures of their own.

use std::collections::BTreeMap;

use hotshoe_rollout::{Report, Rollout, SignedText};
use hotshoe_trust::PartError;
use hotshoe_trust::strict_json;
use serde::{Deserialize, Serialize};

/// The format of these messages.
pub const ROLLOUT_FORMAT: u32 = 1;
/// Largest report of a device, in bytes: 128 KiB. Six full sets of bins with counts of nine digits have about 65.
pub const MAX_REPORT_BYTES: u64 = 128 << 10;
/// Largest [`StatedRollout`], in bytes: 4 MiB.
pub const MAX_STATED_BYTES: u64 = 4 << 20;
/// Most statements of a [`StatedRollout`]: that of the highest stage and the greatest one, of two controllers.
pub const MAX_STATED: usize = 4;

/// A rollout as a registry answers for it: all that a late device or another controller needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatedRollout {
    /// [`ROLLOUT_FORMAT`].
    pub format: u32,
    /// The plan.
    pub plan: SignedText,
    /// The statements that still matter; those beyond [`MAX_STATED`] are ignored.
    #[serde(default)]
    pub statements: Vec<SignedText>,
}

impl StatedRollout {
    /// A plan with the statements about it.
    pub const fn new(plan: SignedText, statements: Vec<SignedText>) -> Self {
        Self {
            format: ROLLOUT_FORMAT,
            plan,
            statements,
        }
    }

    /// What is known of a rollout.
    pub fn of(rollout: &Rollout) -> Self {
        let statements = rollout.statement_texts().take(MAX_STATED);
        Self::new(rollout.text().clone(), statements.cloned().collect())
    }

    /// The message as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Parses the answer of a registry without verifying its signatures.
    ///
    /// # Errors
    /// [`PartError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PartError> {
        let mut stated: Self = strict_json::parse(bytes, MAX_STATED_BYTES)
            .map_err(|source| PartError::of("rollout", source))?;
        stated.statements.truncate(MAX_STATED);
        Ok(stated)
    }
}

/// The report of a device to the registry of its site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceReport {
    /// [`ROLLOUT_FORMAT`].
    pub format: u32,
    /// The hardware class of the device, as `doctor` names it.
    pub class: String,
    /// The labels that the plan's selector names devices by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it reports.
    pub report: Report,
}

impl DeviceReport {
    /// A report of a device of this hardware class.
    pub const fn new(class: String, report: Report) -> Self {
        Self {
            format: ROLLOUT_FORMAT,
            class,
            labels: BTreeMap::new(),
            report,
        }
    }

    /// With the labels of the device.
    #[must_use]
    pub fn labelled(mut self, labels: BTreeMap<String, String>) -> Self {
        self.labels = labels;
        self
    }

    /// Parses a report without verifying its signature.
    ///
    /// # Errors
    /// [`PartError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PartError> {
        strict_json::parse(bytes, MAX_REPORT_BYTES)
            .map_err(|source| PartError::of("report", source))
    }
}
