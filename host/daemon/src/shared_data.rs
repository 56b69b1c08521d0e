//! The device's replica of its shared data: answers the site's requests and the operator's commands, and publishes changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arc_swap::ArcSwap;
use hotshoe_audit::{Actor, AuditKind};
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::{Clock, chain};
use hotshoe_config::Config;
use hotshoe_engine::SharedTexts;
use hotshoe_link::Link;
use hotshoe_sealing::AtRest;
use hotshoe_shared_data::{
    Action, Answer, CheckedRequest, Definition, JsonText, MAX_VALUES, Replica, SharedDataError,
    SharedStore, StoreError, Summary, View, Writer, read_request,
};
use hotshoe_trust::{Digest, TrustRoot};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::audit::AuditRecorder;
use crate::command::{Command, CommandError, SharedDataAction};
use crate::reload::RunningConfig;

/// Most records in an hour of the site's unsigned writes to one value: any machine can send those.
const MAX_UNSIGNED_RECORDS: u64 = 30;

/// The shared values of this device.
pub(crate) struct SharedData {
    definitions: BTreeMap<String, Definition>,
    site: String,
    device: String,
    data: PathBuf,
    at_rest: AtRest,
    /// `None` while the file cannot be read: the next request tries again.
    store: Mutex<Option<SharedStore>>,
    running: Arc<RunningConfig>,
    trust: Arc<ArcSwap<TrustRoot>>,
    link: Arc<Link>,
    /// What components read.
    texts: SharedTexts,
    clock: Clock,
    /// `None` if nothing is audited.
    audit: Option<AuditRecorder>,
}

impl SharedData {
    /// Reads the file of the locked data folder. A device whose file cannot be read serves all the same.
    pub(crate) fn new(
        (config, at_rest): (&Config, &AtRest),
        running: &Arc<RunningConfig>,
        trust: Arc<ArcSwap<TrustRoot>>,
        link: &Arc<Link>,
        texts: SharedTexts,
        audit: Option<AuditRecorder>,
    ) -> Arc<Self> {
        let shared = Self {
            definitions: config.shared_data.clone(),
            site: config.site.clone(),
            device: config.device.clone(),
            data: config.data.clone(),
            at_rest: at_rest.clone(),
            store: Mutex::default(),
            running: Arc::clone(running),
            trust,
            link: Arc::clone(link),
            texts,
            clock: link.parts().clock().clone(),
            audit,
        };
        match shared.open() {
            Ok(store) => *shared.store.lock() = Some(store),
            Err(error) => {
                tracing::error!(cause = chain(&error), "the shared data cannot be used");
            }
        }
        Arc::new(shared)
    }

    fn open(&self) -> Result<SharedStore, StoreError> {
        let disk = Disk::new(Faults::never());
        let own = Writer::device(&self.device);
        let (mut store, set_aside) =
            SharedStore::open_at_rest(disk, &self.at_rest, &self.data, own)?;
        if let Some(set_aside) = set_aside {
            let (name, cause) = (set_aside.name(), chain(&set_aside));
            tracing::error!(name, cause, "the site has to send the shared values again");
        }
        // A file is written with the first change.
        let defined = store.define(|replica| self.define(replica));
        for name in defined {
            tracing::warn!(
                name,
                "removed the state of a shared value: its rule has changed, or it is not configured any more"
            );
        }
        self.show_all(store.replica());
        Ok(store)
    }

    fn show_all(&self, replica: &Replica) {
        for name in self.definitions.keys() {
            self.show(name, replica);
        }
    }

    /// Lets components read a value.
    fn show(&self, name: &str, replica: &Replica) {
        self.texts.set(name, replica.text(name).ok().flatten());
    }

    /// Defines the configured values. Others stay, in case they are configured again, if there is room. Returns what was removed.
    fn define(&self, replica: &mut Replica) -> Vec<String> {
        let definitions = &self.definitions;
        let others = replica
            .names()
            .filter(|name| !definitions.contains_key(*name));
        let mut removed = if others.count() + definitions.len() > MAX_VALUES {
            replica.retain(|name| definitions.contains_key(name))
        } else {
            Vec::new()
        };
        for (name, definition) in definitions {
            if replica.define(name, *definition) {
                removed.push(name.clone());
            }
        }
        removed
    }

    /// Answers a request of the site with JSON; the error is JSON, too.
    pub(crate) fn answer(&self, request: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let json = |value: &Value| value.to_string().into_bytes();
        match self.handle(request) {
            Ok(answer) => Ok(serde_json::to_vec(&answer).unwrap_or_default()),
            Err(error) => Err(json(
                &json!({"name": error.name(), "message": chain(&error)}),
            )),
        }
    }

    fn handle(&self, request: &[u8]) -> Result<Answer, SharedDataError> {
        let trust = self.trust.load_full();
        let signatures = self.running.config().deploy.statements.signatures(&trust);
        let checked = read_request(request, &self.site, &self.device, signatures)
            .inspect_err(|error| self.audit_unauthorised(error))?;
        let CheckedRequest { request, signers } = checked;
        let now_ms = self.now_ms();
        match request.shared_data {
            Action::List {} => {
                let summary = |(name, definition): (&String, &Definition)| Summary {
                    name: name.clone(),
                    rule: definition.rule,
                };
                Ok(Answer::Values(
                    self.definitions.iter().map(summary).collect(),
                ))
            }
            Action::Get { name } => {
                self.with(&name, |store| state_of(store.replica(), &name, now_ms, 0))
            }
            Action::Exchange { name, state } => {
                let at_ms = request.at_ms;
                let exchanged = self.with(&name, |store| {
                    let merge =
                        |replica: &mut Replica| replica.exchange(&name, state, at_ms, now_ms);
                    let merged = store.change(merge)?;
                    if merged.changed {
                        // Entries from the future may be gone from other values, too.
                        self.show_all(store.replica());
                    }
                    let replica = store.replica();
                    let answer = state_of(replica, &name, now_ms, merged.ahead)?;
                    Ok((merged, answer, replica.text(&name)?))
                });
                let (merged, answer, text) = exchanged
                    .inspect_err(|error| self.audit_refused(error, Some(&name), &signers))?;
                if merged.ahead > 0 {
                    tracing::warn!(
                        name,
                        entries = merged.ahead,
                        "left out entries of the site from the future; set its clock"
                    );
                }
                if merged.changed {
                    tracing::info!(name, "the site changed a shared value");
                    self.audit_written(&name, text.as_deref(), signers);
                    self.publish(&name, &answer);
                }
                Ok(answer)
            }
        }
    }

    /// Records a change by the site, with the keys that signed it. A state that changes nothing, such as an old one that is sent again, is
    /// not recorded.
    fn audit_written(&self, name: &str, text: Option<&str>, signers: Vec<String>) {
        let Some(audit) = &self.audit else {
            return;
        };
        let is_signed = !signers.is_empty();
        let text = text.unwrap_or("null");
        let entry = audit
            .entry(AuditKind::SharedDataWritten)
            .by(Actor::Deployer { keys: signers })
            .with("name", name)
            .with("value", text)
            .with("digest", Digest::of(text.as_bytes()).to_string());
        if is_signed {
            audit.record(entry);
        } else {
            audit.record_limited(entry, name, MAX_UNSIGNED_RECORDS);
        }
    }

    /// Records a write that its sender was not allowed to make. What cannot be read, or is for another device, is not known to be a write.
    fn audit_unauthorised(&self, error: &SharedDataError) {
        match error {
            SharedDataError::WriterNotAllowed { key, name } => {
                self.audit_refused(error, Some(name), std::slice::from_ref(key));
            }
            SharedDataError::Unsigned | SharedDataError::Signer(_) => {
                self.audit_refused(error, None, &[]);
            }
            _ => {}
        }
    }

    fn audit_refused(&self, error: &SharedDataError, name: Option<&str>, signers: &[String]) {
        let Some(audit) = &self.audit else {
            return;
        };
        let reason = error.name();
        let by = Actor::Deployer {
            keys: signers.to_vec(),
        };
        let entry = audit.entry(AuditKind::SharedDataRefused).by(by);
        let mut entry = entry.with("reason", reason);
        if let Some(name) = name {
            entry = entry.with("name", name);
        }
        audit.record_limited(entry, reason, 1);
    }

    /// Carries out an operator's command, and records it if it writes.
    pub(crate) fn command(&self, action: SharedDataAction) -> Result<Value, CommandError> {
        let writes = matches!(
            action,
            SharedDataAction::Set { .. } | SharedDataAction::Append { .. }
        );
        let audit = self.audit.as_ref();
        let entry = audit.filter(|_| writes).map(|audit| {
            let command = Command::SharedData {
                action: action.clone(),
            };
            command.described(audit.entry(AuditKind::Command).by(Actor::Operator))
        });
        let result = self.act(action);
        if let (Some(audit), Some(entry)) = (audit, entry) {
            let outcome = result.as_ref().map_or_else(CommandError::name, |_| "done");
            audit.record(entry.with("outcome", outcome));
        }
        result
    }

    fn act(&self, action: SharedDataAction) -> Result<Value, CommandError> {
        let json = |view: View| serde_json::to_value(view).unwrap_or_default();
        match action {
            SharedDataAction::List {} => {
                let names = self.definitions.keys();
                let view = |name: &String| self.with(name, |store| store.replica().view(name));
                let views: Result<Vec<View>, SharedDataError> = names.map(view).collect();
                Ok(views?.into_iter().map(json).collect())
            }
            SharedDataAction::Get { name } => {
                Ok(json(self.with(&name, |store| store.replica().view(&name))?))
            }
            SharedDataAction::Set { name, value } => {
                let value = JsonText::of(&value)?;
                Ok(json(self.write(&name, |replica, now_ms| {
                    replica.set(&name, value, now_ms)
                })?))
            }
            SharedDataAction::Append { name, value } => {
                let value = JsonText::of(&value)?;
                Ok(json(self.write(&name, |replica, now_ms| {
                    replica.append(&name, value, now_ms)
                })?))
            }
        }
    }

    fn write(
        &self,
        name: &str,
        edit: impl FnOnce(&mut Replica, u64) -> Result<(), SharedDataError>,
    ) -> Result<View, SharedDataError> {
        let now_ms = self.now_ms();
        let (view, answer) = self.with(name, |store| {
            store.change(|replica| edit(replica, now_ms))?;
            let replica = store.replica();
            self.show(name, replica);
            Ok((replica.view(name)?, state_of(replica, name, now_ms, 0)?))
        })?;
        self.publish(name, &answer);
        Ok(view)
    }

    /// Runs `act` on the store, if the value is configured.
    fn with<T>(
        &self,
        name: &str,
        act: impl FnOnce(&mut SharedStore) -> Result<T, SharedDataError>,
    ) -> Result<T, SharedDataError> {
        if !self.definitions.contains_key(name) {
            let name = name.to_owned();
            return Err(SharedDataError::UnknownValue { name });
        }
        let mut store = self.store.lock();
        let open = match store.take() {
            Some(open) => open,
            None => self.open()?,
        };
        act(store.insert(open))
    }

    /// A change may be lost: the site asks for states, too.
    fn publish(&self, name: &str, answer: &Answer) {
        let body = serde_json::to_vec(answer).unwrap_or_default();
        if let Err(error) = self.link.publish_shared_data(name, body) {
            tracing::debug!(%error, name, "cannot publish a shared value");
        }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> u64 {
        let since = self.clock.wall().duration_since(UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
    }
}

fn state_of(
    replica: &Replica,
    name: &str,
    at_ms: u64,
    ahead: usize,
) -> Result<Answer, SharedDataError> {
    Ok(Answer::Value {
        at_ms,
        definition: replica.definition(name)?,
        state: replica.state(name)?.clone(),
        ahead,
    })
}
