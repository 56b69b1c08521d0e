//! Files of a watched folder while the device rests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{After, WatchConfig};
use hotshoe_daemon::ending::Ending;
use hotshoe_daemon::watch::FolderWatch;
use hotshoe_daemon::watched::FailedFiles;
use hotshoe_egress::Classifier;
use hotshoe_tests::DEADLINE;

/// Watches a folder. The sample of the first file ends because the device rests, and all others with a result.
fn watch(folder: &Path, failed_files: &Arc<FailedFiles>) -> (FolderWatch, Receiver<String>) {
    let (sender, offered) = channel();
    let config = WatchConfig {
        folder: folder.to_owned(),
        after: After::Move,
    };
    let has_rested = AtomicBool::new(false);
    let watch = FolderWatch::start(
        &config,
        100,
        Arc::clone(failed_files),
        &Supervisor::default(),
        move |incoming, answer| {
            let name = Path::new(&incoming.source).file_name().unwrap();
            let name = name.to_str().unwrap().to_owned();
            let ending = if has_rested.swap(true, Ordering::AcqRel) {
                Ending::Result
            } else {
                Ending::Rest
            };
            answer.send(ending, || Classifier::host(&""));
            sender.send(name).unwrap();
        },
    );
    (watch.unwrap(), offered)
}

#[test]
fn a_file_stays_while_the_device_rests_and_is_taken_afterwards() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    let add = |name: &str| {
        fs::write(at("new.part"), name).unwrap();
        fs::rename(at("new.part"), at(name)).unwrap();
    };
    let failed_files = FailedFiles::open(data.path(), Arc::default());
    add("a");
    let (watch, offered) = watch(folder.path(), &failed_files);
    let next = || offered.recv_timeout(DEADLINE).unwrap();
    assert_eq!(next(), "a");
    assert!(at("a").exists() && !at("done/a").exists());
    failed_files.rest(true);
    add("b");
    failed_files.rest(false);
    let both = BTreeSet::from([next(), next()]);
    assert_eq!(both, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    watch.join();
    assert!(at("done/a").exists() && at("done/b").exists());
}
