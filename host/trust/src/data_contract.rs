//! Which data of a pipeline may be recorded from a device, which may leave it, and how.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    access::is_topic,
    data_class::{DataClass, DataTextError, MAX_FIELDS, clip},
    limits::ReleaseLimits,
};

/// Most classes of a contract.
pub const MAX_CLASSES: usize = 16;
/// Most outputs that a contract names.
pub const MAX_NAMED_OUTPUTS: usize = 64;
/// The class of the outputs that a contract does not name. A contract may define it.
pub const DEFAULT_CLASS: &str = "default";
/// What the key of a topic's output begins with.
const TOPIC: &str = "topic:";

/// A kind of data that `hotshoe record` takes from a running device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// The samples as they arrived.
    Sample,
    /// The tensors of preprocessors and models.
    Tensors,
    /// The results, also those that a policy keeps on the device, and what the policies decided.
    Insight,
}

impl RecordKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sample, Self::Tensors, Self::Insight];
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sample => "sample",
            Self::Tensors => "tensors",
            Self::Insight => "insight",
        })
    }
}

/// An output that belongs to a class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OutputName {
    /// Results.
    Insight,
    /// What policies decide.
    Action,
    /// Messages of policies, under topics that have no class of their own.
    Custom,
    /// Messages of policies under one topic.
    Topic(String),
    /// Messages of failed samples.
    Error,
    /// Log lines of components.
    Log,
    /// Metrics of components.
    Metrics,
    /// Recordings.
    Recording,
    /// Samples, and the tensors that are made of them.
    Picture,
}

impl TryFrom<String> for OutputName {
    type Error = DataTextError;

    fn try_from(text: String) -> Result<Self, DataTextError> {
        Ok(match text.as_str() {
            "insight" => Self::Insight,
            "action" => Self::Action,
            "custom" => Self::Custom,
            "error" => Self::Error,
            "log" => Self::Log,
            "metrics" => Self::Metrics,
            "recording" => Self::Recording,
            "picture" => Self::Picture,
            other => match other.strip_prefix(TOPIC) {
                Some(topic) if is_topic(topic) => Self::Topic(topic.to_owned()),
                _ => return Err(DataTextError::Output { text: clip(other) }),
            },
        })
    }
}

impl From<OutputName> for String {
    fn from(output: OutputName) -> Self {
        output.to_string()
    }
}

impl fmt::Display for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insight => "insight",
            Self::Action => "action",
            Self::Custom => "custom",
            Self::Topic(topic) => return write!(f, "{TOPIC}{topic}"),
            Self::Error => "error",
            Self::Log => "log",
            Self::Metrics => "metrics",
            Self::Recording => "recording",
            Self::Picture => "picture",
        })
    }
}

/// The `[data-contract]` of a release: what its signers agree to. The device's operator has to agree, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DataContract {
    /// What may be recorded. Default: nothing.
    pub record: BTreeSet<RecordKind>,
    /// The classes of data by name, at most [`MAX_CLASSES`]. Default: [`DEFAULT_CLASS`], which leaves the device as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, DataClass>,
    /// The class of each output, at most [`MAX_NAMED_OUTPUTS`]. Default: [`DEFAULT_CLASS`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<OutputName, String>,
}

/// Why a `[data-contract]` is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataContractError {
    /// Too many classes or outputs.
    #[error("[data-contract.{key}] has {count} entries; write at most {most}")]
    Many {
        /// `classes` or `outputs`.
        key: &'static str,
        /// How many there are.
        count: usize,
        /// The most.
        most: usize,
    },
    /// A class whose name cannot be used.
    #[error(
        "[data-contract.classes.{class}]: use 1 to {max} of `a-z 0-9 - _` in the name of a class",
        max = ReleaseLimits::NAME_CHARS
    )]
    Name {
        /// The class.
        class: String,
    },
    /// An output of a class that is not defined.
    #[error(
        "[data-contract.outputs] gives `{output}` the class `{class}`, which is not defined; add [data-contract.classes.{class}] or correct the name"
    )]
    NoClass {
        /// The output.
        output: OutputName,
        /// The class.
        class: String,
    },
    /// A topic that no component lists.
    #[error(
        "[data-contract.outputs] names `{output}`, and no component lists the topic; remove it, or add the topic to `topics` of a policy"
    )]
    NoTopic {
        /// The output.
        output: OutputName,
    },
    /// Too many fields.
    #[error(
        "`{key}` of [data-contract.classes.{class}] has {count} fields; write at most {MAX_FIELDS}"
    )]
    Fields {
        /// The class.
        class: String,
        /// `drop` or `hash`.
        key: &'static str,
        /// How many there are.
        count: usize,
    },
    /// Fields of a class that does not leave without them.
    #[error(
        "[data-contract.classes.{class}] lists fields to drop or to hash, which needs `upload = \"anonymised\"`, and has `upload = \"{upload}\"`; change it, or remove the fields"
    )]
    NotAnonymised {
        /// The class.
        class: String,
        /// Its `upload`.
        upload: crate::Upload,
    },
    /// A component that could pass data on where the host cannot see it.
    #[error(
        "component `{component}` reads data of the class `{class}`, which may not leave as it is, and has {grant}, through which it could; remove the grant, or write `upload = \"yes\"` for the class, here and in `max-upload` of hotshoe.toml"
    )]
    WayOut {
        /// The component.
        component: String,
        /// The grant, such as `wasi-http`.
        grant: String,
        /// The class.
        class: String,
    },
}

impl DataContract {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses values that are not valid. `is_topic_of_release` says whether a component may send under a topic.
    pub(crate) fn check(
        &self,
        is_topic_of_release: impl Fn(&String) -> bool,
    ) -> Result<(), DataContractError> {
        let counts = [
            ("classes", self.classes.len(), MAX_CLASSES),
            ("outputs", self.outputs.len(), MAX_NAMED_OUTPUTS),
        ];
        if let Some((key, count, most)) = counts.into_iter().find(|(_, count, most)| count > most) {
            return Err(DataContractError::Many { key, count, most });
        }
        for (name, class) in &self.classes {
            check_class(name, class)?;
        }
        for (output, class) in &self.outputs {
            if !self.classes.contains_key(class) && class != DEFAULT_CLASS {
                let (output, class) = (output.clone(), class.clone());
                return Err(DataContractError::NoClass { output, class });
            }
            if let OutputName::Topic(topic) = output
                && !is_topic_of_release(topic)
            {
                let output = output.clone();
                return Err(DataContractError::NoTopic { output });
            }
        }
        Ok(())
    }
}

fn check_class(name: &str, class: &DataClass) -> Result<(), DataContractError> {
    if !is_class_name(name) {
        return Err(DataContractError::Name { class: clip(name) });
    }
    let named = || name.to_owned();
    for (key, fields) in [("drop", &class.drop), ("hash", &class.hash)] {
        if fields.len() > MAX_FIELDS {
            return Err(DataContractError::Fields {
                class: named(),
                key,
                count: fields.len(),
            });
        }
        if !fields.is_empty() && class.upload != crate::Upload::Anonymised {
            return Err(DataContractError::NotAnonymised {
                class: named(),
                upload: class.upload,
            });
        }
    }
    Ok(())
}

/// Whether this can be the name of a class.
pub(crate) fn is_class_name(name: &str) -> bool {
    let plain =
        |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || matches!(it, b'-' | b'_');
    (1..=ReleaseLimits::NAME_CHARS).contains(&(name.len() as u64)) && name.bytes().all(plain)
}
