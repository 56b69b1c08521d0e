//! The secrets of the device that a component may read, and the log lines that must not show them.

use std::collections::BTreeSet;

use hotshoe_sealing::{Secret, SecretSource};
use parking_lot::Mutex;

/// What replaces a secret in a log line.
const MARK: &str = "[redacted]";

/// The secrets of one component. Each is read from the device when the component asks for it.
#[derive(Debug, Default)]
pub(crate) struct ComponentSecrets {
    /// Those that the release lists and the device allows.
    names: BTreeSet<String>,
    /// `None` outside of a daemon.
    source: Option<SecretSource>,
    /// Those that the component has read.
    given: Mutex<Vec<Secret>>,
}

impl ComponentSecrets {
    pub(crate) fn new(names: BTreeSet<String>, source: Option<SecretSource>) -> Self {
        Self {
            names,
            source,
            given: Mutex::default(),
        }
    }

    /// The value of a secret; `None` if the component may not read it, or the device has none of this name.
    pub(crate) fn get(&self, component: &str, name: &str) -> Option<String> {
        let source = self.source.as_ref().filter(|_| self.names.contains(name))?;
        match source.get(name) {
            Ok(secret) => {
                let value = secret.expose().to_owned();
                let mut given = self.given.lock();
                if !value.is_empty() && given.iter().all(|it| it.expose() != value) {
                    given.push(secret);
                    // The longest first, so that none is left in part.
                    given.sort_by_key(|it| std::cmp::Reverse(it.expose().len()));
                }
                Some(value)
            }
            Err(error) => {
                let reason = error.name();
                tracing::warn!(
                    component,
                    secret = name,
                    reason,
                    "a component cannot read a secret"
                );
                None
            }
        }
    }

    /// A text of the component without the secrets that it has read.
    pub(crate) fn hidden_in(&self, text: String) -> String {
        let given = self.given.lock();
        given.iter().fold(text, |text, secret| {
            if text.contains(secret.expose()) {
                text.replace(secret.expose(), MARK)
            } else {
                text
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs;

    use hotshoe_sealing::AtRest;

    use super::*;

    #[test]
    fn a_component_reads_the_secrets_that_it_lists_and_its_log_does_not_show_them() {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in [
            ("camera", "word-17\n"),
            ("longer", "word-17-b"),
            ("other", "x"),
        ] {
            fs::write(folder.path().join(name), value).unwrap();
        }
        let source = SecretSource::new(
            Some(folder.path().to_owned()),
            folder.path().to_owned(),
            AtRest::plain(),
        );
        let names = ["camera", "longer", "missing"].map(str::to_owned).into();
        let secrets = ComponentSecrets::new(names, Some(source));
        let line = || "word-17-b and word-17".to_owned();
        assert_eq!(secrets.hidden_in(line()), line());
        let get = |name| secrets.get("test", name);
        assert_eq!(get("camera").as_deref(), Some("word-17"));
        assert_eq!(get("longer").as_deref(), Some("word-17-b"));
        assert_eq!(get("camera").as_deref(), Some("word-17"));
        assert_eq!((get("missing"), get("other")), (None, None));
        assert_eq!(secrets.hidden_in(line()), format!("{MARK} and {MARK}"));
        assert_eq!(ComponentSecrets::default().get("test", "camera"), None);
    }
}
