//! Which events are audited, and how.

use hotshoe_audit::{Actor, AuditKind, Entry};
use hotshoe_protocol::event::{Event, Kind, KnownKind, Subject};
use hotshoe_trust::CapabilityError;
use serde_json::Value;

use crate::command::{BY_DEPLOYER, BY_OPERATOR};

/// The detail of an event with the names of the keys that signed a release.
pub(crate) const SIGNERS: &str = "signers";
/// Most releases that are recorded as refused or failed in an hour, for each cause: other machines can cause them.
const MAX_REFUSED: u64 = 30;

/// An entry, and how many of its kind and reason are recorded in an hour. `None` is without a limit.
pub(crate) struct Audited {
    pub(crate) entry: Entry,
    pub(crate) reason: String,
    pub(crate) most: Option<u64>,
}

/// What of an event is audited.
pub(crate) fn entries(event: &Event) -> Vec<Audited> {
    let Some(kind) = kind_of(&event.kind) else {
        return Vec::new();
    };
    let is_refused = matches!(kind, AuditKind::ReleaseRefused | AuditKind::ReleaseFailed);
    let reason = event.cause.as_ref().map_or("", |cause| &cause.name);
    let audited = |kind| Audited {
        entry: entry(event, kind),
        reason: reason.to_owned(),
        most: is_refused.then_some(MAX_REFUSED),
    };
    let mut entries = vec![audited(kind)];
    if is_refused && CapabilityError::is_name(reason) {
        entries.push(audited(AuditKind::CapabilityDenied));
    }
    entries
}

/// The kind of record of an event; `None` for events that are not audited. It is written without `_`, so that a new kind must be decided
/// here.
const fn kind_of(kind: &Kind) -> Option<AuditKind> {
    let Kind::Known(kind) = kind else {
        return None;
    };
    Some(match kind {
        KnownKind::ReleaseAbsent => AuditKind::ReleaseAbsent,
        KnownKind::ReleaseVerified => AuditKind::ReleaseVerified,
        KnownKind::ReleaseStaged => AuditKind::ReleaseStaged,
        KnownKind::ReleaseTrial => AuditKind::ReleaseTrial,
        KnownKind::ReleaseLive => AuditKind::ReleaseLive,
        KnownKind::ReleaseRefused => AuditKind::ReleaseRefused,
        KnownKind::ReleaseFailed => AuditKind::ReleaseFailed,
        KnownKind::ReleaseRolledBack => AuditKind::ReleaseRolledBack,
        KnownKind::NoReleaseServes => AuditKind::NoReleaseServes,
        KnownKind::CrashLoop => AuditKind::CrashLoop,
        KnownKind::EgressRefused => AuditKind::EgressRefused,
        KnownKind::ReleaseFetching
        | KnownKind::ReleaseSelfTested
        | KnownKind::ReleaseShadow
        | KnownKind::ReleaseRetried
        | KnownKind::ReleaseSwapped
        | KnownKind::WorkerStuck
        | KnownKind::PartRestarted
        | KnownKind::PartDied
        | KnownKind::ComponentPaused
        | KnownKind::ComponentRecovered
        | KnownKind::FileSetAside
        | KnownKind::FileSkipped
        | KnownKind::FolderLost
        | KnownKind::FolderWatched
        | KnownKind::FolderPolled
        | KnownKind::PeersLost
        | KnownKind::NameConflict
        | KnownKind::NameConflictEnded
        | KnownKind::StatementsStale
        | KnownKind::DiskWriteFailed
        | KnownKind::ModeChanged
        | KnownKind::GovernorFailed
        | KnownKind::GovernorRecovered
        | KnownKind::PlanRefused
        | KnownKind::Alert
        | KnownKind::SensorFailed
        | KnownKind::OutputFailed
        | KnownKind::AlertRaised
        | KnownKind::AlertResolved
        | KnownKind::DriftBegan
        | KnownKind::DriftEnded
        | KnownKind::DriftFallbackFailed => return None,
    })
}

fn entry(event: &Event, kind: AuditKind) -> Entry {
    let mut entry = Entry::new(kind, event.time).by(actor(event));
    if let Subject::Release {
        name,
        generation,
        digest,
    } = &event.subject
    {
        entry = entry
            .with("name", name)
            .with("generation", generation.to_string())
            .with("release", digest.to_string());
    }
    if let Some(cause) = &event.cause {
        entry = entry
            .with("cause", &cause.name)
            .with("message", &cause.message);
    }
    for (name, value) in &event.details {
        if name != SIGNERS {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            entry = entry.with(name, text);
        }
    }
    entry
}

fn actor(event: &Event) -> Actor {
    if let Some(Value::Array(signers)) = event.details.get(SIGNERS) {
        let keys = signers.iter().filter_map(Value::as_str);
        return Actor::Deployer {
            keys: keys.map(str::to_owned).collect(),
        };
    }
    match event.cause.as_ref().map(|cause| cause.message.as_str()) {
        Some(BY_OPERATOR) => Actor::Operator,
        Some(BY_DEPLOYER) => Actor::Deployer { keys: Vec::new() },
        _ => Actor::Device,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use std::collections::BTreeMap;

    use hotshoe_protocol::event::{ClockQuality, EVENT_FORMAT, EventCause};
    use hotshoe_trust::{Digest, Time};

    use super::*;

    fn event(kind: KnownKind, cause: Option<EventCause>) -> Event {
        Event {
            format: EVENT_FORMAT,
            severity: kind.severity(),
            kind: Kind::Known(kind),
            subject: Subject::Release {
                name: "light".to_owned(),
                generation: 2,
                digest: Digest::of(b"light"),
            },
            cause,
            time: Time::UNIX_EPOCH,
            clock: ClockQuality::Unknown,
            sequence: 0,
            details: BTreeMap::new(),
            unknown: BTreeMap::new(),
        }
    }

    fn cause(name: &str, message: &str) -> EventCause {
        EventCause {
            name: name.to_owned(),
            message: message.to_owned(),
        }
    }

    fn kinds(entries: &[Audited]) -> Vec<AuditKind> {
        entries.iter().map(|it| it.entry.kind()).collect()
    }

    #[test]
    fn a_denied_capability_is_a_record_of_its_own() {
        let denied = cause("topic_not_allowed", "component `a` publishes to `b`");
        let old = cause("expired", "it is too old");
        let found = entries(&event(KnownKind::ReleaseRefused, Some(denied)));
        assert_eq!(
            kinds(&found),
            [AuditKind::ReleaseRefused, AuditKind::CapabilityDenied]
        );
        assert_eq!(found[1].entry.details()["cause"], "topic_not_allowed");
        assert_eq!(found[1].most, Some(MAX_REFUSED));
        let found = entries(&event(KnownKind::ReleaseRefused, Some(old)));
        assert_eq!(kinds(&found), [AuditKind::ReleaseRefused]);
    }

    #[test]
    fn the_actor_is_who_ordered_or_signed() {
        let by = |message: &str| {
            let cause = cause("ordered", message);
            actor(&event(KnownKind::ReleaseRolledBack, Some(cause)))
        };
        assert_eq!(by(BY_OPERATOR), Actor::Operator);
        assert_eq!(by(BY_DEPLOYER), Actor::Deployer { keys: Vec::new() });
        assert_eq!(by("anything else"), Actor::Device);
        let mut verified = event(KnownKind::ReleaseVerified, None);
        let signers = Value::from(vec!["alice"]);
        verified.details.insert(SIGNERS.to_owned(), signers);
        let keys = vec!["alice".to_owned()];
        assert_eq!(actor(&verified), Actor::Deployer { keys });
        assert!(entries(&event(KnownKind::ReleaseFetching, None)).is_empty());
    }
}
