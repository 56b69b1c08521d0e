//! The supervisor as a process, with scripts as programs: it goes back from one that is never confirmed, ends or cannot start.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use hotshoe_supervisor::{HostFolder, Wanted};
use hotshoe_trust::Blob;
use rustix::process::{Pid, Signal, kill_process};

const DEADLINE: Duration = Duration::from_secs(60);

/// A running supervisor, and the lines of its programs.
struct Running {
    process: Child,
    lines: Receiver<String>,
}

/// A program that says its name and does something.
fn script(name: &str, then: &str) -> String {
    format!("#!/bin/sh\necho {name}\n{then}\n")
}

/// A program that says its name, and waits for SIGTERM.
fn waits(name: &str) -> String {
    // The trap comes before the name, which says that the program can be ended.
    format!("#!/bin/sh\ntrap 'exit 7' TERM\necho {name}\nwhile :; do sleep 0.05; done\n")
}

/// Orders the trial of a program, as a daemon does.
fn order(data: &Path, program: &str, starts: u32, deadline_s: u64) -> u64 {
    let folder = HostFolder::open(data).unwrap();
    let slots = folder.slots().unwrap();
    let bytes = program.as_bytes();
    let installed = folder.put(bytes, slots.free(), Blob::of(bytes));
    let installed = installed.unwrap();
    let number = slots.taken + 1;
    let wanted = Wanted {
        number,
        installed,
        starts,
        deadline_s,
    };
    folder.want(&wanted).unwrap();
    number
}

fn run(data: &Path, given: &str) -> Running {
    start(data, given, false)
}

/// `is_managed`: as a service manager starts it.
fn start(data: &Path, given: &str, is_managed: bool) -> Running {
    use std::os::unix::fs::PermissionsExt as _;
    let path = data.join("given");
    fs::write(&path, given).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotshoe-supervisor"));
    command.arg("--data").arg(data).arg(path);
    command.env_remove("NOTIFY_SOCKET").stdout(Stdio::piped());
    if is_managed {
        command.env("NOTIFY_SOCKET", data.join("notify"));
    }
    let mut process = command.spawn().unwrap();
    let output = BufReader::new(process.stdout.take().unwrap());
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Running { process, lines }
}

impl Running {
    fn says(&self, expected: &str) {
        let line = self.lines.recv_timeout(DEADLINE).unwrap();
        assert_eq!(line, expected);
    }

    /// Ends the supervisor by SIGTERM, and returns its exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.process.wait().unwrap().code()
    }
}

#[test]
fn a_program_that_is_never_confirmed_is_ended_and_the_one_before_it_is_started() {
    let data = tempfile::tempdir().unwrap();
    order(data.path(), &waits("new"), 2, 1);
    let running = run(data.path(), &waits("given"));
    running.says("new");
    running.says("given");
    let slots = HostFolder::open(data.path()).unwrap().slots().unwrap();
    assert_eq!(slots.failed.unwrap().cause, "not_confirmed");
    // The signal is passed on, and the exit code is that of the program.
    assert_eq!(running.stop(), Some(7));
}

#[test]
fn a_program_that_ends_is_started_as_often_as_is_allowed() {
    let data = tempfile::tempdir().unwrap();
    order(data.path(), &script("new", "exit 3"), 2, 60);
    let running = run(data.path(), &waits("given"));
    running.says("new");
    running.says("new");
    running.says("given");
    assert_eq!(running.stop(), Some(7));
}

#[test]
fn below_a_service_manager_it_ends_before_each_further_start() {
    let data = tempfile::tempdir().unwrap();
    order(data.path(), &script("new", "exit 0"), 2, 60);
    // The trial ends, is started as often as is allowed, and is left.
    for _ in 0..2 {
        let mut running = start(data.path(), &waits("given"), true);
        running.says("new");
        assert_eq!(running.process.wait().unwrap().code(), Some(86));
    }
    // One that is never confirmed.
    let mut running = start(data.path(), &script("given", "exit 86"), true);
    running.says("given");
    assert_eq!(running.process.wait().unwrap().code(), Some(86));
    order(data.path(), &waits("silent"), 2, 1);
    let mut running = start(data.path(), &waits("given"), true);
    running.says("silent");
    assert_eq!(running.process.wait().unwrap().code(), Some(86));
    let running = start(data.path(), &waits("given"), true);
    running.says("given");
    let slots = HostFolder::open(data.path()).unwrap().slots().unwrap();
    assert_eq!(slots.failed.unwrap().cause, "not_confirmed");
    assert_eq!(running.stop(), Some(7));
}

#[test]
fn what_is_not_a_program_is_not_started() {
    let data = tempfile::tempdir().unwrap();
    order(data.path(), "\u{7f}ELF of another machine", 2, 60);
    let running = run(data.path(), &waits("given"));
    running.says("given");
    let slots = HostFolder::open(data.path()).unwrap().slots().unwrap();
    assert_eq!(slots.failed.unwrap().cause, "cannot_start");
    assert_eq!(running.stop(), Some(7));
}

#[test]
fn a_confirmed_program_stays_and_asks_for_the_next_one() {
    let data = tempfile::tempdir().unwrap();
    let restart = data.path().join("restart");
    let path = restart.display();
    // Ends with the code that asks for a restart, once the file is there.
    let first = script(
        "first",
        &format!("while ! test -e {path}; do sleep 0.05; done\nrm {path}\nexit 86"),
    );
    let number = order(data.path(), &first, 1, 60);
    let running = run(data.path(), &waits("given"));
    running.says("first");
    let folder = HostFolder::open(data.path()).unwrap();
    folder.confirm(number).unwrap();
    while folder.slots().unwrap().live.is_none() {
        thread::yield_now();
    }
    order(data.path(), &waits("second"), 1, 1);
    fs::write(&restart, "").unwrap();
    running.says("second");
    // It is not confirmed, and the first one is started again.
    running.says("first");
    assert_eq!(
        folder.slots().unwrap().failed.unwrap().cause,
        "not_confirmed"
    );
    fs::write(&restart, "").unwrap();
    running.says("first");
    // Ends by the signal, whose number is in the exit code.
    assert_eq!(running.stop(), Some(128 + 15));
}

#[test]
fn without_usable_slots_the_given_program_is_started() {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("host")).unwrap();
    fs::write(data.path().join("host/slots.json"), "{").unwrap();
    let running = run(data.path(), &script("given", "exit 5"));
    running.says("given");
    let Running { mut process, .. } = running;
    assert_eq!(process.wait().unwrap().code(), Some(5));
}
