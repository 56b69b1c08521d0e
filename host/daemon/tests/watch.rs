//! A watched folder: what is there first, then what is completed, each once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hotshoe_daemon::answer::{Answer, Ending};
use hotshoe_daemon::config::{After, WatchConfig};
use hotshoe_daemon::parts::Parts;
use hotshoe_daemon::watch::{Watch, WatchError};

/// Long enough for any machine; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was offered: the file's name, its media type, its bytes.
type Offered = (String, Option<String>, Vec<u8>);

fn watch(folder: &Path, after: After, ending: Ending) -> (Watch, Receiver<Offered>) {
    let (sender, offered) = channel();
    let config = WatchConfig {
        folder: folder.to_owned(),
        after,
    };
    let watch = Watch::start(
        &config,
        4,
        &Parts::default(),
        move |incoming, answer: Answer| {
            let name = Path::new(&incoming.source)
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            answer.give(ending, b"");
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
    offered.recv_timeout(PATIENCE).unwrap().0
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
        offered.recv_timeout(PATIENCE).unwrap(),
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
    let large = offered.recv_timeout(PATIENCE).unwrap();
    assert_eq!((large.0.as_str(), large.2.len()), ("d", 5)); // one byte over the limit is enough to refuse it
    watch.join();
    assert!(offered.recv_timeout(PATIENCE).is_err()); // the sender is gone: nothing came twice
    assert!(at("a.png").exists());
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
            let watch = Watch::start(&config, 4, &Parts::default(), move |incoming, answer| {
                sender.send((incoming.payload.to_vec(), answer)).unwrap();
            })
            .unwrap();
            let (first, answer) = offered.recv_timeout(PATIENCE).unwrap();
            if replace {
                fs::write(at("a.part"), "2").unwrap();
                fs::rename(at("a.part"), at("a")).unwrap();
            } else {
                fs::write(at("a"), "22").unwrap();
            }
            answer.give(Ending::Result, b"");
            assert!(at("a").exists(), "{after:?}: the new file was never read");
            let (second, answer) = offered.recv_timeout(PATIENCE).unwrap();
            assert_eq!((first[0], second[0]), (b'1', b'2'));
            answer.give(Ending::Result, b"");
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
    let Err(error) = Watch::start(&config, 4, &Parts::default(), |_, _| {}) else {
        panic!("it watches a folder that is not there");
    };
    assert!(matches!(error, WatchError::Watch { .. }));
    assert!(error.to_string().contains("/nowhere/in"), "{error}");
}
