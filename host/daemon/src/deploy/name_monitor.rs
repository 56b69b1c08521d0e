//! Detects other daemons with this device's name. Statements, orders and samples for the name reach all of them.

use hotshoe_protocol::event::{EventCause, KnownKind};

/// State of the check.
#[derive(Debug, Default)]
pub(super) struct NameMonitor {
    /// The sessions of the others that were reported.
    reported: Vec<String>,
}

impl NameMonitor {
    /// The event, if other sessions with this name appeared or the last one is gone.
    pub(super) fn check(
        &mut self,
        others: Vec<String>,
        site: &str,
        device: &str,
    ) -> Option<(KnownKind, Option<EventCause>)> {
        if others == self.reported {
            return None;
        }
        self.reported = others;
        if self.reported.is_empty() {
            return Some((KnownKind::NameConflictEnded, None));
        }
        let message = format!(
            "another daemon also is `{device}` of site `{site}` (session {}); give each its own `device` in hotshoe.toml, and a copied device \
             an empty data folder",
            self.reported.join(", ")
        );
        let cause = EventCause::new("name_in_use", message);
        Some((KnownKind::NameConflict, Some(cause)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn another_session_is_reported_once_and_so_is_its_end() {
        let mut monitor = NameMonitor::default();
        let mut check = |others: &[&str]| {
            let others = others.iter().map(|id| (*id).to_owned()).collect();
            monitor.check(others, "lab", "cam")
        };
        assert_eq!(check(&[]), None);
        let (kind, cause) = check(&["a1"]).unwrap();
        let cause = cause.unwrap();
        assert_eq!(
            (kind, &*cause.name),
            (KnownKind::NameConflict, "name_in_use")
        );
        assert!(
            cause.message.contains("`cam` of site `lab`"),
            "{}",
            cause.message
        );
        assert_eq!(check(&["a1"]), None);
        assert_eq!(check(&[]), Some((KnownKind::NameConflictEnded, None)));
        assert_eq!(check(&[]), None);
    }
}
