//! The statuses of a site's registries, which are not signed.

use std::collections::BTreeMap;

use hotshoe_protocol::registry::{KeptState, RegistryStatus};
use hotshoe_release::terminal::Terminal;
use hotshoe_store::Cause;
use hotshoe_trust::Digest;
use serde::Serialize;

/// The state of one release at each registry.
#[derive(Debug)]
pub(crate) struct RegistryReports {
    release: Digest,
    was_asked: bool,
    /// By the name of the registry, and the id of its run.
    known: BTreeMap<(String, String), (KeptState, Option<Cause>)>,
}

/// One registry, in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RegistryRow {
    registry: String,
    state: KeptState,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
}

impl RegistryReports {
    pub(crate) const fn new(release: Digest) -> Self {
        Self {
            release,
            was_asked: false,
            known: BTreeMap::new(),
        }
    }

    /// Takes the answers to one query, and returns a line for each registry that newly fails, and for each name that two have.
    pub(crate) fn take(&mut self, statuses: Vec<RegistryStatus>) -> Vec<String> {
        self.was_asked = true;
        // A registry that restarted has another instance: the state of the one before does not change any more.
        self.known.retain(|(name, instance), _| {
            let mut named = statuses.iter().filter(|said| said.name == *name).peekable();
            named.peek().is_none()
                || named.any(|said| said.instance == *instance || said.same_name.contains(instance))
        });
        let mut lines = Vec::new();
        for status in statuses {
            let mut kept = status.releases.into_iter();
            let kept = kept.find(|kept| kept.release == self.release);
            // The statement may not have arrived yet.
            let state = kept.map_or((KeptState::Pending, None), |kept| (kept.state, kept.cause));
            let before = self
                .known
                .insert((status.name.clone(), status.instance), state.clone());
            let line = failure(&status.name, &state).filter(|_| before.as_ref() != Some(&state));
            lines.extend(line);
            if before.is_none() && !status.same_name.is_empty() {
                lines.push(two(&status.name));
            }
        }
        lines
    }

    /// Whether all registries that answer have stored or refused the release.
    pub(crate) fn are_settled(&self) -> bool {
        let is_end = |state| matches!(state, KeptState::Stored | KeptState::Refused);
        self.was_asked && self.known.values().all(|(state, _)| is_end(*state))
    }

    /// A line for each registry that does not have the release.
    pub(crate) fn failures(&self) -> Vec<String> {
        let known = self.known.iter();
        known
            .filter_map(|((name, _), state)| failure(name, state))
            .collect()
    }

    /// Names of registries that have not stored the release yet.
    fn pending(&self) -> Vec<&str> {
        let known = self.known.iter();
        known
            .filter(|(_, (state, _))| *state == KeptState::Pending)
            .map(|((name, _), _)| name.as_str())
            .collect()
    }

    /// Prints the registries that do not have the release.
    pub(crate) fn show(&self, terminal: &Terminal) -> anyhow::Result<()> {
        if terminal.json {
            return Ok(());
        }
        for line in self.failures() {
            terminal.print(terminal.bad(&line))?;
        }
        let pending = self.pending();
        if !pending.is_empty() {
            terminal.note(format!(
                "not stored yet by registry {}: devices that connect later may not get the release; publish with --serve, or look at the registry's log",
                pending.join(", ")
            ));
        }
        Ok(())
    }

    pub(crate) fn rows(&self) -> Vec<RegistryRow> {
        let known = self.known.iter();
        known
            .map(|((name, _), (state, cause))| RegistryRow {
                registry: name.clone(),
                state: *state,
                cause: cause.clone(),
            })
            .collect()
    }
}

fn failure(name: &str, (state, cause): &(KeptState, Option<Cause>)) -> Option<String> {
    let what = match state {
        KeptState::Stored | KeptState::Pending => return None,
        KeptState::Refused => "refused the release",
        KeptState::Retrying => "cannot store the release now, and tries again",
    };
    let why = cause.as_ref();
    let why = why.map_or_else(String::new, |why| {
        format!(": {}: {}", why.name, why.message)
    });
    Some(format!("registry {name} {what}{why}"))
}

fn two(name: &str) -> String {
    format!("two registries are called {name}; give each its own name")
}

/// The lines of `hotshoe status` about a site's registries.
pub(crate) fn lines(statuses: &[RegistryStatus]) -> Vec<String> {
    let mut lines = Vec::new();
    for status in statuses {
        let RegistryStatus {
            name,
            stored,
            damaged,
            ..
        } = status;
        let mut line = format!("registry {name}: {stored} releases stored");
        if *damaged > 0 {
            line.push_str(&format!(", {damaged} damaged blobs found"));
        }
        lines.push(line);
        lines.extend((!status.same_name.is_empty()).then(|| two(name)));
        for kept in &status.releases {
            let state = (kept.state, kept.cause.clone());
            let line = failure(name, &state);
            let of = |line| format!("{} generation {}: {line}", kept.name, kept.generation);
            lines.extend(line.map(of));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use hotshoe_protocol::registry::KeptRelease;

    use super::*;

    fn status(instance: &str, kept: Option<(KeptState, Option<Cause>)>) -> RegistryStatus {
        let release = |(state, cause)| KeptRelease {
            name: "ocr".to_owned(),
            generation: 2,
            release: Digest::of(b"release"),
            state,
            cause,
        };
        RegistryStatus {
            site: "lab".to_owned(),
            name: "shelf".to_owned(),
            instance: instance.to_owned(),
            same_name: Vec::new(),
            stored: 1,
            damaged: 0,
            refused: 0,
            releases: kept.map(release).into_iter().collect(),
        }
    }

    #[test]
    fn a_registry_that_cannot_store_a_release_is_said_once_and_counts_until_it_can() {
        let mut reports = RegistryReports::new(Digest::of(b"release"));
        assert!(!reports.are_settled());
        assert!(reports.take(vec![status("1", None)]).is_empty());
        assert!(!reports.are_settled());
        assert_eq!(reports.pending(), ["shelf"]);
        let full = Some((
            KeptState::Retrying,
            Some(Cause::new("disk_full", "the disk is full")),
        ));
        let line = "registry shelf cannot store the release now, and tries again: disk_full: the disk is full";
        assert_eq!(reports.take(vec![status("1", full.clone())]), [line]);
        assert!(reports.take(vec![status("1", full)]).is_empty());
        // It may succeed soon.
        assert!(!reports.are_settled());
        assert_eq!(reports.failures(), [line]);
        reports.take(vec![status("1", Some((KeptState::Stored, None)))]);
        assert!(reports.are_settled() && reports.failures().is_empty());
        let mut other = status("2", Some((KeptState::Stored, None)));
        other.same_name = vec!["1".to_owned()];
        let lines = reports.take(vec![other.clone()]);
        assert_eq!(lines.len(), 1);
        assert!(lines.concat().contains("two registries are called shelf"));
        assert!(reports.take(vec![other]).is_empty());
        assert_eq!(reports.rows().len(), 2);
    }

    #[test]
    fn a_registry_that_restarted_counts_once() {
        let mut reports = RegistryReports::new(Digest::of(b"release"));
        let cause = Cause::new("disk_full", "the disk is full");
        reports.take(vec![status("1", Some((KeptState::Refused, Some(cause))))]);
        // No answer says nothing.
        reports.take(Vec::new());
        assert_eq!(reports.failures().len(), 1);
        reports.take(vec![status("2", Some((KeptState::Stored, None)))]);
        assert!(reports.are_settled() && reports.failures().is_empty());
        assert_eq!(reports.rows().len(), 1);
    }

    #[test]
    fn a_site_without_registries_waits_for_none() {
        let mut reports = RegistryReports::new(Digest::of(b"release"));
        assert!(reports.take(Vec::new()).is_empty());
        assert!(reports.are_settled() && reports.pending().is_empty());
    }
}
