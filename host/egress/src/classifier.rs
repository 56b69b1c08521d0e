//! The classifier: the only source of [`Egress`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hotshoe_differential_privacy::Figures;
use hotshoe_engine::{Action, Insight};
use hotshoe_trust::{
    DataClass, EffectiveContract, NamedClass, OutputName, RecordKind, Release, Retention, Upload,
};
use serde::Serialize;
use serde_json::Value;

use crate::anonymise::anonymised;
use crate::message::{
    ActionMessage, ActionSummary, AnswerMessage, CustomMessage, ErrorMessage, FiguresMessage,
    InsightMessage, InsightPart,
};
use crate::{Answer, HashKeys, Head, Refused};

/// What replaces a text of a component that stays on the device.
pub const WITHHELD: &str = "the data contract keeps this text on the device";
/// The media type of JSON.
const JSON: &str = "application/json";
/// The media type of a part of a recording.
const BYTES: &str = "application/octet-stream";
/// The class of what the host itself says.
const HOST: &str = "host";

/// The class of figures with noise.
const AGGREGATE: &str = "aggregate";

/// What may leave the device: bytes, with the class that they belong to. Only a [`Classifier`] makes it.
#[derive(Debug, Clone)]
pub struct Egress {
    class: Arc<NamedClass>,
    content_type: String,
    bytes: Vec<u8>,
}

impl Egress {
    /// The class.
    pub fn class(&self) -> &NamedClass {
        &self.class
    }

    /// The media type.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, for the message that they leave in.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What is kept of a message of a policy until it has arrived, as JSON with its sample and topic.
    #[must_use]
    pub fn kept(&self, head: Head<'_>, topic: &str) -> Self {
        let message = CustomMessage::new(head, topic, &self.content_type, &self.bytes);
        json(&self.class, &message)
    }

    /// A part of it. `None` if it is not so long.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Option<Self> {
        Some(Self {
            class: Arc::clone(&self.class),
            content_type: self.content_type.clone(),
            bytes: self.bytes.get(range)?.to_vec(),
        })
    }
}

/// Decides, by the contract of one release on this device, what leaves it and how.
#[derive(Debug)]
pub struct Classifier {
    contract: EffectiveContract,
    keys: HashKeys,
    insight: Arc<NamedClass>,
    action: Arc<NamedClass>,
    /// Of the topics that components list.
    topics: BTreeMap<String, Arc<NamedClass>>,
}

impl Classifier {
    /// A classifier for the outputs of a release, or of a device without one.
    pub fn new(contract: EffectiveContract, release: Option<&Release>, keys: HashKeys) -> Self {
        let components = release.into_iter().flat_map(|it| it.components.values());
        let topics = components.flat_map(|component| component.topics.iter());
        Self {
            insight: Arc::new(contract.insight()),
            action: Arc::new(contract.action()),
            topics: topics
                .map(|topic| (topic.clone(), Arc::new(contract.topic(topic))))
                .collect(),
            contract,
            keys,
        }
    }

    /// The message of an insight.
    ///
    /// # Errors
    /// [`Refused`] if its class stays on the device.
    pub fn insight<S: Serialize>(
        &self,
        head: Head<'_>,
        insight: &Insight,
        stages: &[S],
    ) -> Result<Egress, Refused> {
        let insight = self.insight_part(&self.insight, OutputName::Insight, insight)?;
        let message = InsightMessage {
            head,
            insight,
            stages,
        };
        Ok(json(&self.insight, &message))
    }

    /// The JSON of an insight for the mean of a number over many samples, without the fields that its class drops and with hashes for
    /// those that it hashes. It is not for a message: single values of the class `aggregate` stay.
    ///
    /// # Errors
    /// [`Refused`] if its class never leaves.
    pub fn averaged(&self, insight: &Insight) -> Result<Value, Refused> {
        let class = &self.insight;
        if class.class.upload == Upload::Never {
            check(class, OutputName::Insight)?;
        }
        let value = anonymised(insight, &class.class, &self.keys);
        Ok(value.unwrap_or_default())
    }

    /// The message of an action that is neither `publish` nor `send`. Under `anonymised` it leaves without its text.
    ///
    /// # Errors
    /// [`Refused`] if its class stays on the device.
    pub fn action(&self, head: Head<'_>, action: &Action) -> Result<Egress, Refused> {
        check(&self.action, OutputName::Action)?;
        let bare = self.without_text(action);
        let action = bare.as_ref().unwrap_or(action);
        Ok(json(&self.action, &ActionMessage { head, action }))
    }

    /// A message of a policy.
    ///
    /// # Errors
    /// [`Refused`] if the class of its topic does not leave as it is.
    pub fn custom(
        &self,
        topic: &str,
        content_type: &str,
        payload: &[u8],
    ) -> Result<Egress, Refused> {
        let class = self.of_topic(topic);
        check_whole(&class, OutputName::Topic(topic.to_owned()))?;
        Ok(Egress {
            class,
            content_type: content_type.to_owned(),
            bytes: payload.to_vec(),
        })
    }

    /// The error of a sample. Its message leaves only if the class of its stage leaves as it is; the names of stage and fault always do.
    pub fn error(&self, head: Head<'_>, stage: &str, fault: &str, message: &str) -> Egress {
        let class = self.contract.text(&OutputName::Error, stage);
        let leaves = class
            .as_ref()
            .is_none_or(|it| it.class.upload == Upload::Yes);
        let message = ErrorMessage {
            head,
            stage,
            fault,
            message: if leaves { message } else { WITHHELD },
        };
        json(&Arc::new(class.unwrap_or_else(host)), &message)
    }

    /// The reply to a query. What its class keeps on the device is left out and named under `kept_back`.
    pub fn answer<S: Serialize>(&self, answer: Answer<'_, S>) -> Egress {
        let mut kept_back = BTreeMap::new();
        let mut keep = |refused: &Refused| {
            kept_back.insert(refused.output().to_owned(), refused.name());
        };
        let insight = answer.insight.and_then(|insight| {
            self.insight_part(&self.insight, OutputName::Insight, insight)
                .inspect_err(&mut keep)
                .ok()
        });
        let actions = answer.actions.iter();
        let actions = actions
            .filter_map(|action| self.summary(action).inspect_err(&mut keep).ok())
            .collect();
        let message = AnswerMessage {
            head: answer.head,
            insight,
            actions,
            stages: answer.stages,
            kept_back,
        };
        json(&self.insight, &message)
    }

    /// Whether a recording may have data of this kind.
    ///
    /// # Errors
    /// [`Refused`] if the class of the recording, or of what is recorded, stays on the device.
    pub fn may_record(&self, kind: RecordKind) -> Result<(), Refused> {
        let class = self.contract.recording(kind);
        match kind {
            RecordKind::Sample | RecordKind::Tensors => check_whole(&class, OutputName::Recording),
            RecordKind::Insight => check(&class, OutputName::Recording),
        }
    }

    /// How long the device may keep a recording of this kind, in seconds. `None` is without a limit.
    pub fn record_retention_s(&self, kind: RecordKind) -> Option<u64> {
        let retention = self.contract.recording(kind).class.retention;
        retention.map(Retention::seconds)
    }

    /// A recorded sample, or tensors.
    ///
    /// # Errors
    /// [`Refused`] if their class does not leave as it is.
    pub fn recorded(&self, kind: RecordKind, bytes: Vec<u8>) -> Result<Egress, Refused> {
        let class = self.contract.recording(kind);
        check_whole(&class, OutputName::Recording)?;
        Ok(Egress {
            class: Arc::new(class),
            content_type: BYTES.to_owned(),
            bytes,
        })
    }

    /// A recorded insight, as JSON for people.
    ///
    /// # Errors
    /// [`Refused`] if its class stays on the device.
    pub fn recorded_insight(&self, insight: &Insight) -> Result<Egress, Refused> {
        let class = self.contract.recording(RecordKind::Insight);
        let part = self.insight_part(&class, OutputName::Recording, insight)?;
        Ok(Egress {
            class: Arc::new(class),
            content_type: JSON.to_owned(),
            bytes: serde_json::to_vec_pretty(&part).unwrap_or_default(),
        })
    }

    /// The recorded actions, without those whose class stays on the device.
    pub fn recorded_actions(&self, actions: &[Action]) -> Vec<Value> {
        let recording = self.contract.recording(RecordKind::Insight);
        let whole = |class: &NamedClass| class.class.join(&recording.class).upload == Upload::Yes;
        let leave = actions.iter().filter(|action| match action {
            Action::Publish => true,
            Action::Send { topic, .. } => whole(&self.of_topic(topic)),
            Action::Drop { .. } | Action::Alert { .. } => whole(&self.action),
        });
        leave
            .filter_map(|action| serde_json::to_value(action).ok())
            .collect()
    }

    /// JSON that the host itself says, with nothing that a component made.
    pub fn host(body: &impl Serialize) -> Egress {
        json(&Arc::new(host()), body)
    }

    /// Whether insights may count for figures of many samples.
    pub fn may_count(&self) -> bool {
        self.insight.class.upload != Upload::Never
    }

    /// Figures of many samples, which have their noise: those of a window that ended at `until_ms`, in milliseconds since 1970, after `seconds`.
    pub fn figures(until_ms: u64, seconds: u64, figures: &[Figures]) -> Egress {
        let class = NamedClass {
            name: AGGREGATE.to_owned(),
            class: DataClass {
                durable: true,
                ..DataClass::default()
            },
        };
        let message = FiguresMessage {
            until_ms,
            seconds,
            figures,
        };
        json(&Arc::new(class), &message)
    }

    fn of_topic(&self, topic: &str) -> Arc<NamedClass> {
        let known = self.topics.get(topic).map(Arc::clone);
        known.unwrap_or_else(|| Arc::new(self.contract.topic(topic)))
    }

    fn insight_part<'a>(
        &self,
        class: &NamedClass,
        output: OutputName,
        insight: &'a Insight,
    ) -> Result<InsightPart<'a>, Refused> {
        check(class, output)?;
        Ok(if class.class.upload == Upload::Yes {
            InsightPart::Whole(insight)
        } else {
            let value = anonymised(insight, &class.class, &self.keys);
            InsightPart::Anonymised(value.unwrap_or_default())
        })
    }

    fn summary<'a>(&self, action: &'a Action) -> Result<ActionSummary<'a>, Refused> {
        Ok(match action {
            Action::Send {
                topic,
                content_type,
                payload,
            } => {
                check_whole(&self.of_topic(topic), OutputName::Topic(topic.to_owned()))?;
                ActionSummary::Sent {
                    action: "send",
                    topic,
                    content_type,
                    bytes: payload.len(),
                }
            }
            Action::Publish => ActionSummary::Whole(action),
            Action::Drop { .. } | Action::Alert { .. } => {
                check(&self.action, OutputName::Action)?;
                self.without_text(action)
                    .map_or(ActionSummary::Whole(action), ActionSummary::WithoutText)
            }
        })
    }

    /// The action without its text, if that may not leave.
    fn without_text(&self, action: &Action) -> Option<Action> {
        if self.action.class.upload == Upload::Yes {
            return None;
        }
        Some(match action {
            Action::Alert { severity, .. } => Action::Alert {
                severity: *severity,
                message: WITHHELD.to_owned(),
            },
            Action::Drop { .. } => Action::Drop {
                reason: WITHHELD.to_owned(),
            },
            Action::Publish | Action::Send { .. } => return None,
        })
    }
}

/// The class of what the host itself says, which leaves.
fn host() -> NamedClass {
    NamedClass {
        name: HOST.to_owned(),
        class: DataClass::default(),
    }
}

fn json(class: &Arc<NamedClass>, body: &impl Serialize) -> Egress {
    let bytes = serde_json::to_vec(body).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot write a message as JSON; please report it");
        b"null".to_vec()
    });
    Egress {
        class: Arc::clone(class),
        content_type: JSON.to_owned(),
        bytes,
    }
}

/// Refuses single data of a class that stays.
fn check(class: &NamedClass, output: OutputName) -> Result<(), Refused> {
    let (name, output) = (class.name.clone(), output.to_string());
    match class.class.upload {
        Upload::Yes | Upload::Anonymised => Ok(()),
        Upload::Aggregate => Err(Refused::OnlyCounts {
            class: name,
            output,
        }),
        Upload::Never => Err(Refused::NeverLeaves {
            class: name,
            output,
        }),
    }
}

/// Refuses data of a class that does not leave as it is.
fn check_whole(class: &NamedClass, output: OutputName) -> Result<(), Refused> {
    if class.class.upload == Upload::Anonymised {
        return Err(Refused::NotAnonymisable {
            class: class.name.clone(),
            output: output.to_string(),
        });
    }
    check(class, output)
}
