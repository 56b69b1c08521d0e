//! Workers that never come back from a sample: the viewer of outputs, which runs on their threads, hangs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::borrow::Cow;
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::Config;
use hotshoe_daemon::ending::Ending;
use hotshoe_daemon::service_manager::ServiceManager;
use hotshoe_daemon::{CallError, CallOutput, Daemon, OutputKind, Viewer};
use hotshoe_link::Incoming;
use hotshoe_protocol::event::{Kind, KnownKind, Severity, Subject};
use hotshoe_protocol::status::{PartState, PartStatus};
use hotshoe_store::{Layout, Store};
use hotshoe_tests::{DEADLINE, Signer, environment, until};
use hotshoe_trust::{Time, TrustRoot, verify};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;

/// Hangs threads until they are let go.
#[derive(Default)]
struct Trap {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Samples that hang before they are counted.
    before: usize,
    /// Samples that hang when their insight is shown, which is after that.
    after: usize,
    /// Threads that hang.
    held: usize,
}

impl Trap {
    fn held(&self) -> usize {
        self.state.lock().held
    }

    fn let_go(&self) {
        self.state.lock().held = 0;
        self.changed.notify_all();
    }

    fn enter(&self, wanted: impl Fn(&mut State) -> &mut usize) {
        let mut state = self.state.lock();
        let left = wanted(&mut state);
        if *left == 0 {
            return;
        }
        *left -= 1;
        state.held += 1;
        self.changed.wait_while(&mut state, |state| state.held > 0);
    }
}

/// A daemon with a release of one stage with an instance for each source, whose viewer hangs.
struct Device {
    folder: TempDir,
    daemon: Daemon,
    trap: Arc<Trap>,
}

impl Device {
    fn start(threads: usize, trap: State) -> Self {
        let folder = TempDir::new().unwrap();
        let signer = Signer::new("test");
        fs::write(folder.path().join("trust.toml"), &signer.trust).unwrap();
        let text = format!(
            "site = \"site\"\ndevice = \"device\"\n[zenoh]\nlisten = [\"tcp/127.0.0.1:0\"]\n[governor]\nenabled = false\n\
             [workers]\nthreads = {threads}\nstuck-after-ms = 100\n"
        );
        let config = Config::parse(&text, folder.path()).unwrap();
        install(&signer, &config, &folder);
        let daemon =
            Daemon::start_with(config, Supervisor::default(), ServiceManager::default()).unwrap();
        let state = Mutex::new(trap);
        let trap = Arc::new(Trap {
            state,
            ..Trap::default()
        });
        let (before, after) = (Arc::clone(&trap), Arc::clone(&trap));
        daemon.local_client().view(Viewer {
            wants_picture: Box::new(move || {
                before.enter(|state| &mut state.before);
                false
            }),
            show: Box::new(move |output| {
                if output.kind == OutputKind::Insight {
                    after.enter(|state| &mut state.after);
                }
            }),
        });
        Self {
            folder,
            daemon,
            trap,
        }
    }

    /// Offers a sample, and waits for its end on a thread.
    fn call(&self, id: &str, source: &str) -> JoinHandle<Result<CallOutput, CallError>> {
        let client = self.daemon.local_client();
        let incoming = Incoming {
            source: source.to_owned(),
            id: Some(Cow::Owned(id.as_bytes().to_vec())),
            content_type: None,
            timestamp_us: None,
            payload: Cow::Borrowed(b"abc"),
        };
        thread::spawn(move || client.call(incoming, Instant::now() + DEADLINE))
    }

    fn workers(&self) -> PartStatus {
        let parts = self.daemon.parts().list();
        parts.into_iter().find(|it| it.name == "worker").unwrap()
    }
}

fn install(signer: &Signer, config: &Config, folder: &TempDir) {
    let guests = environment().guests.display().to_string();
    let recipe = folder.path().join("release.toml");
    let text = format!(
        "name = \"test\"\ngeneration = 1\nexpires-in = \"1d\"\n[components.measure]\nfile = \"{guests}/measure.wasm\"\nworld = \"stage\"\n\
         instance = \"per-source\"\n[[pipeline]]\nstage = \"measure\"\n"
    );
    fs::write(&recipe, text).unwrap();
    let out = folder.path().join("release");
    signer.pack(&recipe, &out);
    let layout = Layout::open(&out).unwrap();
    let mut store = Store::open(&config.data).unwrap();
    let release = verify(
        &layout.package().unwrap(),
        &TrustRoot::parse(&signer.trust).unwrap(),
        &store.ledger().floor(),
        &config.identity(),
        &env!("CARGO_PKG_VERSION").parse().unwrap(),
        Time::now(),
    )
    .unwrap();
    store.install(&layout, &release, Time::now()).unwrap();
}

/// The stage and the fault of a sample that failed.
fn failed(ended: Result<CallOutput, CallError>) -> (String, String) {
    let Err(CallError::Ended {
        ending,
        stage,
        fault,
        ..
    }) = ended
    else {
        panic!("{ended:?}");
    };
    assert_eq!(ending, Ending::Failure);
    (stage, fault)
}

fn stuck() -> (String, String) {
    ("service".to_owned(), "worker_stuck".to_owned())
}

#[test]
fn a_stuck_worker_is_replaced_its_sample_fails_and_its_source_goes_on() {
    let trap = State {
        before: 1,
        ..State::default()
    };
    let device = Device::start(2, trap);
    let first = device.call("a", "yard");
    until("a worker hangs", || device.trap.held() == 1);
    // This one waits for the other one of its source.
    let second = device.call("b", "yard");
    assert_eq!(failed(first.join().unwrap()), stuck());
    assert_eq!(second.join().unwrap().unwrap().id, "b");
    let status = device.daemon.status();
    assert!(status.counters.add_up(), "{:?}", status.counters);
    assert_eq!(status.counters.faults["worker_stuck"], 1);
    let is_stuck = |kind: &Kind| *kind == Kind::Known(KnownKind::WorkerStuck);
    let mut events = status.events.iter().filter(|it| is_stuck(&it.kind));
    let event = events.next().unwrap();
    assert_eq!(events.next(), None);
    assert_eq!(event.severity, Severity::Error);
    let Subject::Thread { name } = &event.subject else {
        panic!("{event:?}");
    };
    assert!(name == "worker-0" || name == "worker-1", "{name}");
    assert_eq!(event.details["id"], "a");
    assert_eq!(event.details["source"], "yard");
    // The stuck thread is there until it comes back. Its result is not published then.
    assert_eq!(device.workers().threads, 3);
    device.trap.let_go();
    until("the thread has ended", || device.workers().threads == 2);
    assert_eq!(device.workers().state, PartState::Running);
    assert!(device.call("c", "yard").join().unwrap().is_ok());
    let report = device.daemon.drain(DEADLINE);
    assert!(report.finished);
    assert_eq!((report.counters.results, report.counters.failed), (2, 1));
}

#[test]
fn a_worker_that_hangs_after_its_sample_was_counted_is_replaced_too() {
    let trap = State {
        after: 1,
        ..State::default()
    };
    let device = Device::start(1, trap);
    assert_eq!(failed(device.call("a", "yard").join().unwrap()), stuck());
    // The only worker was replaced.
    assert!(device.call("b", "yard").join().unwrap().is_ok());
    let counters = device.daemon.status().counters;
    assert!(counters.add_up(), "{counters:?}");
    assert_eq!((counters.results, counters.failed), (2, 0));
    device.trap.let_go();
    assert!(device.daemon.drain(DEADLINE).finished);
}

#[test]
fn with_a_third_stuck_worker_the_daemon_asks_to_be_started_again() {
    let trap = State {
        before: 3,
        ..State::default()
    };
    let device = Device::start(3, trap);
    let (tell, told) = channel();
    device
        .daemon
        .parts()
        .on_death(move |dead| tell.send(dead.clone()).unwrap());
    let calls = ["a", "b", "c"].map(|id| device.call(id, id));
    let dead = told.recv_timeout(DEADLINE).unwrap();
    assert_eq!(
        (dead.name.as_str(), dead.cause.as_str()),
        ("worker", "3 workers are stuck")
    );
    for call in calls {
        assert_eq!(failed(call.join().unwrap()), stuck());
    }
    // The two workers that were replaced go on meanwhile, and a drain does not wait for the stuck ones.
    assert!(device.call("d", "d").join().unwrap().is_ok());
    let report = device.daemon.drain(Duration::from_secs(60));
    assert!(report.finished);
    assert_eq!((report.counters.results, report.counters.failed), (1, 3));
    // This end counts as an unexpected one.
    let starts = fs::read_to_string(device.folder.path().join("data/starts.json")).unwrap();
    assert!(starts.contains("\"counts\":true"), "{starts}");
    device.trap.let_go();
}
