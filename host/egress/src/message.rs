//! The JSON messages of a device. Each has the sample's id and the release that processed it.

use std::collections::BTreeMap;

use hotshoe_differential_privacy::Figures;
use hotshoe_engine::{Action, Insight, Sample};
use hotshoe_protocol::outbox::encode_payload;
use hotshoe_trust::{Digest, Release, Verified};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The release of a message.
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

/// The fields that every message about a sample has.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Head<'a> {
    /// The sample's id.
    pub id: &'a str,
    /// Its key or path.
    pub source: &'a str,
    /// Time of capture in microseconds since 1970-01-01T00:00:00Z.
    pub timestamp_us: u64,
    /// The release that processed it; null if the device has none.
    pub release: Option<ReleaseName<'a>>,
}

impl<'a> Head<'a> {
    /// The head for `sample` and `release`.
    pub fn of(sample: &'a Sample, release: Option<&'a Verified<Release>>) -> Self {
        Self {
            id: &sample.id,
            source: &sample.source,
            timestamp_us: sample.timestamp_us,
            release: release.map(ReleaseName::of),
        }
    }
}

/// The message under `output/insight`.
#[derive(Debug, Serialize)]
pub(crate) struct InsightMessage<'a, S> {
    /// Which sample.
    #[serde(flatten)]
    pub(crate) head: Head<'a>,
    /// The result.
    pub(crate) insight: InsightPart<'a>,
    /// How long each stage took.
    pub(crate) stages: &'a [S],
}

/// An insight as it leaves.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum InsightPart<'a> {
    /// As it is.
    Whole(&'a Insight),
    /// Without some of its fields.
    Anonymised(Value),
}

/// The message under `output/action`, for each action except `publish`, which publishes the insight, and `send`, which has its own key.
#[derive(Debug, Serialize)]
pub(crate) struct ActionMessage<'a> {
    /// Which sample.
    #[serde(flatten)]
    pub(crate) head: Head<'a>,
    /// What the policy decided.
    pub(crate) action: &'a Action,
}

/// What is kept of a policy's message until it has arrived. The live message has the payload alone.
#[derive(Debug, Serialize)]
pub(crate) struct CustomMessage<'a> {
    /// Which sample.
    #[serde(flatten)]
    head: Head<'a>,
    /// Its topic.
    topic: &'a str,
    /// Its media type.
    content_type: &'a str,
    /// The payload, where it is JSON in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    /// The payload, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl<'a> CustomMessage<'a> {
    /// The message of a policy about a sample.
    pub(crate) fn new(
        head: Head<'a>,
        topic: &'a str,
        content_type: &'a str,
        payload: &[u8],
    ) -> Self {
        let (payload, payload_base64) = encode_payload(payload);
        Self {
            head,
            topic,
            content_type,
            payload,
            payload_base64,
        }
    }
}

/// The figures of a window.
#[derive(Debug, Serialize)]
pub(crate) struct FiguresMessage<'a> {
    /// The end of the window, in milliseconds since 1970.
    pub(crate) until_ms: u64,
    /// Its length in seconds.
    pub(crate) seconds: u64,
    /// The figures, with their noise.
    pub(crate) figures: &'a [Figures],
}

/// The message under `output/error`, and the error reply to a query.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorMessage<'a> {
    /// Which sample.
    #[serde(flatten)]
    pub(crate) head: Head<'a>,
    /// The component, model or part of the daemon where it ended.
    pub(crate) stage: &'a str,
    /// The stable name under which it is counted.
    pub(crate) fault: &'a str,
    /// The message for people.
    pub(crate) message: &'a str,
}

/// What a query is answered with.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a, S> {
    /// Which sample.
    pub head: Head<'a>,
    /// The result; `None` if the policy keeps it on the device.
    pub insight: Option<&'a Insight>,
    /// All actions.
    pub actions: &'a [Action],
    /// How long each stage took.
    pub stages: &'a [S],
}

/// The reply to a query.
#[derive(Debug, Serialize)]
pub(crate) struct AnswerMessage<'a, S> {
    /// Which sample.
    #[serde(flatten)]
    pub(crate) head: Head<'a>,
    /// The result; null if the policy or the data contract keeps it on the device.
    pub(crate) insight: Option<InsightPart<'a>>,
    /// All actions that leave. Sent messages have their size instead of their payload.
    pub(crate) actions: Vec<ActionSummary<'a>>,
    /// How long each stage took.
    pub(crate) stages: &'a [S],
    /// The outputs that the data contract keeps on the device, with the stable names of the reasons.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) kept_back: BTreeMap<String, &'static str>,
}

/// An action in an answer. Payloads are replaced by their sizes: each may be as large as a message, and the answer must fit into one.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ActionSummary<'a> {
    /// A message of a policy.
    Sent {
        /// `send`.
        action: &'static str,
        /// Its topic.
        topic: &'a str,
        /// Its media type.
        content_type: &'a str,
        /// Its size.
        bytes: usize,
    },
    /// Another action as it is.
    Whole(&'a Action),
    /// Another action without its text.
    WithoutText(Action),
}
