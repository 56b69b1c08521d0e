//! What an operator asks of the outputs that the device keeps: what there is of each source, and that a source is erased.

use std::sync::Arc;

use hotshoe_audit::{Actor, AuditKind};
use hotshoe_outbox::{Erased, SourceStats};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::AuditRecorder;
use crate::command::{Command, CommandError, DataAction};
use crate::outbox::DurableOutputs;

/// What the device has of a source: an output that must arrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredSource {
    /// `insight`, `action` or `custom:TOPIC`.
    pub source: String,
    /// Records that it ever had.
    pub given: u64,
    /// Records that have not been delivered.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Age of the oldest of them, in seconds.
    pub oldest_seconds: Option<f64>,
    /// Age of the oldest record whose bytes are on the disk, delivered ones included, in seconds.
    pub oldest_bytes_seconds: Option<f64>,
    /// How long its class lets the device keep them, in seconds. `None` is as long as `outbox.max-age-hours`.
    pub retention_seconds: Option<f64>,
}

/// What was erased of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// The source.
    pub source: String,
    /// Records that had not been delivered. Their loss is, with the cause `erased`.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Files with bytes of the source that were removed.
    pub files: u64,
    /// Records that the source ever had. Those that were delivered are with the collectors or the broker.
    pub given: u64,
}

/// Answers the commands about stored data.
pub(crate) struct StoredData {
    /// `None` where nothing is durable.
    outbox: Option<Arc<DurableOutputs>>,
    audit: Option<AuditRecorder>,
}

impl StoredData {
    pub(crate) const fn new(
        outbox: Option<Arc<DurableOutputs>>,
        audit: Option<AuditRecorder>,
    ) -> Self {
        Self { outbox, audit }
    }

    /// Carries out a command, and records an erasure.
    pub(crate) fn command(&self, action: DataAction) -> Result<Value, CommandError> {
        match action {
            DataAction::List {} => Ok(json(&self.list())),
            DataAction::Erase { source } => self.audited(source),
        }
    }

    fn list(&self) -> Vec<StoredSource> {
        let sources = self.outbox.as_ref().map(|outbox| outbox.sources());
        let sources = sources.unwrap_or_default().into_iter();
        sources.map(StoredSource::from).collect()
    }

    fn audited(&self, source: String) -> Result<Value, CommandError> {
        let erased = self.erase(&source);
        if let Some(audit) = &self.audit {
            let action = DataAction::Erase { source };
            let entry = audit.entry(AuditKind::Command).by(Actor::Operator);
            let entry = Command::Data { action }.described(entry);
            audit.record(match &erased {
                Ok(erased) => entry
                    .with("outcome", "done")
                    .with("records", erased.records.to_string())
                    .with("files", erased.files.to_string()),
                Err(error) => entry.with("outcome", error.name()),
            });
        }
        erased.map(|erased| json(&erased))
    }

    fn erase(&self, source: &str) -> Result<Erasure, CommandError> {
        let outbox = self.outbox.as_ref().ok_or(CommandError::NoOutbox)?;
        let Erased {
            records,
            payload_bytes,
            segments,
        } = outbox.erase(source).ok_or(CommandError::NoOutbox)??;
        let sources = outbox.sources();
        let given = sources.iter().find(|it| it.source == source);
        Ok(Erasure {
            source: source.to_owned(),
            records,
            bytes: payload_bytes,
            files: segments as u64,
            given: given.map_or(records, |it| it.given),
        })
    }
}

impl From<SourceStats> for StoredSource {
    fn from(stats: SourceStats) -> Self {
        Self {
            source: stats.source,
            given: stats.given,
            records: stats.records as u64,
            bytes: stats.payload_bytes,
            oldest_seconds: stats.oldest.map(|it| it.as_secs_f64()),
            oldest_bytes_seconds: stats.oldest_bytes.map(|it| it.as_secs_f64()),
            retention_seconds: stats.retention.map(|it| it.as_secs_f64()),
        }
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
