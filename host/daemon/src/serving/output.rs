//! The JSON messages of a device. Each has the sample's id and the release that processed it.

use hotshoe_engine::{Action, Insight, Sample};
use hotshoe_pipeline::StageTime;
use hotshoe_protocol::outbox::encode_payload;
use hotshoe_trust::{Digest, Release, Verified};
use serde::{Serialize, Serializer};
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
pub struct InsightMessage<'a> {
    /// Which sample.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// The result.
    pub insight: &'a Insight,
    /// How long each stage took.
    pub stages: &'a [StageTime],
}

/// The message under `output/action`, for each action except `publish`, which publishes the insight, and `send`, which has its own key.
#[derive(Debug, Serialize)]
pub struct ActionMessage<'a> {
    /// Which sample.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// What the policy decided.
    pub action: &'a Action,
}

/// What is kept of a policy's message until it has arrived. The live message has the payload alone.
#[derive(Debug, Serialize)]
pub struct CustomMessage<'a> {
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
    pub fn new(head: Head<'a>, topic: &'a str, content_type: &'a str, payload: &[u8]) -> Self {
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

/// The message under `output/error`, and the error reply to a query.
#[derive(Debug, Serialize)]
pub struct ErrorMessage<'a> {
    /// Which sample.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// The component, model or part of the daemon where it ended.
    pub stage: &'a str,
    /// The stable name under which it is counted.
    pub fault: &'a str,
    /// The message for people.
    pub message: &'a str,
}

/// The reply to a query.
#[derive(Debug, Serialize)]
pub struct AnswerMessage<'a> {
    /// Which sample.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// The result; null if the policy keeps it on the device.
    pub insight: Option<&'a Insight>,
    /// All actions. Sent messages have their size instead of their payload.
    #[serde(serialize_with = "without_payloads")]
    pub actions: &'a [Action],
    /// How long each stage took.
    pub stages: &'a [StageTime],
}

/// Replaces payloads by their sizes: each payload may be as large as a message, and the reply must fit into one.
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
