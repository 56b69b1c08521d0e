//! A watched folder: existing files first, then completed ones, each once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{After, WatchConfig};
use hotshoe_daemon::ending::Ending;
use hotshoe_daemon::events::EventLog;
use hotshoe_daemon::serving::answer::ReplyTo;
use hotshoe_daemon::watch::{FolderWatch, WatchError};
use hotshoe_daemon::watched::FailedFiles;
use hotshoe_egress::Classifier;
use hotshoe_protocol::event::{Kind, KnownKind, Subject};
use hotshoe_tests::DEADLINE;
use serde_json::json;

/// An offered file: its name, media type and bytes.
type Offered = (String, Option<String>, Vec<u8>);

fn watch(folder: &Path, after: After, ending: Ending) -> (FolderWatch, Receiver<Offered>) {
    let (sender, offered) = channel();
    let config = WatchConfig {
        folder: folder.to_owned(),
        after,
    };
    let data = tempfile::tempdir().unwrap();
    let failed_files = FailedFiles::open(data.path(), Arc::default());
    let watch = FolderWatch::start(
        &config,
        4,
        failed_files,
        &Supervisor::default(),
        move |incoming, answer: ReplyTo| {
            let name = Path::new(&incoming.source)
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            answer.send(ending, || Classifier::host(&""));
            sender
                .send((
                    name,
                    incoming.content_type.clone(),
                    incoming.payload.to_vec(),
                ))
                .unwrap();
        },
    )
    .unwrap();
    (watch, offered)
}

fn name(offered: &Receiver<Offered>) -> String {
    offered.recv_timeout(DEADLINE).unwrap().0
}

#[test]
fn files_come_in_order_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("b.txt"), "b").unwrap();
    fs::write(at("a.png"), "a").unwrap();
    fs::write(at(".hidden"), "x").unwrap();
    fs::write(at("c.part"), "x").unwrap();
    fs::create_dir(at("folder")).unwrap();
    let (watch, offered) = watch(folder.path(), After::Keep, Ending::Result);
    assert_eq!(
        offered.recv_timeout(DEADLINE).unwrap(),
        (
            "a.png".to_owned(),
            Some("image/png".to_owned()),
            b"a".to_vec()
        )
    );
    assert_eq!(name(&offered), "b.txt");
    fs::rename(at("c.part"), at("c")).unwrap();
    assert_eq!(name(&offered), "c");
    fs::write(at("d"), "12345678").unwrap();
    let large = offered.recv_timeout(DEADLINE).unwrap();
    assert_eq!((large.0.as_str(), large.2.len()), ("d", 5)); // one byte over the limit is enough to refuse it
    watch.join();
    // The sender is gone: nothing came twice.
    assert_eq!(
        offered.recv_timeout(DEADLINE),
        Err(RecvTimeoutError::Disconnected)
    );
    assert!(at("a.png").exists());
}

#[test]
fn a_watched_folder_may_be_a_link_and_a_link_in_it_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    let folder = outside.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let entrance = outside.path().join("entrance");
    symlink(&folder, &entrance).unwrap();
    fs::write(folder.join("b"), "b").unwrap();
    symlink("../secret", folder.join("a")).unwrap();
    symlink(outside.path().join("secret"), folder.join("c")).unwrap();
    symlink("b", folder.join("d")).unwrap();
    let (watch, offered) = watch(&entrance, After::Move, Ending::Result);
    assert_eq!(name(&offered), "b");
    fs::write(folder.join("e"), "e").unwrap();
    assert_eq!(name(&offered), "e");
    watch.join();
    assert!(offered.recv_timeout(DEADLINE).is_err());
    assert!(folder.join("done/b").exists() && folder.join("a").is_symlink());
}

#[test]
fn a_file_goes_where_its_ending_says() {
    for (after, ending, done, failed, stays) in [
        (After::Move, Ending::Result, true, false, false),
        (After::Move, Ending::Failure, false, true, false),
        (After::Move, Ending::Drop, false, false, true),
        (After::Delete, Ending::Result, false, false, false),
        (After::Delete, Ending::Failure, false, true, false),
        (After::Keep, Ending::Failure, false, false, true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "a").unwrap();
        let (watch, offered) = watch(folder.path(), after, ending);
        assert_eq!(name(&offered), "a");
        watch.join();
        let found = (
            at("done/a").exists(),
            at("failed/a").exists(),
            at("a").exists(),
        );
        assert_eq!(found, (done, failed, stays), "{after:?} {ending:?}");
    }
}

#[test]
fn a_file_that_changed_since_it_was_read_is_another_sample() {
    for after in [After::Move, After::Delete] {
        for replace in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            fs::write(at("a"), "1").unwrap();
            let (sender, offered) = channel();
            let config = WatchConfig {
                folder: folder.path().to_owned(),
                after,
            };
            let data = tempfile::tempdir().unwrap();
            let failed_files = FailedFiles::open(data.path(), Arc::default());
            let watch = FolderWatch::start(
                &config,
                4,
                failed_files,
                &Supervisor::default(),
                move |incoming, answer| {
                    sender.send((incoming.payload.to_vec(), answer)).unwrap();
                },
            )
            .unwrap();
            let (first, answer) = offered.recv_timeout(DEADLINE).unwrap();
            if replace {
                fs::write(at("a.part"), "2").unwrap();
                fs::rename(at("a.part"), at("a")).unwrap();
            } else {
                fs::write(at("a"), "22").unwrap();
            }
            answer.send(Ending::Result, || Classifier::host(&""));
            assert!(at("a").exists(), "{after:?}: the new file was never read");
            let (second, answer) = offered.recv_timeout(DEADLINE).unwrap();
            assert_eq!((first[0], second[0]), (b'1', b'2'));
            answer.send(Ending::Result, || Classifier::host(&""));
            assert!(!at("a").exists());
            assert_eq!(at("done/a").exists(), after == After::Move);
            watch.join();
        }
    }
}

#[test]
fn a_file_of_the_same_name_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("done")).unwrap();
    fs::write(at("done/a"), "old").unwrap();
    fs::write(at("a"), "new").unwrap();
    let (watch, offered) = watch(folder.path(), After::Move, Ending::Result);
    assert_eq!(name(&offered), "a");
    watch.join();
    assert_eq!(fs::read_to_string(at("done/a")).unwrap(), "old");
    assert_eq!(fs::read_dir(at("done")).unwrap().count(), 2);
}

#[test]
fn a_missing_folder_is_named() {
    let config = WatchConfig {
        folder: "/nowhere/in".into(),
        after: After::Keep,
    };
    let data = tempfile::tempdir().unwrap();
    let Err(error) = FolderWatch::start(
        &config,
        4,
        FailedFiles::open(data.path(), Arc::default()),
        &Supervisor::default(),
        |_, _| {},
    ) else {
        panic!("it watches a folder that is not there");
    };
    assert!(matches!(error, WatchError::Watch { .. }));
    assert!(error.to_string().contains("/nowhere/in"), "{error}");
}

/// How each file ends in one run of the daemon.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Result,
    Refused,
    /// The daemon dies while the file is processed: its files on disk are restored for the next start.
    Death,
}

/// One run over the folder: the names of the first `last` files that were offered, in order, each after the end of the one before.
fn run(
    folder: &Path,
    data: &Path,
    release: &str,
    last: usize,
    end: impl Fn(&str) -> End,
) -> Vec<String> {
    let failed_files = FailedFiles::open(data, Arc::default());
    failed_files.serve(Some(hotshoe_trust::Digest::of(release.as_bytes())));
    let (sender, offered) = channel();
    let config = WatchConfig {
        folder: folder.to_owned(),
        after: After::Keep,
    };
    let watch = FolderWatch::start(
        &config,
        4,
        Arc::clone(&failed_files),
        &Supervisor::default(),
        move |incoming, answer| {
            sender.send((incoming.source, answer)).unwrap();
        },
    )
    .unwrap();
    let notes = data.join("watching");
    let mut names = Vec::new();
    let mut left = Vec::new();
    while names.len() < last {
        let (source, answer) = offered.recv_timeout(DEADLINE).unwrap();
        let ReplyTo::File(mut file) = answer else {
            panic!("no file");
        };
        file.begin();
        let name = Path::new(&source)
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let end = end(&name);
        if end == End::Death {
            let held = fs::read_dir(&notes).unwrap().map(|it| it.unwrap().path());
            left.extend(held.map(|path| (path.clone(), fs::read(path).unwrap())));
        }
        match end {
            End::Result => file.finish(Ending::Result, None),
            End::Refused => {
                let error = json!({"fault": "invalid_input", "message": "no picture"});
                file.finish(Ending::Failure, Some(&Classifier::host(&error)));
            }
            End::Death => drop(file),
        }
        names.push(name);
    }
    watch.join();
    assert_eq!(fs::read_dir(&notes).unwrap().count(), 0, "unused markers");
    for (path, note) in left {
        fs::write(path, note).unwrap();
    }
    names
}

#[test]
fn a_file_that_kills_twice_is_passed_over_until_it_changes() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["a", "b", "c"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let run = |release, last| {
        run(
            folder.path(),
            data.path(),
            release,
            last,
            |name| match name {
                "b" => End::Death,
                _ => End::Result,
            },
        )
    };
    assert_eq!(run("one", 3), ["a", "b", "c"]);
    // It is tried first, alone.
    assert_eq!(run("one", 3), ["b", "a", "c"]);
    assert_eq!(run("one", 2), ["a", "c"]);
    assert_eq!(run("one", 2), ["a", "c"]);
    let status = FailedFiles::open(data.path(), Arc::default()).status();
    assert_eq!(status.set_aside, 1);
    assert!(status.last_file.unwrap().ends_with("/b"));
    assert!(status.last_reason.unwrap().contains("died"));
    // The record applies to one release only.
    assert_eq!(run("two", 3), ["a", "b", "c"]);
    fs::write(folder.path().join("b"), "bb").unwrap();
    assert_eq!(run("one", 3), ["a", "b", "c"]);
}

#[test]
fn a_file_that_is_refused_twice_is_passed_over_until_it_changes() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["a", "b"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let run = |b: End, last| {
        let end = |name: &str| if name == "a" { End::Result } else { b };
        run(folder.path(), data.path(), "one", last, end)
    };
    assert_eq!(run(End::Refused, 2), ["a", "b"]);
    // A result clears earlier failures.
    assert_eq!(run(End::Result, 2), ["a", "b"]);
    assert_eq!(run(End::Refused, 2), ["a", "b"]);
    assert_eq!(run(End::Refused, 2), ["a", "b"]);
    assert_eq!(run(End::Refused, 1), ["a"]);
    let status = FailedFiles::open(data.path(), Arc::default()).status();
    assert_eq!(status.set_aside, 1);
    assert_eq!(
        status.last_reason.as_deref(),
        Some("invalid_input: no picture")
    );
    fs::write(folder.path().join("b"), "bb").unwrap();
    assert_eq!(run(End::Refused, 2), ["a", "b"]);
}

#[test]
fn a_file_set_aside_goes_to_failed_where_files_are_moved() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("a"), "a").unwrap();
    for _ in 0..2 {
        run(folder.path(), data.path(), "one", 1, |_| End::Death);
    }
    let failed_files = FailedFiles::open(data.path(), Arc::default());
    failed_files.serve(Some(hotshoe_trust::Digest::of(b"one")));
    let config = WatchConfig {
        folder: folder.path().to_owned(),
        after: After::Move,
    };
    let (sender, offered) = channel();
    let watch = FolderWatch::start(
        &config,
        4,
        failed_files,
        &Supervisor::default(),
        move |incoming, answer| {
            answer.send(Ending::Result, || Classifier::host(&""));
            sender.send(incoming.source).unwrap();
        },
    )
    .unwrap();
    fs::write(folder.path().join("b.part"), "b").unwrap();
    fs::rename(folder.path().join("b.part"), folder.path().join("b")).unwrap();
    assert!(offered.recv_timeout(DEADLINE).unwrap().ends_with("/b"));
    watch.join();
    assert!(folder.path().join("failed/a").exists());
    assert!(folder.path().join("done/b").exists());
}

#[test]
fn a_record_that_is_damaged_is_passed_over() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("a"), "a").unwrap();
    fs::create_dir(data.path().join("watching")).unwrap();
    fs::write(data.path().join("watching/half.json"), "{\"path\":").unwrap();
    fs::write(data.path().join("watched.json"), "{\"format\":1,\"fil").unwrap();
    let names = run(folder.path(), data.path(), "one", 1, |_| End::Result);
    assert_eq!(names, ["a"]);
}

#[test]
fn the_record_of_a_newer_version_stays_as_it_is_and_its_files_are_tried_again() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("a"), "a").unwrap();
    let record = data.path().join("watched.json");
    let newer = r#"{"format":99,"files":{},"new":[]}"#;
    fs::write(&record, newer).unwrap();
    for _ in 0..3 {
        let tried = run(folder.path(), data.path(), "one", 1, |_| End::Refused);
        assert_eq!(tried, ["a"]);
    }
    assert_eq!(fs::read_to_string(&record).unwrap(), newer);
}

#[test]
fn a_file_set_aside_is_an_event_and_so_is_a_record_that_cannot_be_written() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("a"), "a").unwrap();
    let events_after = |deaths| {
        for _ in 0..deaths {
            run(folder.path(), data.path(), "one", 1, |_| End::Death);
        }
        let events: Arc<EventLog> = Arc::default();
        FailedFiles::open(data.path(), Arc::clone(&events));
        events.recent()
    };
    let kept = events_after(2);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0].kind, Kind::Known(KnownKind::FileSetAside));
    let path = folder.path().join("a").display().to_string();
    assert_eq!(kept[0].subject, Subject::File { path });
    assert_eq!(kept[0].cause.as_ref().unwrap().name, "daemon_died");

    let record = data.path().join("watched.json");
    fs::remove_file(&record).unwrap();
    fs::create_dir(&record).unwrap();
    let kept = events_after(1);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0].kind, Kind::Known(KnownKind::DiskWriteFailed));
}
