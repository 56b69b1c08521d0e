//! What a service manager hears, on a real socket, and what it hears when a thread of the real program hangs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use hotshoe_config::Config;
use hotshoe_tests::{Need, skip, until};
use rustix::process::Signal;

use super::host_update::{host, is_live, other_hotshoe, wait};
use super::site::{Site, light};
use super::support::{DEADLINE, Daemon, Device, Workspace, free_endpoint, refusal};

const HOTSHOE: &str = env!("CARGO_BIN_EXE_hotshoe");

/// A service manager: it hears the messages of one service, line by line.
struct Manager {
    path: PathBuf,
    lines: Receiver<String>,
}

impl Manager {
    fn new(workspace: &Workspace) -> Self {
        let path = workspace.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (sender, lines) = channel();
        // It reads all the time: a full socket would block the daemon.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(bytes) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..bytes]).into_owned();
                for line in text.lines() {
                    if sender.send(line.to_owned()).is_err() {
                        return;
                    }
                }
            }
        });
        Self { path, lines }
    }

    /// Starts the daemon of a device with a watchdog of two seconds.
    fn run(&self, device: &Device) -> Daemon {
        self.start(device, Command::new(HOTSHOE))
    }

    /// The same below `hotshoe-supervisor`, as the unit does. systemd names the process that it started in `WATCHDOG_PID`.
    fn run_supervised(&self, device: &Device) -> Daemon {
        let mut command = Command::new("sh");
        let supervisor = Path::new(HOTSHOE).with_file_name("hotshoe-supervisor");
        command
            .args(["-c", "WATCHDOG_PID=$$ exec \"$0\" \"$@\""])
            .arg(supervisor)
            .arg("--data")
            .arg(Config::load(&device.config).unwrap().data)
            .arg(HOTSHOE);
        self.start(device, command)
    }

    fn start(&self, device: &Device, mut command: Command) -> Daemon {
        let log = File::create(device.config.with_extension("log")).unwrap();
        command
            .args(["run", "--config"])
            .arg(&device.config)
            .env("NOTIFY_SOCKET", &self.path)
            .env("WATCHDOG_USEC", "2000000")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        device.run_by(command)
    }

    /// The lines up to the first one that is as wanted, without signs of life and requests for more time.
    #[track_caller]
    fn hear(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        let mut heard = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no {what} after {heard:?}");
            };
            let is_wanted = wanted(&line);
            let is_periodic = line == "WATCHDOG=1" || line.starts_with("EXTEND_TIMEOUT_USEC=");
            if is_wanted || !is_periodic {
                heard.push(line);
            }
            if is_wanted {
                return heard;
            }
        }
    }

    /// Waits for two lines, in any order.
    #[track_caller]
    fn hear_both(&self, one: &str, other: &str) {
        let heard = self.hear(one, |line| line == one || line == other);
        let last = heard.last().unwrap();
        self.hear_line(if last == one { other } else { one });
    }

    #[track_caller]
    fn hear_line(&self, line: &str) -> Vec<String> {
        self.hear(line, |it| it == line)
    }
}

#[test]
fn it_hears_that_the_daemon_is_ready_lives_reloads_and_ends() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let manager = Manager::new(&site.workspace);
    let daemon = manager.run(&device);
    // More time for the start comes before all else that is not a text.
    let heard = manager.hear("request for more time", |line| {
        line == "EXTEND_TIMEOUT_USEC=30000000"
    });
    assert!(
        heard.iter().all(|line| !line.starts_with("READY")),
        "{heard:?}"
    );
    manager.hear_line("READY=1");
    assert_eq!(daemon.state()["release"]["generation"], 1);
    manager.hear_line("WATCHDOG=1");
    manager.hear_line("WATCHDOG=1");
    daemon.signal(Signal::HUP);
    manager.hear_line("RELOADING=1");
    let heard = manager.hear_line("READY=1");
    let clock = heard[0].strip_prefix("MONOTONIC_USEC=");
    assert!(
        clock.is_some_and(|it| it.parse::<u64>().is_ok()),
        "{heard:?}"
    );
    daemon.signal(Signal::TERM);
    manager.hear_line("STATUS=draining");
    manager.hear_line("STOPPING=1");
    // 5 s for the drain, and 30 s for the rest.
    manager.hear_line("EXTEND_TIMEOUT_USEC=35000000");
    assert!(daemon.ended().success());
}

#[test]
fn it_hears_a_daemon_below_the_supervisor_and_starts_the_next_program() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let manager = Manager::new(&site.workspace);
    let daemon = manager.run_supervised(&device);
    manager.hear_line("READY=1");
    manager.hear_line("WATCHDOG=1");
    daemon.signal(Signal::HUP);
    manager.hear_line("RELOADING=1");
    manager.hear_line("READY=1");
    let program = other_hotshoe("next");
    let packed = host(&site, 1, &program, "");
    site.publish(&packed);
    manager.hear_line("STOPPING=1");
    // To systemd the service ends now, so that it must: the next start is another one, with its own time and watchdog.
    assert_eq!(daemon.ended().code(), Some(86));
    let daemon = manager.run_supervised(&device);
    manager.hear_line("READY=1");
    manager.hear_line("WATCHDOG=1");
    wait(&device, is_live(1, &program));
    daemon.signal(Signal::TERM);
    manager.hear_line("STOPPING=1");
    assert!(daemon.ended().success());
}

#[test]
fn it_hears_what_serves_and_that_a_daemon_without_a_release_is_ready() {
    let workspace = Workspace::new();
    let manager = Manager::new(&workspace);
    let config = workspace.path("cam.toml");
    let text = format!(
        "site = \"lab\"\ndevice = \"cam\"\ndata = \"data\"\n[zenoh]\nlisten = [\"{}\"]\n[governor]\nenabled = false\n",
        free_endpoint()
    );
    fs::write(&config, text).unwrap();
    let device = Device {
        name: "cam".to_owned(),
        config,
    };
    let daemon = manager.run(&device);
    manager.hear_line("STATUS=loads the release");
    // They come from two threads.
    manager.hear_both(
        "READY=1",
        "STATUS=no release serves: the device waits for its first one",
    );
    assert!(daemon.stop().success());
}

/// Stops threads of a process, as a debugger does, until it ends. Ends with 3 where the system does not let it.
const DEBUGGER: &str = "
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
libc.ptrace.restype = ctypes.c_long
SEIZE, INTERRUPT, ALL = 0x4206, 0x4207, 0x40000000
for thread in map(int, sys.argv[1:]):
    for request in (SEIZE, INTERRUPT):
        if libc.ptrace(request, thread, 0, 0) != 0:
            print(os.strerror(ctypes.get_errno()))
            sys.exit(3)
    os.waitpid(thread, ALL)
print('stopped', flush=True)
# Also takes note of their ends, without which the process would not end.
try:
    while True:
        os.waitpid(-1, ALL)
except ChildProcessError:
    pass
";

/// The workers' threads of a daemon.
fn workers(daemon: &Daemon) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap();
    let threads = tasks.map(|task| task.unwrap().path());
    let is_worker = |path: &PathBuf| {
        // The system keeps 15 bytes of a name.
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "hotshoe-worker-\n")
    };
    let names = threads.filter(is_worker);
    names
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// A debugger that has stopped these threads, or why it may not.
fn stop(threads: &[String]) -> Result<Child, String> {
    let mut debugger = Command::new("python3")
        .args(["-c", DEBUGGER])
        .args(threads)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let stdout = debugger.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut said).unwrap();
    if said == "stopped\n" {
        return Ok(debugger);
    }
    let _ = debugger.wait();
    Err(said)
}

#[test]
fn when_too_many_threads_hang_their_samples_fail_and_the_daemon_ends_to_be_started_again() {
    let workspace = Workspace::new();
    // Longer than it takes to stop its threads.
    let recipe = Workspace::recipe("hostile.toml")
        .replace("deadline-ms = 500", "deadline-ms = 5000")
        .replace(
            "classify-angle.onnx\"",
            "classify-angle.onnx\"\ndeadline-ms = 1000",
        );
    let more = "[workers]\nthreads = 3\nstuck-after-ms = 100";
    let device = workspace.device("a", &workspace.release(&recipe), more);
    let manager = Manager::new(&workspace);
    let daemon = manager.run(&device);
    manager.hear_line("READY=1");
    let feeder = daemon.feeder(3);
    for id in ["1", "2", "3"] {
        feeder.send(id, "text/plain", id, b"loop".to_vec()).unwrap();
    }
    until("each worker has a sample", || {
        let status = daemon.status();
        status.counters.in_flight == 3 && status.queue.len == 0
    });
    let threads = workers(&daemon);
    assert_eq!(threads.len(), 3);
    let mut debugger = match stop(&threads) {
        Ok(debugger) => debugger,
        Err(reason) => return skip(Need::Ptrace, &reason),
    };
    // What was there before they hang.
    while manager.lines.try_recv().is_ok() {}
    manager.hear_line("WATCHDOG=1");
    for _ in 0..3 {
        let fed = feeder.next(DEADLINE).unwrap();
        assert_eq!(refusal(&fed)["fault"], "worker_stuck", "{fed:?}");
    }
    manager.hear_line("STOPPING=1");
    // The process ends although its threads still hang.
    let log = workspace.path("a.log");
    assert_eq!(daemon.ended().code(), Some(1));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("3 workers are stuck"), "{log}");
    assert!(debugger.wait().unwrap().success());
    // It counts as an unexpected end.
    let starts = fs::read_to_string(workspace.path("a-data/starts.json")).unwrap();
    assert!(starts.contains("\"counts\":true"), "{starts}");
    // Started again, it works.
    let daemon = device.run();
    let feeder = daemon.feeder(1);
    let good = b"good".to_vec();
    feeder.send("test", "text/plain", "4", good).unwrap();
    assert!(feeder.next(DEADLINE).unwrap().result.is_ok());
    assert!(daemon.stop().success());
}
