//! Runs the tests again on every change.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_author::manifest::Manifest;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::runner::TestOptions;
use super::{once, report};
use hotshoe_release::exit::{self, Namer};
use hotshoe_release::terminal::Terminal;

/// The time without a change after which a group of changes is complete: editors and compilers write several files.
const QUIET: Duration = Duration::from_millis(150);
/// Folders that builds write into.
const MADE: [&str; 6] = [
    ".hotshoe",
    "build",
    "target",
    "node_modules",
    "__pycache__",
    ".git",
];

/// Runs the tests now and after each change, until the process ends. `names` has the stable names of this program's errors.
pub(super) fn run(
    options: &TestOptions,
    yes: bool,
    terminal: &Terminal,
    names: Namer,
) -> anyhow::Result<ExitCode> {
    let (sender, changes) = channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // The receiver is gone when the process ends.
        drop(sender.send(event));
    })
    .context("cannot watch files")?;
    let mut watched = BTreeSet::new();
    loop {
        let files = Files::of(options);
        follow(&mut watcher, &files, &mut watched)?;
        match once(options, yes, terminal) {
            Ok(run) => report::print(&run, terminal)?,
            // An error may be gone after the next change.
            Err(error) => drop(exit::failed(&error, names, terminal)),
        }
        terminal.note(terminal.dim("waiting for a change; Ctrl-C ends"));
        if !changed(&changes, &files) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// The files and folders to watch.
struct Files {
    /// The release.toml and the files that it names.
    files: BTreeSet<PathBuf>,
    /// Folders with everything below them, except build output.
    folders: Vec<PathBuf>,
}

impl Files {
    fn of(options: &TestOptions) -> Self {
        let path = &options.release_toml;
        let here = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let whole = |file: &str| absolute(&here.join(file));
        let mut files = BTreeSet::from([absolute(path)]);
        let mut folders: Vec<PathBuf> = options.recorded.iter().map(|it| absolute(it)).collect();
        // The run itself reports an unreadable file.
        if let Ok(manifest) = Manifest::read(path) {
            let components = &manifest.release.components;
            let made: BTreeSet<&str> = components
                .values()
                .filter(|component| component.source.is_some())
                .map(|component| component.file.as_str())
                .collect();
            let named = manifest.release.files();
            files.extend(
                named
                    .filter(|it| !made.contains(it.file))
                    .map(|it| whole(it.file)),
            );
            let sources = components.values().filter_map(|it| it.source.as_deref());
            folders.extend(sources.map(whole));
        }
        Self { files, folders }
    }

    fn matters(&self, path: &Path) -> bool {
        if self.files.contains(path) {
            return true;
        }
        let mut below = self
            .folders
            .iter()
            .filter_map(|it| path.strip_prefix(it).ok());
        below.any(|rest| {
            rest.components()
                .all(|part| MADE.iter().all(|made| part.as_os_str() != *made))
        })
    }
}

/// Watches the files and folders that are not watched yet.
fn follow(
    watcher: &mut RecommendedWatcher,
    files: &Files,
    watched: &mut BTreeSet<PathBuf>,
) -> anyhow::Result<()> {
    let parents = files.files.iter().filter_map(|file| file.parent());
    let alone = parents.map(|folder| (folder, RecursiveMode::NonRecursive));
    let whole = files
        .folders
        .iter()
        .map(|it| (it.as_path(), RecursiveMode::Recursive));
    for (folder, mode) in whole.chain(alone) {
        if watched.insert(folder.to_owned()) && folder.is_dir() {
            watcher
                .watch(folder, mode)
                .with_context(|| format!("cannot watch {}", folder.display()))?;
        }
    }
    Ok(())
}

/// Waits for a change that matters, and then until there are no more. Returns false if no more events can come.
fn changed(changes: &Receiver<notify::Result<Event>>, files: &Files) -> bool {
    let matters = |event: &notify::Result<Event>| match event {
        Ok(event) => !event.kind.is_access() && event.paths.iter().any(|it| files.matters(it)),
        // Events may be lost.
        Err(_) => true,
    };
    loop {
        match changes.recv() {
            Ok(event) if matters(&event) => break,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    let mut quiet = Instant::now() + QUIET;
    while let Ok(event) = changes.recv_timeout(quiet.saturating_duration_since(Instant::now())) {
        // Reads and unrelated changes do not extend the wait.
        if matters(&event) {
            quiet = Instant::now() + QUIET;
        }
    }
    true
}

/// The path as events name it.
fn absolute(path: &Path) -> PathBuf {
    path.canonicalize()
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned())
}
