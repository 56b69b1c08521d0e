//! Processes that run cases, so that an abort or a hang costs one case and not the suite.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use hotshoe_devkit::{Extra, Progress, fetch};
use hotshoe_infer::Backend;

use crate::case::{self, Outcome};

/// By backend, then by case.
pub(crate) type Results = BTreeMap<String, Outcomes>;
/// By case.
pub(crate) type Outcomes = BTreeMap<String, Outcome>;

/// Tells a process of this test that it is a worker, and for which backend.
const WORKER: &str = "HOTSHOE_CONFORMANCE_WORKER";
/// Before each outcome on a worker's standard output, where the test runner prints too.
const MARK: &str = "outcome ";
/// Longest wait for one case; most take a millisecond.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs all cases, on all cores.
pub(crate) fn run(backend: Backend, names: &[String]) -> Outcomes {
    let queue: Mutex<VecDeque<&String>> = Mutex::new(names.iter().collect());
    let outcomes = Mutex::new(Outcomes::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut worker = Worker::start(backend);
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some(name) = next else { break };
                    let outcome = worker.run(name).unwrap_or_else(|crash| {
                        worker = Worker::start(backend);
                        Outcome::Crashed(crash)
                    });
                    outcomes.lock().unwrap().insert(name.clone(), outcome);
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

struct Worker {
    child: Child,
    cases: ChildStdin,
    outcomes: Receiver<Outcome>,
}

impl Worker {
    fn start(backend: Backend) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this test's file"))
            .args(["--exact", "worker", "--nocapture"])
            .env(WORKER, backend.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a worker");
        let cases = child.stdin.take().expect("its input");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, outcomes) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some((_, outcome)) = line.split_once(MARK) {
                    let outcome = serde_json::from_str(outcome).expect("an outcome");
                    if sender.send(outcome).is_err() {
                        break;
                    }
                }
            }
        });
        Self {
            child,
            cases,
            outcomes,
        }
    }

    /// The error says how the process ended.
    fn run(&mut self, name: &str) -> Result<Outcome, String> {
        writeln!(self.cases, "{name}").map_err(|error| error.to_string())?;
        self.outcomes
            .recv_timeout(DEADLINE)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => format!("no outcome after {DEADLINE:?}"),
                RecvTimeoutError::Disconnected => match self.child.wait() {
                    Ok(status) => format!("the process ended: {status}"),
                    Err(error) => error.to_string(),
                },
            })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The backend that this process is a worker for, if it is one.
pub(crate) fn asked_for() -> Option<Backend> {
    let name = std::env::var(WORKER).ok()?;
    let mut backends = [Backend::Tract, Backend::Ort].into_iter();
    backends.find(|backend| backend.to_string() == name)
}

/// Runs the cases that are named on standard input, a line each.
pub(crate) fn serve(backend: Backend, folder: &Path) {
    let library = (backend == Backend::Ort).then(|| {
        fetch(&crate::root(), Extra::OnnxRuntime, &Progress::silent()).expect("the library")
    });
    for name in std::io::stdin().lines().map_while(Result::ok) {
        let outcome = case::run(backend, library.as_deref(), &folder.join(name));
        let line = serde_json::to_string(&outcome).expect("JSON");
        println!("\n{MARK}{line}");
    }
}
