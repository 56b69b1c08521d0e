//! What the scenarios share: a release with two variants whose results differ, its device, and a stream of samples with their answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hotshoe_link::{FeedError, FeedReply, Feeder};
use hotshoe_tests::until;
use hotshoe_trust::Time;
use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use super::tree::Tree;
use crate::model::numbers::onnx::{UNIT, constant};
use crate::support::{DEADLINE, Daemon, Device, Workspace, environment};

/// Least time between two changes, in milliseconds.
pub(crate) const LEAST_MS: u64 = 300;
/// The value that the fan's file has at its highest setting.
pub(crate) const FULL_FAN: &str = "200";
/// Thresholds of the governor that ships, where the scenarios need others than its own. With them a device does not wait for seconds.
pub(crate) const THRESHOLDS: &str =
    r#"{"interval-ms": 20, "late-windows": 1, "headroom-windows": 1, "backend-failures": 1}"#;
/// The time between two samples of a stream.
pub(crate) const STEADY: Duration = Duration::from_millis(5);

/// What ran a sample, as its result says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    Full,
    Minimal,
}

impl Variant {
    /// The first score of its results, in units.
    const fn score(self) -> f32 {
        match self {
            Self::Full => 3.0,
            Self::Minimal => 2.0,
        }
    }

    /// A model that always gives its score.
    fn model(self) -> Vec<u8> {
        constant(self.score(), 1.0)
    }
}

/// A tree of sensors, a fan, the two variants and thresholds, in a workspace.
pub(crate) struct Scene {
    folder: PathBuf,
    pub tree: Tree,
    /// How long only looser plans must be wished, in milliseconds.
    pub calm_ms: u64,
}

impl Scene {
    pub(crate) fn new(workspace: &Workspace) -> Self {
        let tree = Tree::new(workspace.path("tree"));
        for variant in [Variant::Full, Variant::Minimal] {
            fs::write(workspace.path(file(variant)), variant.model()).unwrap();
        }
        fs::write(workspace.path("governor.json"), THRESHOLDS).unwrap();
        fs::write(workspace.path("fan"), "0").unwrap();
        let folder = workspace.path("");
        Self {
            folder,
            tree,
            calm_ms: 400,
        }
    }

    /// A release whose results say which variant ran, with these lines for its governor.
    pub(crate) fn recipe(&self, generation: u64, governor: &str) -> String {
        let at = |variant| self.folder.join(file(variant)).display().to_string();
        format!(
            r#"name = "heated"
generation = {generation}
expires-in = "365d"
[health]
min-samples = 3
min-seconds = 0
[components.pre]
{pre}world = "preprocessor"
[components.post]
{post}world = "postprocessor"
[components.governor]
world = "governor"
{governor}
[models.m]
prefer = ["full", "minimal"]
variants = {{ full = "{full}", minimal = "{minimal}" }}
[modes.full]
level = 0
[modes.minimal]
level = 1
variants = {{ m = "minimal" }}
[[pipeline]]
preprocess = "pre"
[[pipeline]]
infer = "m"
[[pipeline]]
postprocess = "post"
"#,
            pre = wasm("hostile"),
            post = wasm("classify-angle-post"),
            full = at(Variant::Full),
            minimal = at(Variant::Minimal),
        )
    }

    /// The lines of the governor that ships, with the scenarios' thresholds.
    pub(crate) fn shipped(&self) -> String {
        format!(
            "{}grants = [\"data\"]\ndata = [\"governor.json\"]\n[data.\"governor.json\"]\nfile = \"{}\"\nmedia-type = \"application/json\"\n",
            wasm("governor"),
            self.folder.join("governor.json").display()
        )
    }

    /// What a device is configured with, with `more` for its governor.
    pub(crate) fn config(&self, more: &str) -> String {
        format!(
            "[workers]\nthreads = 1\n[intake]\nqueue = 64\n[governor]\nsensors = \"{}\"\nperiod-ms = 100\nleast-time-ms = {LEAST_MS}\ncalm-ms = {}\n\
             most-changes-per-hour = 100\n{more}\n[governor.outputs.fan]\nfile = \"{}\"\noff = 0\nfull = {FULL_FAN}\n",
            self.tree.root().display(),
            self.calm_ms,
            self.folder.join("fan").display()
        )
    }

    /// A device that runs a release with this governor.
    pub(crate) fn device(&self, workspace: &Workspace, governor: &str, more: &str) -> Device {
        let release = workspace.release(&self.recipe(1, governor));
        workspace.device("cam", &release, &self.config(more))
    }

    /// Waits until the number in the fan's file is this one.
    pub(crate) fn wait_for_fan(&self, value: &str) {
        let fan = self.folder.join("fan");
        until("the fan is driven", || {
            fs::read_to_string(&fan).is_ok_and(|text| text.trim() == value)
        });
    }
}

const fn file(variant: Variant) -> &'static str {
    match variant {
        Variant::Full => "full.onnx",
        Variant::Minimal => "minimal.onnx",
    }
}

/// The line of a component's file.
pub(crate) fn wasm(name: &str) -> String {
    let guests = environment().root.join("target/guests");
    let path = guests.join(name).with_extension("wasm");
    format!("file = \"{}\"\n", path.display())
}

/// What the status says of the mode in force. A release whose governor has not chosen runs in the full one.
pub(crate) fn mode(state: &Value) -> &str {
    state["governor"]["mode"].as_str().unwrap_or("full")
}

pub(crate) fn changes(state: &Value) -> u64 {
    state["governor"]["changes"].as_u64().unwrap_or(0)
}

/// The plan in force with its reasons, as text.
pub(crate) fn plan(state: &Value) -> String {
    state["governor"]["plan"].to_string()
}

/// The events of a kind, oldest first.
pub(crate) fn events<'a>(state: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = state["events"].as_array().into_iter().flatten();
    events.filter(|event| event["kind"] == kind).collect()
}

/// When an event was, by the clock of the machine.
pub(crate) fn time(event: &Value) -> Time {
    event["time"].as_str().unwrap().parse().unwrap()
}

/// The answer to one sample.
#[derive(Debug)]
pub(crate) struct Answer {
    sent: Instant,
    answered: Instant,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Result(Variant),
    Skipped,
    Failed(String),
}

impl Answer {
    fn of(reply: FeedReply, sent: Instant) -> Self {
        let outcome = match reply.result {
            Ok(body) => Outcome::Result(ran(&body)),
            Err(FeedError::Refused(body)) if body["fault"] == "skipped" => {
                let reason = body["message"].as_str().unwrap_or_default();
                assert!(!reason.is_empty(), "skipped without a reason: {body}");
                Outcome::Skipped
            }
            Err(FeedError::Refused(body)) => Outcome::Failed(body.to_string()),
            Err(FeedError::NoReply) => panic!("sample {} has no answer", reply.id),
        };
        Self {
            sent,
            answered: sent + reply.elapsed,
            outcome,
        }
    }
}

/// Which variant made this result. Any other result is one of none.
fn ran(body: &Value) -> Variant {
    let classes = body["insight"]["classes"].as_array();
    let classes = classes.unwrap_or_else(|| panic!("{body}"));
    let first = classes.iter().find(|class| class["label"] == "0").unwrap();
    let score = first["score"].as_f64().unwrap() / f64::from(UNIT);
    let variants = [Variant::Full, Variant::Minimal];
    let ran = variants
        .into_iter()
        .find(|it| (f64::from(it.score()) - score).abs() < 1e-3);
    ran.unwrap_or_else(|| panic!("of no variant: {body}"))
}

/// The answers to a stream.
#[derive(Debug, Default)]
pub(crate) struct Answers(Vec<Answer>);

impl Answers {
    fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> u64 {
        self.0.iter().filter(|it| wanted(&it.outcome)).count() as u64
    }

    fn within(&self, phase: &Phase) -> Vec<&Answer> {
        let is_in = |it: &&Answer| phase.from <= it.sent && it.answered <= phase.to;
        self.0.iter().filter(is_in).collect()
    }

    /// Checks that what was sent and answered in a phase ran in its mode, or was skipped if the device rested.
    pub(crate) fn check(&self, phase: &Phase) {
        let found = self.within(phase);
        let mut results = found.iter().filter_map(|it| match &it.outcome {
            Outcome::Result(variant) => Some(*variant),
            _ => None,
        });
        match phase.runs {
            Some(wanted) => {
                assert_eq!(results.next(), Some(wanted), "{phase:?}: no result");
                let other = results.find(|ran| *ran != wanted);
                assert_eq!(other, None, "{phase:?}: of another mode");
            }
            None => {
                assert_eq!(results.next(), None, "{phase:?}: the device rests");
                assert!(!found.is_empty(), "{phase:?}: no answer");
            }
        }
    }

    /// The numbers of results and of answers in a phase.
    pub(crate) fn rate(&self, phase: &Phase) -> (usize, usize) {
        let found = self.within(phase);
        let is_result = |it: &&&Answer| matches!(it.outcome, Outcome::Result(_));
        (found.iter().filter(is_result).count(), found.len())
    }

    /// Checks that the device counted exactly what the stream got.
    pub(crate) fn check_counts(&self, daemon: &Daemon) {
        let state = daemon.wait_until(|state| state["counters"]["in_flight"] == 0);
        let counters = daemon.status().counters;
        assert!(counters.add_up(), "{counters:?}");
        let failed = self.0.iter().find_map(|it| match &it.outcome {
            Outcome::Failed(body) => Some(body),
            _ => None,
        });
        assert_eq!(failed, None);
        assert_eq!(
            (counters.accepted, counters.results, counters.skipped),
            (
                self.0.len() as u64,
                self.count(|it| matches!(it, Outcome::Result(_))),
                self.count(|it| *it == Outcome::Skipped),
            ),
            "{state:#}"
        );
        assert_eq!((counters.dropped_total(), counters.failed), (0, 0));
    }

    /// Both after each other.
    pub(crate) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }
}

/// A time in which one mode is in force.
#[derive(Debug)]
pub(crate) struct Phase {
    from: Instant,
    to: Instant,
    /// `None` where the device rests.
    runs: Option<Variant>,
}

/// Samples that stream to a device, and the answers so far.
pub(crate) struct Stream<'a> {
    daemon: &'a Daemon,
    answers: Mutex<Vec<Answer>>,
    answered: Condvar,
    is_over: AtomicBool,
}

/// Ends a stream, also where the test panics: the scope waits for its thread.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Samples at this pace while `play` runs, with at most so many of them unanswered.
pub(crate) fn stream<T>(
    daemon: &Daemon,
    pace: Duration,
    in_flight: usize,
    play: impl FnOnce(&Stream<'_>) -> T,
) -> (T, Answers) {
    let feeder = daemon.feeder(in_flight);
    let stream = Stream {
        daemon,
        answers: Mutex::default(),
        answered: Condvar::new(),
        is_over: AtomicBool::new(false),
    };
    let played = thread::scope(|scope| {
        let _ending = Ending(&stream.is_over);
        let stream = &stream;
        scope.spawn(move || stream.feed(&feeder, pace));
        play(stream)
    });
    (played, Answers(stream.answers.into_inner()))
}

impl Stream<'_> {
    /// A phase from now on, until some of its samples have their result, or were skipped if the device rests.
    pub(crate) fn phase(&self, runs: Option<Variant>) -> Phase {
        const ENOUGH: usize = 6;
        let from = Instant::now();
        let mut answers = self.answers.lock();
        let is_wanted = |it: &&Answer| {
            let is_result = matches!(it.outcome, Outcome::Result(_));
            from <= it.sent && is_result == runs.is_some()
        };
        let lacks = |all: &mut Vec<Answer>| all.iter().rev().filter(is_wanted).count() < ENOUGH;
        let waited = self.answered.wait_while_for(&mut answers, lacks, DEADLINE);
        let to = Instant::now();
        drop(answers);
        assert!(!waited.timed_out(), "no answers: {}", self.daemon.log());
        let counters = self.daemon.status().counters;
        assert!(counters.add_up(), "{counters:?}");
        Phase { from, to, runs }
    }

    fn feed(&self, feeder: &Feeder, pace: Duration) {
        let mut sent: BTreeMap<String, Instant> = BTreeMap::new();
        let (mut due, mut number) = (Instant::now(), 0_u64);
        while !self.is_over.load(Ordering::Acquire) {
            let left = due.saturating_duration_since(Instant::now());
            if let Some(reply) = feeder.next(left) {
                self.take(reply, &mut sent);
                continue;
            }
            let id = number.to_string();
            number += 1;
            sent.insert(id.clone(), Instant::now());
            feeder
                .send("camera", "application/octet-stream", &id, b"go".to_vec())
                .expect("sent");
            due = Instant::now() + pace;
        }
        while !sent.is_empty() {
            let reply = feeder.next(DEADLINE).expect("an answer");
            self.take(reply, &mut sent);
        }
    }

    fn take(&self, reply: FeedReply, sent: &mut BTreeMap<String, Instant>) {
        let at = sent.remove(&reply.id).expect("a sample that was sent");
        let answer = Answer::of(reply, at);
        self.answers.lock().push(answer);
        self.answered.notify_all();
    }
}
