//! Processed files of a watched folder, which go when the class of pictures does not let the device keep them any longer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fs::{self, File};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hotshoe_base::VirtualClock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{After, WatchConfig};
use hotshoe_daemon::events::EventLog;
use hotshoe_daemon::watch::FolderWatch;
use hotshoe_daemon::watched::FailedFiles;
use hotshoe_tests::until;

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn processed_files_go_when_their_retention_is_over_also_after_a_time_without_power() {
    let folder = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let now = SystemTime::now() + 720 * HOUR;
    let at = |name: &str| folder.path().join(name);
    for (name, age) in [
        ("done/old", 25 * HOUR),
        ("failed/old", 720 * HOUR),
        ("done/young", 23 * HOUR),
        // Its time is in the future.
        ("failed/ahead", Duration::ZERO),
    ] {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), name).unwrap();
        let written = if age.is_zero() { now + HOUR } else { now - age };
        let file = File::options().write(true).open(at(name)).unwrap();
        file.set_modified(written).unwrap();
    }
    let time = VirtualClock::at(now);
    let events: Arc<EventLog> = Arc::default();
    let failed_files = FailedFiles::open(data.path(), events);
    failed_files.keep_for(Some(24 * HOUR));
    let config = WatchConfig {
        folder: folder.path().to_owned(),
        after: After::Move,
    };
    let watch = FolderWatch::start(
        &config,
        64,
        Arc::clone(&failed_files),
        &Supervisor::timed_by(time.clock()),
        |_, _| panic!("no file is in the folder itself"),
    )
    .unwrap();
    until("the old files are gone", || {
        !at("done/old").exists() && !at("failed/old").exists()
    });
    assert!(at("done/young").exists() && at("failed/ahead").exists());
    time.await_waiting(1);
    time.advance(HOUR);
    until("the young one is old", || !at("done/young").exists());
    assert!(at("failed/ahead").exists());
    watch.stop();
    watch.join();
}

#[test]
fn processed_files_go_also_while_no_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let (first, second) = (done.join("first"), done.join("second"));
    fs::create_dir(&done).unwrap();
    fs::write(&first, "first").unwrap();
    let time = VirtualClock::at(SystemTime::now() + 25 * HOUR);
    let failed_files = FailedFiles::open(data.path(), Arc::default());
    failed_files.rest(true);
    let config = WatchConfig {
        folder: folder.path().to_owned(),
        after: After::Move,
    };
    let watch = FolderWatch::start(
        &config,
        64,
        Arc::clone(&failed_files),
        &Supervisor::timed_by(time.clock()),
        |_, _| panic!("no file is in the folder itself"),
    )
    .unwrap();
    assert!(first.exists());
    failed_files.keep_for(Some(24 * HOUR));
    until("the first file is gone", || !first.exists());
    // By this clock it is old, too.
    fs::write(&second, "second").unwrap();
    time.await_waiting(1);
    time.advance(Duration::from_secs(10));
    until("the second file is gone", || !second.exists());
    watch.stop();
    watch.join();
}
