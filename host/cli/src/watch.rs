//! Watches source files for changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// The time without a change after which a change is complete: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(60);
/// Folders of build output.
const OUTPUT: [&str; 4] = ["build", "target", "node_modules", "__pycache__"];

/// Changes below a folder.
pub(crate) struct Changes {
    events: Receiver<PathBuf>,
    // Dropping it ends the watch.
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Watches a folder and everything below it, except hidden files and build output.
    pub(crate) fn below(folder: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot watch {}", folder.display());
        let root = folder.canonicalize().with_context(cannot)?;
        let (sender, events) = channel();
        let base = root.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else {
                return;
            };
            if matches!(event.kind, EventKind::Access(_)) {
                return;
            }
            for path in event.paths {
                if path.strip_prefix(&base).is_ok_and(is_source) {
                    // The receiver is gone when the command ends.
                    let _ = sender.send(path);
                }
            }
        })
        .with_context(cannot)?;
        watcher
            .watch(&root, RecursiveMode::Recursive)
            .with_context(cannot)?;
        Ok(Self {
            events,
            _watcher: watcher,
        })
    }

    /// The files of a complete change; none if there was no change within `most`.
    pub(crate) fn next(&self, most: Duration) -> Option<BTreeSet<PathBuf>> {
        let mut changed = BTreeSet::from([self.events.recv_timeout(most).ok()?]);
        loop {
            match self.events.recv_timeout(QUIET) {
                Ok(path) => drop(changed.insert(path)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Some(changed);
                }
            }
        }
    }
}

/// Whether a path below the folder is a source file.
fn is_source(path: &Path) -> bool {
    path.iter().all(|part| {
        let part = part.to_string_lossy();
        !(part.starts_with(['.', '#']) || part.ends_with('~') || OUTPUT.contains(&part.as_ref()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn build_output_and_editor_files_are_not_sources() {
        for path in ["src/lib.rs", "release.toml", "tests/a.json", "builder/a.c"] {
            assert!(is_source(Path::new(path)), "{path}");
        }
        for path in [
            ".hotshoe/a/lib.rs",
            "build/a.wasm",
            "target/x",
            "src/.lib.rs.swp",
            "src/lib.rs~",
            "js/node_modules/a.js",
        ] {
            assert!(!is_source(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_change_is_reported_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let changes = Changes::below(folder.path()).unwrap();
        let file = folder.path().join("lib.rs");
        std::fs::write(&file, "a").unwrap();
        std::fs::write(&file, "ab").unwrap();
        let changed = changes.next(Duration::from_secs(60)).unwrap();
        assert_eq!(changed, BTreeSet::from([file.canonicalize().unwrap()]));
    }
}
