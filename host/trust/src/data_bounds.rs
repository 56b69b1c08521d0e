//! What the operator of a device says about data that leaves it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    data_class::{DataClass, DataTextError, Retention, Sensitivity, Upload, clip},
    data_contract::is_class_name,
};

/// Most entries of each table of bounds.
pub const MAX_BOUNDS: usize = 64;
/// What the key of a class begins with.
const CLASS: &str = "class:";
/// The period after which hashed fields get another key, in seconds: 30 days.
const HASH_PERIOD_S: u64 = 30 * 24 * 3_600;

/// The data that a bound applies to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DataSelector {
    /// Every class of this sensitivity.
    Sensitivity(Sensitivity),
    /// The class of this name. Text: `class:NAME`.
    Class(String),
}

impl TryFrom<String> for DataSelector {
    type Error = DataTextError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Ok(match text.as_str() {
            "public" => Self::Sensitivity(Sensitivity::Public),
            "internal" => Self::Sensitivity(Sensitivity::Internal),
            "personal" => Self::Sensitivity(Sensitivity::Personal),
            "secret" => Self::Sensitivity(Sensitivity::Secret),
            other => match other.strip_prefix(CLASS) {
                Some(name) if is_class_name(name) => Self::Class(name.to_owned()),
                _ => return Err(DataTextError::Selector { text: clip(other) }),
            },
        })
    }
}

impl From<DataSelector> for String {
    fn from(selector: DataSelector) -> Self {
        selector.to_string()
    }
}

impl fmt::Display for DataSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sensitivity(sensitivity) => sensitivity.fmt(f),
            Self::Class(name) => write!(f, "{CLASS}{name}"),
        }
    }
}

impl DataSelector {
    fn selects(&self, name: &str, class: &DataClass) -> bool {
        match self {
            Self::Sensitivity(sensitivity) => class.sensitivity == *sensitivity,
            Self::Class(selected) => selected == name,
        }
    }
}

/// `[data-contract]` of hotshoe.toml: bounds that make the contract of a release stricter, and never looser.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DataBounds {
    /// How data may leave at most, by sensitivity or by `class:NAME`: `never`, `aggregate`, `anonymised` or `yes`. Default: as the release
    /// says.
    pub max_upload: BTreeMap<DataSelector, Upload>,
    /// How long the device keeps data at most, by sensitivity or by `class:NAME`, such as `30d`. Default: as the release says.
    pub max_retention: BTreeMap<DataSelector, Retention>,
    /// The period after which hashed fields get another key, so that values of two periods cannot be compared. Default: `30d`.
    pub hash_period: Option<Retention>,
}

impl DataBounds {
    /// `hash-period` in seconds.
    pub fn hash_period_s(&self) -> u64 {
        self.hash_period.map_or(HASH_PERIOD_S, Retention::seconds)
    }

    /// The class of this name within the bounds: the stricter of both.
    #[must_use]
    pub fn bound(&self, name: &str, class: &DataClass) -> DataClass {
        let uploads = self.max_upload.iter();
        let uploads = uploads.filter(|(of, _)| of.selects(name, class));
        let retentions = self.max_retention.iter();
        let retentions = retentions.filter(|(of, _)| of.selects(name, class));
        let upload = uploads.map(|(_, most)| *most).min().unwrap_or(Upload::Yes);
        let bound = DataClass {
            sensitivity: Sensitivity::Public,
            upload,
            retention: retentions.map(|(_, most)| *most).min(),
            priority: crate::DataPriority::Low,
            ..DataClass::default()
        };
        class.join(&bound)
    }
}
