#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hotshoe_trust::Digest;

use super::{Batcher, Batching, Eligibility};
use crate::backend::{InputSignature, Session, Stop};
use crate::executor::{Executor, Lane, Outcome};
use crate::{ElementType, ModelOptions, RunError, Stats, Tensor, TensorInfo};

/// What the model does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    None,
    /// It fails on more than one row.
    Batches,
    /// Its output has one row, whatever the input has.
    Fixed,
    /// The rows influence each other.
    Mixes,
}

/// Doubles its input; a negative one fails. It notes the rows of each run.
#[derive(Debug)]
struct DoublingSession {
    flaw: Flaw,
    runs: Mutex<Vec<usize>>,
}

impl Session for DoublingSession {
    fn prepare(&self, _: &InputSignature) -> Result<(), RunError> {
        Ok(())
    }

    fn run(&self, inputs: &[Tensor], _: &Stop) -> Outcome {
        let rows = inputs[0].shape()[0];
        self.runs.lock().unwrap().push(rows);
        let x = inputs[0].as_f32().unwrap();
        if x.iter().any(|&value| value < 0.0) || (self.flaw == Flaw::Batches && rows > 1) {
            return Err(RunError::Failed {
                source: "on purpose".into(),
            });
        }
        let (shape, values) = match self.flaw {
            Flaw::Fixed => (vec![1], vec![x[0] * 2.0]),
            Flaw::Mixes => (vec![rows], vec![x.iter().sum(); rows]),
            Flaw::None | Flaw::Batches => (vec![rows], x.iter().map(|v| v * 2.0).collect()),
        };
        Ok(vec![Tensor::from_f32(&shape, values).unwrap()])
    }

    fn run_part(&self, inputs: &[Tensor], stop: &Stop) -> Outcome {
        self.run(inputs, stop)
    }

    fn at_once(&self) -> Option<usize> {
        None
    }

    fn signatures(&self) -> Vec<InputSignature> {
        Vec::new()
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn provider(&self) -> &str {
        "cpu"
    }

    fn provider_notes(&self) -> &[String] {
        &[]
    }
}

fn far() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(60))
}

#[track_caller]
fn until(mut event: impl FnMut() -> bool) {
    let limit = far();
    while !event() {
        assert!(Some(Instant::now()) < limit, "it never happened");
        thread::yield_now();
    }
}

fn info(name: &str, first: Option<usize>) -> TensorInfo {
    TensorInfo {
        name: name.to_owned(),
        element_type: ElementType::F32,
        shape: vec![first],
    }
}

/// A model that is batched.
#[derive(Clone)]
struct Fixture {
    batcher: Arc<Batcher>,
    lane: Arc<Lane>,
    session: Arc<DoublingSession>,
    calls: Arc<AtomicUsize>,
}

impl Fixture {
    fn new(flaw: Flaw, most: usize, wait: Duration) -> Self {
        let options = ModelOptions {
            max_batch: most,
            max_wait: wait,
            ..ModelOptions::default()
        };
        let (inputs, outputs) = ([info("x", None)], [info("y", None)]);
        Self {
            batcher: Batcher::new(Digest::of(b"model"), &options, &inputs, &outputs).unwrap(),
            lane: Arc::new(Executor::new(1).lane(None)),
            session: Arc::new(DoublingSession {
                flaw,
                runs: Mutex::default(),
            }),
            calls: Arc::default(),
        }
    }

    fn verified(most: usize, wait: Duration) -> Self {
        let fixture = Self::new(Flaw::None, most, wait);
        *fixture.batcher.eligibility() = Eligibility::Verified;
        fixture
    }

    /// A run in a thread of its own, and what it gave.
    fn call(&self, x: &[f32], deadline: Option<Instant>) -> JoinHandle<Result<Vec<f32>, RunError>> {
        let (fixture, x) = (
            self.clone(),
            Tensor::from_f32(&[x.len()], x.to_vec()).unwrap(),
        );
        let calls = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let caller = thread::spawn(move || {
            let outputs =
                fixture
                    .batcher
                    .run(&fixture.lane, fixture.session.clone(), vec![x], deadline)?;
            Ok(outputs[0].as_f32().unwrap().to_vec())
        });
        // Later runs find it in its batch.
        until(|| self.entered() >= calls);
        caller
    }

    /// Runs that are in a batch, or further. One that is on its way from one to the other may be missing.
    fn entered(&self) -> usize {
        let usage = self.lane.usage();
        let further = (usage.runs + usage.expired) as usize;
        let batches = self.batcher.open_batches();
        let members: usize = batches.open.iter().map(|open| open.members.len()).sum();
        further + members
    }

    /// Takes the only place until the sender is dropped.
    fn occupy(&self) -> (Sender<()>, JoinHandle<Outcome>) {
        let (release, held) = mpsc::channel::<()>();
        let (lane, before) = (self.lane.clone(), self.lane.usage().runs);
        self.calls.fetch_add(1, Ordering::SeqCst);
        let caller = thread::spawn(move || {
            lane.run(None, move |_| {
                let _ = held.recv();
                Ok(Vec::new())
            })
        });
        until(|| self.lane.usage().runs > before);
        (release, caller)
    }

    fn sizes(&self) -> Vec<usize> {
        self.session.runs.lock().unwrap().clone()
    }

    fn refused(&self) -> String {
        match self.batcher.batching() {
            Batching::Refused(reason) => reason,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn runs_gather_while_the_model_is_busy() {
    let fixture = Fixture::verified(4, Duration::ZERO);
    let (release, first) = fixture.occupy();
    let calls: Vec<_> = [&[1.0][..], &[2.0, 3.0], &[4.0], &[5.0], &[6.0]]
        .into_iter()
        .map(|x| fixture.call(x, far()))
        .collect();
    drop(release);
    first.join().unwrap().unwrap();
    let results: Vec<Vec<f32>> = calls
        .into_iter()
        .map(|c| c.join().unwrap().unwrap())
        .collect();
    assert_eq!(results, [&[2.0][..], &[4.0, 6.0], &[8.0], &[10.0], &[12.0]]);
    assert_eq!(fixture.sizes(), [4, 2], "up to four rows");
    let usage = fixture.lane.usage();
    assert_eq!((usage.batches, usage.runs, usage.in_flight), (2, 6, 0));
}

#[test]
fn a_full_batch_does_not_wait() {
    let fixture = Fixture::verified(2, Duration::from_secs(3600));
    let first = fixture.call(&[1.0], None);
    let second = fixture.call(&[2.0], None);
    assert_eq!(first.join().unwrap().unwrap(), [2.0]);
    assert_eq!(second.join().unwrap().unwrap(), [4.0]);
    assert_eq!(fixture.sizes(), [2]);
    // One that fills a batch by itself is alone.
    assert_eq!(
        fixture.call(&[1.0, 2.0], None).join().unwrap().unwrap(),
        [2.0, 4.0]
    );
    // One that does not fit ends the wait of the batch before it.
    let fixture = Fixture::verified(3, Duration::from_secs(3600));
    let first = fixture.call(&[1.0, 2.0], None);
    let second = fixture.call(&[3.0, 4.0], None);
    assert_eq!(first.join().unwrap().unwrap(), [2.0, 4.0]);
    let third = fixture.call(&[5.0], None);
    assert_eq!(second.join().unwrap().unwrap(), [6.0, 8.0]);
    assert_eq!(third.join().unwrap().unwrap(), [10.0]);
    assert_eq!(fixture.sizes(), [2, 3]);
}

#[test]
fn no_run_waits_for_others_past_its_deadline() {
    let fixture = Fixture::verified(8, Duration::from_secs(3600));
    let patient = fixture.call(&[1.0], None);
    let soon = Instant::now() + Duration::from_secs(2);
    let hurried = fixture.call(&[2.0], Some(soon));
    assert_eq!(hurried.join().unwrap().unwrap(), [4.0]);
    assert_eq!(patient.join().unwrap().unwrap(), [2.0]);
    assert_eq!(fixture.sizes(), [2]);
}

#[test]
fn a_batch_whose_runs_are_given_up_is_never_begun() {
    let fixture = Fixture::verified(2, Duration::ZERO);
    let (release, first) = fixture.occupy();
    let soon = || Some(Instant::now() + Duration::from_millis(100));
    for _ in 0..3 {
        let late = [fixture.call(&[1.0], soon()), fixture.call(&[2.0], soon())];
        for call in late {
            assert!(matches!(call.join().unwrap(), Err(RunError::Deadline)));
        }
    }
    until(|| fixture.batcher.open_batches().open.is_empty());
    drop(release);
    first.join().unwrap().unwrap();
    assert_eq!(fixture.call(&[3.0], far()).join().unwrap().unwrap(), [6.0]);
    assert_eq!(fixture.sizes(), [1]);
    let usage = fixture.lane.usage();
    assert_eq!((usage.expired, usage.batches, usage.runs), (6, 0, 2));
}

#[test]
fn one_bad_input_costs_one_run() {
    let fixture = Fixture::verified(3, Duration::from_secs(3600));
    let calls = [&[1.0][..], &[-1.0], &[3.0]].map(|x| fixture.call(x, None));
    let [first, bad, last] = calls.map(|call| call.join().unwrap());
    assert_eq!((first.unwrap(), last.unwrap()), (vec![2.0], vec![6.0]));
    assert!(matches!(bad, Err(RunError::Failed { .. })));
    assert_eq!(fixture.sizes(), [3, 1, 1, 1]);
    assert_eq!(fixture.batcher.batching(), Batching::On);
    assert_eq!(
        (fixture.lane.usage().runs, fixture.lane.usage().failed),
        (3, 1)
    );
}

#[test]
fn the_first_batch_is_compared_with_its_runs_alone() {
    let fixture = Fixture::new(Flaw::None, 2, Duration::from_secs(3600));
    for sizes in [&[2, 1, 1][..], &[2, 1, 1, 2]] {
        let calls = [fixture.call(&[1.0], None), fixture.call(&[2.0], None)];
        assert_eq!(
            calls.map(|call| call.join().unwrap().unwrap()),
            [[2.0], [4.0]]
        );
        assert_eq!(fixture.sizes(), sizes);
    }
}

#[test]
fn models_that_do_not_take_batches_go_on_one_by_one() {
    for (flaw, reason) in [
        (Flaw::Batches, "it fails on a batch, but not on single runs"),
        (Flaw::Fixed, "does not follow"),
        (Flaw::Mixes, "differ"),
    ] {
        let fixture = Fixture::new(flaw, 2, Duration::from_secs(3600));
        let calls = [fixture.call(&[1.0], None), fixture.call(&[2.0], None)];
        let got = calls.map(|call| call.join().unwrap().unwrap());
        let factor = if flaw == Flaw::Mixes { 1.0 } else { 2.0 };
        assert_eq!(got, [[factor], [2.0 * factor]], "{flaw:?}");
        assert!(fixture.refused().contains(reason), "{}", fixture.refused());
        assert_eq!(
            fixture.call(&[1.0], None).join().unwrap().unwrap(),
            [factor]
        );
        assert_eq!(fixture.sizes(), [2, 1, 1, 1]);
    }
}

#[test]
fn a_description_may_rule_batches_out() {
    let options = ModelOptions {
        max_batch: 2,
        ..ModelOptions::default()
    };
    let batching = |inputs: &[TensorInfo], output: Option<usize>| {
        let outputs = [info("y", output)];
        Batcher::new(Digest::of(b"model"), &options, inputs, &outputs)
            .unwrap()
            .batching()
    };
    let open = [info("x", None)];
    assert_eq!(batching(&open, None), Batching::On);
    for refused in [
        batching(&[], None),
        batching(&open, Some(1)),
        batching(&[info("x", None), info("h", Some(2))], None),
    ] {
        assert!(matches!(refused, Batching::Refused(_)), "{refused:?}");
    }
    assert!(Batcher::new(Digest::of(b"model"), &ModelOptions::default(), &open, &[]).is_none());
}
