//! A watched folder over time: before the first release, replaced by another, without events, and with entries that are not read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, SystemTime};

use hotshoe_base::VirtualClock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{After, WatchConfig};
use hotshoe_daemon::ending::Ending;
use hotshoe_daemon::events::EventLog;
use hotshoe_daemon::watch::FolderWatch;
use hotshoe_daemon::watched::FailedFiles;
use hotshoe_egress::Classifier;
use hotshoe_protocol::status::WatchMode;
use hotshoe_tests::{DEADLINE, until};
use hotshoe_trust::Digest;

/// The pause between two listings.
const PAUSE: Duration = Duration::from_secs(5);

/// A watch whose clock stands still, and the names and bytes of the files that it offers.
struct Watched {
    clock: VirtualClock,
    failed_files: Arc<FailedFiles>,
    events: Arc<EventLog>,
    watch: FolderWatch,
    offered: Receiver<(String, String)>,
}

impl Watched {
    /// Watches a folder. The first sample ends as `first`, later ones with a result.
    fn start(folder: &Path, after: After, first: Ending, has_release: bool) -> Self {
        let clock = VirtualClock::at(SystemTime::UNIX_EPOCH);
        let events: Arc<EventLog> = Arc::default();
        let data = tempfile::tempdir().unwrap();
        let failed_files = FailedFiles::open(data.path(), Arc::clone(&events));
        if !has_release {
            failed_files.serve(None);
        }
        let config = WatchConfig {
            folder: folder.to_owned(),
            after,
        };
        let (sender, offered) = channel();
        let ending = std::cell::Cell::new(first);
        let watch = FolderWatch::start(
            &config,
            64,
            Arc::clone(&failed_files),
            &Supervisor::timed_by(clock.clock()),
            move |incoming, answer| {
                let name = Path::new(&incoming.source).file_name().unwrap();
                let bytes = String::from_utf8_lossy(&incoming.payload).into_owned();
                answer.send(ending.replace(Ending::Result), || Classifier::host(&""));
                let _ = sender.send((name.to_str().unwrap().to_owned(), bytes));
            },
        )
        .unwrap();
        if has_release {
            // The first listing reads all that is there, also what is still being written.
            clock.await_waiting(1);
        }
        Self {
            clock,
            failed_files,
            events,
            watch,
            offered,
        }
    }

    /// The next offered file, without a step of the clock.
    fn next(&self) -> (String, String) {
        self.offered.recv_timeout(DEADLINE).unwrap()
    }

    /// The next offered file, found by a listing.
    fn next_listed(&self) -> (String, String) {
        let mut found = None;
        until("a listing finds a file", || {
            self.list();
            found = match self.offered.try_recv() {
                Ok(file) => Some(file),
                Err(TryRecvError::Empty) => None,
                Err(error) => panic!("{error}"),
            };
            found.is_some()
        });
        found.unwrap()
    }

    /// Has the folder listed.
    fn list(&self) {
        self.clock.await_waiting(1);
        self.clock.advance(PAUSE);
    }

    /// The names of the events and of their causes.
    fn said(&self) -> Vec<(String, Option<String>)> {
        let events = self.events.recent().into_iter();
        events
            .map(|event| {
                let cause = event.cause.map(|cause| cause.name);
                (event.kind.name().to_owned(), cause)
            })
            .collect()
    }

    fn mode(&self) -> Option<WatchMode> {
        self.failed_files.status().mode
    }
}

fn file(name: &str, bytes: &str) -> (String, String) {
    (name.to_owned(), bytes.to_owned())
}

#[test]
fn files_wait_for_the_first_release_and_are_then_read_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "old").unwrap();
    let watched = Watched::start(folder.path(), After::Keep, Ending::Result, false);
    fs::write(folder.path().join("a"), "newer").unwrap();
    fs::write(folder.path().join("b"), "b").unwrap();
    watched.failed_files.serve(Some(Digest::of(b"release")));
    watched.failed_files.resume();
    assert_eq!(watched.next(), file("a", "newer"));
    assert_eq!(watched.next(), file("b", "b"));
    watched.watch.join();
    assert!(watched.offered.try_recv().is_err(), "a file came twice");
}

#[test]
fn a_watch_ends_while_its_files_wait() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    let watched = Watched::start(folder.path(), After::Keep, Ending::Result, false);
    watched.watch.join();
    assert!(watched.offered.try_recv().is_err());
}

#[test]
fn a_file_whose_sample_was_dropped_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    let watched = Watched::start(folder.path(), After::Move, Ending::Drop, true);
    assert_eq!(watched.next(), file("a", "a"));
    assert_eq!(watched.next_listed(), file("a", "a"));
    watched.watch.join();
    assert!(folder.path().join("done/a").exists());
}

#[test]
fn a_folder_that_is_deleted_and_made_again_is_watched_again() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("in");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a"), "a").unwrap();
    let watched = Watched::start(&folder, After::Move, Ending::Result, true);
    assert_eq!(watched.next(), file("a", "a"));
    assert_eq!(watched.mode(), Some(WatchMode::Events));
    fs::remove_dir_all(&folder).unwrap();
    until("the folder is missed", || {
        watched.mode() == Some(WatchMode::Missing)
    });
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("b"), "b").unwrap();
    assert_eq!(watched.next_listed(), file("b", "b"));
    assert_eq!(watched.mode(), Some(WatchMode::Events));
    // Its events are followed again, without a step of the clock.
    fs::write(folder.join("c"), "c").unwrap();
    assert_eq!(watched.next(), file("c", "c"));
    let said = [
        ("folder_lost".to_owned(), Some("folder_missing".to_owned())),
        ("folder_watched".to_owned(), None),
    ];
    assert_eq!(watched.said(), said);
    watched.watch.join();
    assert!(folder.join("done/c").exists());
}

#[test]
fn another_folder_under_the_same_path_is_watched_without_an_event() {
    let root = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    // As a file system that is mounted over the folder: the path leads elsewhere, and the folder itself does not change.
    let folder = root.path().join("in");
    symlink("one", &folder).unwrap();
    let watched = Watched::start(&folder, After::Keep, Ending::Result, true);
    fs::write(root.path().join("one/a"), "a").unwrap();
    assert_eq!(watched.next(), file("a", "a"));
    fs::write(root.path().join("two/b"), "b").unwrap();
    symlink("two", root.path().join("new")).unwrap();
    fs::rename(root.path().join("new"), &folder).unwrap();
    assert_eq!(watched.next_listed(), file("b", "b"));
    fs::write(root.path().join("two/c"), "c").unwrap();
    assert_eq!(watched.next(), file("c", "c"));
    assert_eq!(watched.said(), [("folder_watched".to_owned(), None)]);
    watched.watch.join();
}

#[test]
fn a_file_that_is_being_written_is_not_read_by_a_listing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let watched = Watched::start(folder.path(), After::Keep, Ending::Result, true);
    let mut slow = File::create(at("slow")).unwrap();
    slow.write_all(b"first ").unwrap();
    // Events come in order.
    fs::write(at("b"), "b").unwrap();
    assert_eq!(watched.next(), file("b", "b"));
    for _ in 0..3 {
        watched.list();
    }
    fs::write(at("c"), "c").unwrap();
    assert_eq!(watched.next(), file("c", "c"));
    slow.write_all(b"second").unwrap();
    drop(slow);
    assert_eq!(watched.next(), file("slow", "first second"));
    watched.watch.join();
}

#[test]
fn a_time_that_is_set_makes_no_other_sample() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let watched = Watched::start(folder.path(), After::Keep, Ending::Result, true);
    fs::write(at("a"), "a").unwrap();
    assert_eq!(watched.next(), file("a", "a"));
    // Opened for reading: `cp -p` and `touch` set times so that the file is not closed after writing.
    let copied = File::open(at("a")).unwrap();
    copied.set_modified(SystemTime::UNIX_EPOCH + PAUSE).unwrap();
    fs::write(at("b"), "b").unwrap();
    assert_eq!(watched.next(), file("b", "b"));
    for _ in 0..3 {
        watched.list();
    }
    fs::write(at("c"), "c").unwrap();
    assert_eq!(watched.next(), file("c", "c"));
    watched.watch.join();
}

#[test]
fn a_hard_link_is_a_file() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("in");
    fs::create_dir(&folder).unwrap();
    fs::write(root.path().join("picture"), "a").unwrap();
    let watched = Watched::start(&folder, After::Move, Ending::Result, true);
    fs::hard_link(root.path().join("picture"), folder.join("a")).unwrap();
    assert_eq!(watched.next(), file("a", "a"));
    watched.watch.join();
    assert!(folder.join("done/a").exists() && root.path().join("picture").exists());
}

#[test]
fn each_entry_that_is_not_read_is_reported_once() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("in");
    fs::create_dir(&folder).unwrap();
    fs::write(root.path().join("secret"), "x").unwrap();
    fs::write(folder.join("a"), "a").unwrap();
    symlink("a", folder.join("b")).unwrap();
    symlink("../secret", folder.join("c")).unwrap();
    symlink("nowhere", folder.join("d")).unwrap();
    fs::create_dir(folder.join("subfolder")).unwrap();
    let watched = Watched::start(&folder, After::Keep, Ending::Result, true);
    let _socket = UnixListener::bind(folder.join("e")).unwrap();
    assert_eq!(watched.next(), file("a", "a"));
    until("four entries are skipped", || {
        watched.failed_files.status().skipped == 4
    });
    for _ in 0..3 {
        watched.list();
    }
    let mut said = watched.said();
    said.sort();
    let skipped = |cause: &str| ("file_skipped".to_owned(), Some(cause.to_owned()));
    let expected = [
        "link_leads_out",
        "not_a_file",
        "symbolic_link",
        "symbolic_link",
    ];
    assert_eq!(said, expected.map(skipped));
    fs::remove_file(folder.join("c")).unwrap();
    until("three are left", || {
        watched.failed_files.status().skipped == 3
    });
    watched.watch.join();
}

#[test]
fn a_file_that_becomes_readable_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let watched = Watched::start(folder.path(), After::Keep, Ending::Result, true);
    fs::write(at("a.part"), "a").unwrap();
    fs::set_permissions(at("a.part"), PermissionsExt::from_mode(0o000)).unwrap();
    fs::rename(at("a.part"), at("a")).unwrap();
    // Root reads it in any case.
    if File::open(at("a")).is_err() {
        until("it is skipped", || {
            watched.failed_files.status().skipped == 1
        });
        let unreadable = ("file_skipped".to_owned(), Some("unreadable".to_owned()));
        assert_eq!(watched.said(), [unreadable]);
    }
    fs::set_permissions(at("a"), PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(watched.next(), file("a", "a"));
    fs::write(at("b"), "b").unwrap();
    assert_eq!(watched.next(), file("b", "b"));
    watched.watch.join();
    assert_eq!(watched.failed_files.status().skipped, 0);
}
