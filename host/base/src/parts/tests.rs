#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};

use super::*;

/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(60);

fn part(parts: &Parts, name: &str) -> Option<PartStatus> {
    parts.list().into_iter().find(|part| part.name == name)
}

#[test]
fn a_vital_part_that_panics_is_dead_and_somebody_is_told() {
    let parts = Parts::default();
    let (tell, told) = channel();
    parts.on_death(move |dead| tell.send(dead.clone()).unwrap());
    let thread = parts
        .vital("deploy", || panic!("no room for {}", 7))
        .unwrap();
    let dead = told.recv_timeout(DEADLINE).unwrap();
    let expected = Dead {
        name: "deploy".to_owned(),
        cause: "it panicked: no room for 7".to_owned(),
    };
    assert_eq!(dead, expected);
    thread.join().unwrap();
    let part = part(&parts, "deploy").unwrap();
    assert_eq!(
        (part.state, part.cause),
        (PartState::Dead, Some(expected.cause.clone()))
    );
    assert_eq!(parts.dead(), [expected]);
    // Whoever asks later is told at once.
    let (tell, told) = channel();
    parts.on_death(move |dead| tell.send(dead.name.clone()).unwrap());
    assert_eq!(told.try_recv().unwrap(), "deploy");
}

#[test]
fn a_vital_part_that_fails_is_dead_and_one_that_was_told_to_end_is_not() {
    let parts = Parts::default();
    parts.vital("deploy", || Ok(())).unwrap().join().unwrap();
    assert_eq!(part(&parts, "deploy"), None);
    let failing = || Err("the endpoint ended".to_owned());
    parts.vital("metrics", failing).unwrap().join().unwrap();
    let dead = part(&parts, "metrics").unwrap();
    assert_eq!((dead.state, dead.threads), (PartState::Dead, 0));
    assert_eq!(dead.cause.as_deref(), Some("the endpoint ended"));
    // While the daemon ends, nothing is held against a part any more.
    let parts = Parts::default();
    parts.close();
    parts.vital("metrics", failing).unwrap().join().unwrap();
    assert_eq!(part(&parts, "metrics"), None);
}

#[test]
fn a_part_that_can_begin_again_does_and_the_status_counts_it() {
    let parts = Parts::default();
    let (work, jobs) = channel::<u32>();
    let (done, results) = channel();
    let thread = parts
        .restarted("worker-3", move || {
            while let Ok(job) = jobs.recv() {
                assert!(job != 0, "a job of nothing");
                done.send(job).unwrap();
            }
            Ok(())
        })
        .unwrap();
    for job in [1, 0, 2, 0, 3] {
        work.send(job).unwrap();
    }
    let seen: Vec<u32> = (0..3)
        .map(|_| results.recv_timeout(DEADLINE).unwrap())
        .collect();
    assert_eq!(seen, [1, 2, 3]);
    let status = part(&parts, "worker").unwrap();
    assert_eq!(
        (status.state, status.threads, status.restarts),
        (PartState::Running, 1, 2)
    );
    assert_eq!(
        status.cause.as_deref(),
        Some("it panicked: a job of nothing")
    );
    assert_eq!(parts.dead(), []);
    drop(work);
    thread.join().unwrap();
    assert_eq!(part(&parts, "worker"), None);
}

#[test]
fn a_part_that_waits_to_begin_again_does_not_hold_up_the_end() {
    let parts = Parts::default();
    let (failing, failed) = sync_channel(64);
    let thread = parts
        .restarted("control", move || {
            let _ = failing.try_send(());
            Err("nothing works".to_owned())
        })
        .unwrap();
    // After some failures the pauses are long.
    for _ in 0..4 {
        failed.recv_timeout(DEADLINE).unwrap();
    }
    parts.close();
    thread.join().unwrap();
    assert_eq!(
        parts
            .list()
            .iter()
            .filter(|part| part.name == "control")
            .count(),
        0
    );
}

#[test]
fn work_that_panics_is_no_dead_part() {
    let parts = Parts::default();
    let task = parts.task("fetch", || panic!("a bad byte")).unwrap();
    task.join().unwrap();
    assert_eq!(parts.dead(), []);
    assert_eq!(part(&parts, "fetch"), None);
}

#[test]
fn a_place_that_is_dropped_is_dead_and_one_that_is_left_is_not() {
    let parts = Parts::default();
    parts.enter("metrics").leave();
    assert_eq!(parts.dead(), []);
    drop(parts.enter("oip"));
    assert_eq!(part(&parts, "oip").unwrap().state, PartState::Dead);
}

#[test]
fn a_library_thread_that_panics_is_in_the_list() {
    log_panics();
    let thread = thread::Builder::new().name("rx-7".to_owned());
    let panicked = thread
        .spawn(|| panic!("a frame of nothing"))
        .unwrap()
        .join();
    assert!(panicked.is_err());
    let part = part(&Parts::default(), "library thread rx-7").unwrap();
    assert_eq!(part.state, PartState::Panicked);
    assert!(part.cause.unwrap().ends_with("a frame of nothing"));
    // Ours are accounted for where they are caught.
    let ours = thread::Builder::new().name("hotshoe-ours".to_owned());
    assert!(ours.spawn(|| panic!("ours")).unwrap().join().is_err());
    assert_eq!(
        self::part(&Parts::default(), "library thread hotshoe-ours"),
        None
    );
}

/// Sources of a crate, but for its tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match path.is_dir() {
                _ if name == "tests" || name == "tests.rs" => {}
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files
}

#[test]
fn no_thread_is_started_elsewhere() {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut starting = Vec::new();
    for name in [
        "base", "config", "daemon", "delivery", "http", "link", "oip", "pipeline", "protocol",
    ] {
        let folder = host.join(name).join("src");
        if !folder.is_dir() {
            continue;
        }
        for path in sources(&folder) {
            let text = fs::read_to_string(&path).unwrap();
            if [
                "thread::Builder",
                "thread::spawn",
                "spawn_scoped",
                "Builder::new().name(",
            ]
            .iter()
            .any(|start| text.contains(start))
            {
                starting.push(path.strip_prefix(host).unwrap().display().to_string());
            }
        }
    }
    assert_eq!(starting, ["base/src/parts.rs"]);
}
