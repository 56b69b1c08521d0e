//! The control socket, and clients that send nothing, too much or too slowly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_daemon::command::Command;
use hotshoe_daemon::control::{self, Control, ControlError, MAX_CALLERS, SOCKET};
use hotshoe_tests::DEADLINE;
use serde_json::json;
use tempfile::TempDir;

fn open(folder: &Path) -> Control {
    Control::open(folder, &Supervisor::default(), |_| {
        Ok(json!({ "asked": true }))
    })
    .unwrap()
}

fn connect(folder: &Path) -> UnixStream {
    let stream = UnixStream::connect(folder.join(SOCKET)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn ask(folder: &Path) -> Result<bool, String> {
    match control::call(folder, &Command::Status) {
        Ok(answer) => Ok(answer["asked"] == true),
        Err(ControlError::Refused { name, .. }) => Err(name),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn silent_callers_do_not_block_others() {
    let folder = TempDir::new().unwrap();
    let control = open(folder.path());
    let mut silent: Vec<_> = (0..MAX_CALLERS - 1)
        .map(|_| connect(folder.path()))
        .collect();
    assert_eq!(ask(folder.path()), Ok(true));
    // Further clients are refused, each with one line.
    silent.extend((0..4 * MAX_CALLERS).map(|_| connect(folder.path())));
    let mut told = String::new();
    silent
        .last_mut()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert!(told.contains("busy"), "{told}");
    // A client that has gone frees its place, and so does one that is silent for too long.
    drop(silent.split_off(2));
    let started = Instant::now();
    while ask(folder.path()) != Ok(true) {
        assert!(started.elapsed() < DEADLINE, "no place was freed");
    }
    assert_eq!(silent[0].read(&mut [0; 16]).unwrap(), 0);
    drop(control);
}

#[test]
fn a_line_has_an_end_in_bytes_and_in_time() {
    let folder = TempDir::new().unwrap();
    let control = open(folder.path());
    let mut endless = connect(folder.path());
    // The daemon stops reading, and closes.
    let written = (0..1000).try_for_each(|_| endless.write_all(&[b' '; 4096]));
    assert!(written.is_err());
    let mut slow = connect(folder.path());
    // Also the pause between two bytes.
    slow.set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < DEADLINE, "it is still listened to");
        if slow.write_all(b" ").is_err() {
            break;
        }
        // Any byte is the answer to what it sent so far.
        match slow.read_exact(&mut [0]) {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::ConnectionReset
                ),
                "{error}"
            ),
        }
    }
    assert_eq!(ask(folder.path()), Ok(true));
    drop(control);
    assert!(matches!(
        control::call(folder.path(), &Command::Status),
        Err(ControlError::NotRunning { .. })
    ));
}

#[test]
fn commands_that_run_do_not_block_the_status() {
    let folder = TempDir::new().unwrap();
    let (hold, held) = std::sync::mpsc::sync_channel::<()>(0);
    let held = std::sync::Mutex::new(held);
    let control = Control::open(folder.path(), &Supervisor::default(), move |command| {
        if command == Command::Activate {
            // Ends when the test drops the other end.
            let _ = held.lock().unwrap().recv();
        }
        Ok(json!({ "asked": true }))
    })
    .unwrap();
    let running: Vec<_> = (0..MAX_CALLERS)
        .map(|_| {
            let mut stream = connect(folder.path());
            stream.write_all(b"{\"command\":\"activate\"}\n").unwrap();
            stream
        })
        .collect();
    let started = Instant::now();
    loop {
        assert_eq!(ask(folder.path()), Ok(true));
        match control::call(folder.path(), &Command::Cancel) {
            Err(ControlError::Refused { name, .. }) if name == "busy" => break,
            // Not all commands have begun.
            answer => assert!(started.elapsed() < DEADLINE, "{answer:?}"),
        }
    }
    drop(hold);
    for mut stream in running {
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        assert!(told.contains("asked"), "{told}");
    }
    drop(control);
}

#[test]
fn a_daemon_that_hangs_costs_its_caller_the_timeout_and_no_more() {
    let folder = TempDir::new().unwrap();
    // Accepts nothing, as a stopped process does.
    let _listener = std::os::unix::net::UnixListener::bind(folder.path().join(SOCKET)).unwrap();
    let timeout = Duration::from_millis(200);
    let error = control::call_within(folder.path(), &Command::Status, timeout).unwrap_err();
    assert_eq!(error.name(), "no_answer", "{error}");
    assert!(error.to_string().contains("0.2 s"), "{error}");
}

#[test]
fn a_data_folder_with_a_long_path_has_a_socket_too() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("d".repeat(120));
    std::fs::create_dir(&data).unwrap();
    let control = open(&data);
    assert_eq!(ask(&data), Ok(true));
    drop(control);
    assert!(!data.join(SOCKET).exists());
}
