//! The JSON that leaves the device. Each message carries the sample's id and the release that made it.

use hotshoe_engine::{Action, Insight, Sample};
use hotshoe_pipeline::StageTime;
use hotshoe_trust::{Digest, Release, Verified};
use serde::{Serialize, Serializer};

/// The release that a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReleaseName<'a> {
    /// Its name.
    pub name: &'a str,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its generation.
    pub generation: u64,
}

impl<'a> ReleaseName<'a> {
    /// Names a verified release.
    pub fn of(release: &'a Verified<Release>) -> Self {
        Self {
            name: &release.name,
            digest: release.digest(),
            generation: release.generation,
        }
    }
}

/// A sample's head, the same in every message.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Head<'a> {
    /// The sample's id.
    pub id: &'a str,
    /// The key or path that it came from.
    pub source: &'a str,
    /// When it was taken, in microseconds since 1970-01-01T00:00:00Z.
    pub timestamp_us: u64,
    /// The release that processed it; null where the device has none.
    pub release: Option<ReleaseName<'a>>,
}

impl<'a> Head<'a> {
    /// The head of what `release` made of `sample`.
    pub fn of(sample: &'a Sample, release: Option<&'a Verified<Release>>) -> Self {
        Self {
            id: &sample.id,
            source: &sample.source,
            timestamp_us: sample.timestamp_us,
            release: release.map(ReleaseName::of),
        }
    }
}

/// What is published under `output/insight`.
#[derive(Debug, Serialize)]
pub struct InsightMessage<'a> {
    /// Which sample.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// The result.
    pub insight: &'a Insight,
    /// How long each stage took.
    pub stages: &'a [StageTime],
}

/// What is published under `output/action`, one for each action but `publish`, which the insight itself stands for, and `send`, whose
/// message has a key of its own.
#[derive(Debug, Serialize)]
pub struct ActionMessage<'a> {
    /// Which sample.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// What the policy decided.
    pub action: &'a Action,
}

/// What is published under `output/error`, and what a query gets whose sample gave no result.
#[derive(Debug, Serialize)]
pub struct ErrorMessage<'a> {
    /// Which sample.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// The component, model or part of the daemon that it ended at.
    pub stage: &'a str,
    /// The stable name under which it is counted.
    pub fault: &'a str,
    /// One sentence for a person.
    pub message: &'a str,
}

/// What a query gets.
#[derive(Debug, Serialize)]
pub struct AnswerMessage<'a> {
    /// Which sample.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// The result; null where the policy keeps it on the device.
    pub insight: Option<&'a Insight>,
    /// All that the policy decided. What it sent has gone its own way: here is its size.
    #[serde(serialize_with = "without_payloads")]
    pub actions: &'a [Action],
    /// How long each stage took.
    pub stages: &'a [StageTime],
}

/// An answer has to fit into a message, and with payloads that fit into one each it would not.
fn without_payloads<S: Serializer>(actions: &[Action], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum ActionSummary<'a> {
        Sent {
            action: &'static str,
            topic: &'a str,
            content_type: &'a str,
            bytes: usize,
        },
        Other(&'a Action),
    }
    serializer.collect_seq(actions.iter().map(|action| match action {
        Action::Send {
            topic,
            content_type,
            payload,
        } => ActionSummary::Sent {
            action: "send",
            topic,
            content_type,
            bytes: payload.len(),
        },
        other => ActionSummary::Other(other),
    }))
}
