#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};

use super::*;
use crate::VirtualClock;

const DEADLINE: Duration = Duration::from_secs(60);

fn part(supervisor: &Supervisor, name: &str) -> Option<PartStatus> {
    supervisor.list().into_iter().find(|part| part.name == name)
}

#[test]
fn a_vital_part_that_panics_is_dead_and_the_callback_runs() {
    let supervisor = Supervisor::default();
    let (sender, receiver) = channel();
    supervisor.on_death(move |dead| sender.send(dead.clone()).unwrap());
    let thread = supervisor
        .vital("deploy", || panic!("no room for {}", 7))
        .unwrap();
    let dead = receiver.recv_timeout(DEADLINE).unwrap();
    let expected = DeadPart {
        name: "deploy".to_owned(),
        cause: "it panicked: no room for 7".to_owned(),
    };
    assert_eq!(dead, expected);
    thread.join().unwrap();
    let part = part(&supervisor, "deploy").unwrap();
    assert_eq!(
        (part.state, part.cause),
        (PartState::Dead, Some(expected.cause.clone()))
    );
    assert_eq!(supervisor.dead(), [expected]);
    // A callback that is set later runs at once.
    let (sender, receiver) = channel();
    supervisor.on_death(move |dead| sender.send(dead.name.clone()).unwrap());
    assert_eq!(receiver.try_recv().unwrap(), "deploy");
}

#[test]
fn a_vital_part_that_fails_is_dead_and_one_that_was_told_to_end_is_not() {
    let supervisor = Supervisor::default();
    supervisor
        .vital("deploy", || Ok(()))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(part(&supervisor, "deploy"), None);
    let failing = || Err("the endpoint ended".to_owned());
    supervisor
        .vital("metrics", failing)
        .unwrap()
        .join()
        .unwrap();
    let dead = part(&supervisor, "metrics").unwrap();
    assert_eq!((dead.state, dead.threads), (PartState::Dead, 0));
    assert_eq!(dead.cause.as_deref(), Some("the endpoint ended"));
    // While the program ends, every end is expected.
    let supervisor = Supervisor::default();
    supervisor.close();
    supervisor
        .vital("metrics", failing)
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(part(&supervisor, "metrics"), None);
}

#[test]
fn a_part_that_can_restart_does_and_the_status_counts_it() {
    let supervisor = Supervisor::default();
    let (work, jobs) = channel::<u32>();
    let (done, results) = channel();
    let thread = supervisor
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
    let status = part(&supervisor, "worker").unwrap();
    assert_eq!(
        (status.state, status.threads, status.restarts),
        (PartState::Running, 1, 2)
    );
    assert_eq!(
        status.cause.as_deref(),
        Some("it panicked: a job of nothing")
    );
    assert_eq!(supervisor.dead(), []);
    drop(work);
    thread.join().unwrap();
    assert_eq!(part(&supervisor, "worker"), None);
}

#[test]
fn a_part_that_waits_for_its_restart_does_not_delay_the_end() {
    let supervisor = Supervisor::default();
    let (failing, failed) = sync_channel(64);
    let thread = supervisor
        .restarted("control", move || {
            let _ = failing.try_send(());
            Err("nothing works".to_owned())
        })
        .unwrap();
    // After some failures the pauses are long.
    for _ in 0..4 {
        failed.recv_timeout(DEADLINE).unwrap();
    }
    supervisor.close();
    thread.join().unwrap();
    assert_eq!(
        supervisor
            .list()
            .iter()
            .filter(|part| part.name == "control")
            .count(),
        0
    );
}

#[test]
fn a_task_that_panics_is_not_a_dead_part() {
    let supervisor = Supervisor::default();
    let task = supervisor.task("fetch", || panic!("a bad byte")).unwrap();
    task.join().unwrap();
    assert_eq!(supervisor.dead(), []);
    assert_eq!(part(&supervisor, "fetch"), None);
}

#[test]
fn a_part_that_is_given_up_is_dead_although_its_thread_runs() {
    let supervisor = Supervisor::default();
    let (release, held) = channel::<()>();
    let thread = supervisor
        .restarted("worker-0", move || {
            // Ends when the sender is dropped.
            let _ = held.recv();
            Ok(())
        })
        .unwrap();
    let (sender, told) = channel();
    supervisor.on_death(move |dead| sender.send(dead.clone()).unwrap());
    supervisor.give_up("worker-0", "it is stuck");
    let dead = told.recv_timeout(DEADLINE).unwrap();
    assert_eq!((&*dead.name, &*dead.cause), ("worker", "it is stuck"));
    let status = part(&supervisor, "worker").unwrap();
    assert_eq!((status.state, status.threads), (PartState::Dead, 1));
    drop(release);
    thread.join().unwrap();
}

#[test]
fn a_registration_that_is_dropped_is_dead_and_one_that_finished_is_not() {
    let supervisor = Supervisor::default();
    supervisor.register("metrics").finish();
    assert_eq!(supervisor.dead(), []);
    drop(supervisor.register("oip"));
    assert_eq!(part(&supervisor, "oip").unwrap().state, PartState::Dead);
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
    let part = part(&Supervisor::default(), "library thread rx-7").unwrap();
    assert_eq!(part.state, PartState::Panicked);
    assert!(part.cause.unwrap().ends_with("a frame of nothing"));
    // Panics of our own threads are caught and recorded elsewhere.
    let ours = thread::Builder::new().name("hotshoe-ours".to_owned());
    assert!(ours.spawn(|| panic!("ours")).unwrap().join().is_err());
    assert_eq!(
        self::part(&Supervisor::default(), "library thread hotshoe-ours"),
        None
    );
}

/// Source files of a crate without its tests.
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
        "base",
        "config",
        "daemon",
        "delivery",
        "http",
        "link",
        "oip",
        "pipeline",
        "protocol",
        "senses",
        "outbox",
        "audit",
        "shared-data",
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
    assert_eq!(starting, ["base/src/supervisor.rs"]);
}

#[test]
fn the_pause_before_a_restart_doubles_up_to_the_longest() {
    let time = VirtualClock::at(std::time::UNIX_EPOCH);
    let supervisor = Supervisor::timed_by(time.clock());
    let clock = time.clock();
    let started = clock.now();
    let (sender, receiver) = channel();
    let thread = supervisor
        .restarted("watch", move || {
            sender.send(clock.elapsed(started)).unwrap();
            Err("it fails".to_owned())
        })
        .unwrap();
    time.await_waiting(1);
    time.advance(Duration::from_secs(600));
    supervisor.close();
    thread.join().unwrap();
    let (mut expected, mut at, mut pause) = (Vec::new(), Duration::ZERO, FIRST_PAUSE);
    while at <= Duration::from_secs(600) {
        expected.push(at);
        at += pause;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), expected);
}
