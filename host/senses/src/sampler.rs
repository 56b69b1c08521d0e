//! Reads the sensors in rounds. A read that hangs costs its own sensor: the thread that reads it is left to itself until the read ends,
//! another one goes on with the rest, and the sensor is not read again before that.
//!
//! Periods are by the clock of the supervisor. The time limit of a read is by the system's: the kernel reads.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::Supervisor;
use rustix::io::Errno;

use crate::fault_kind::FaultKind;
use crate::parse::parse;
use crate::reading::{Reading, Space};
use crate::tree::{MAX_ENTRIES, MAX_FILE_BYTES, Request, Tree, first_requests, sensor_requests};

/// Most sensors that may hang at a time. While that many do, no other one is read.
pub const MAX_HUNG: usize = 8;

/// Where the sensors are, and how long one may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The folder that has `sys` and `proc`; `/` on a device.
    pub root: PathBuf,
    /// The data folder, for its free space.
    pub data: PathBuf,
    /// Longest time of one read.
    pub read_timeout: Duration,
}

/// One round.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When it ended, since the sampler started.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// What the sensors say.
    pub reading: Reading,
}

/// Reads all sensors, in rounds.
#[derive(Debug)]
pub struct Sampler {
    places: Places,
    supervisor: Supervisor,
    /// The reads that hang, by the owner of the file.
    hung: BTreeMap<String, Hung>,
}

#[derive(Debug)]
struct Hung {
    path: String,
    reader: JoinHandle<()>,
}

/// A sampler that runs. It ends when this is dropped.
#[derive(Debug)]
pub struct Sampling {
    /// Its end is the signal.
    _running: Sender<()>,
}

/// What one request gave.
enum Answer {
    Names(Vec<String>),
    Content(Vec<u8>),
    Space(Space),
}

/// `None` is not there.
type Answered = Result<Option<Answer>, FaultKind>;

impl Sampler {
    /// One whose threads `supervisor` starts, and whose time is that of its clock.
    pub fn new(places: Places, supervisor: Supervisor) -> Self {
        Self {
            places,
            supervisor,
            hung: BTreeMap::new(),
        }
    }

    /// Starts the thread `senses`, which reads all sensors now and in each `period`. It passes each round to `on_sample`, which may not
    /// wait for anything.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(
        mut self,
        period: Duration,
        mut on_sample: impl FnMut(Sample) + Send + 'static,
    ) -> io::Result<Sampling> {
        let (running, ended) = channel();
        let supervisor = self.supervisor.clone();
        let started = supervisor.clock().now();
        supervisor.restarted("senses", move || {
            self.run(started, period, &ended, &mut on_sample);
            Ok(())
        })?;
        Ok(Sampling { _running: running })
    }

    fn run(
        &mut self,
        started: Instant,
        period: Duration,
        ended: &Receiver<()>,
        on_sample: &mut impl FnMut(Sample),
    ) {
        let clock = self.supervisor.clock().clone();
        loop {
            let began = clock.now();
            let next = clock.deadline(period);
            let reading = self.round();
            on_sample(Sample {
                at: clock.elapsed(started),
                took: clock.elapsed(began),
                reading,
            });
            if clock.recv_until(ended, next) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Reads all sensors once. It takes at most [`MAX_HUNG`] times the longest time of one read, and the time of those that do not hang.
    pub fn round(&mut self) -> Reading {
        let (mut tree, mut listed) = (Tree::default(), BTreeMap::new());
        self.read(first_requests(), &mut tree, &mut listed);
        let requests = sensor_requests(&listed, &mut tree);
        self.read(requests, &mut tree, &mut listed);
        parse(&tree)
    }

    fn read(
        &mut self,
        requests: Vec<Request>,
        tree: &mut Tree,
        listed: &mut BTreeMap<String, Vec<String>>,
    ) {
        self.hung.retain(|_, hung| !hung.reader.is_finished());
        let mut waiting = VecDeque::new();
        for request in requests {
            match self.hung.get(request.owner()) {
                Some(hung) => tree.insert_fault(&hung.path, FaultKind::TimedOut),
                None => waiting.push_back(request),
            }
        }
        while !waiting.is_empty() && self.hung.len() < MAX_HUNG {
            if !self.read_until_one_hangs(&mut waiting, tree, listed) {
                break;
            }
        }
        for request in waiting {
            tree.insert_fault(request.path(), FaultKind::NotRead);
        }
    }

    /// Takes those that were read from `waiting`, and those of a sensor that hangs. False if no thread can be started.
    fn read_until_one_hangs(
        &mut self,
        waiting: &mut VecDeque<Request>,
        tree: &mut Tree,
        listed: &mut BTreeMap<String, Vec<String>>,
    ) -> bool {
        let (answers, received) = sync_channel(waiting.len());
        let (places, requests) = (self.places.clone(), waiting.clone());
        let reader = self.supervisor.task("sensor-reader", move || {
            answer_all(&places, &requests, &answers);
        });
        let Ok(reader) = reader else { return false };
        while let Some(request) = waiting.pop_front() {
            match received.recv_timeout(self.places.read_timeout) {
                Ok(answer) => add(tree, listed, &request, answer),
                Err(RecvTimeoutError::Timeout) => {
                    let (owner, path) = (request.owner(), request.path().to_owned());
                    tree.insert_fault(&path, FaultKind::TimedOut);
                    waiting.retain(|other| other.owner() != owner);
                    self.hung.insert(owner.to_owned(), Hung { path, reader });
                    break;
                }
                // The reader panicked.
                Err(RecvTimeoutError::Disconnected) => {
                    tree.insert_fault(request.path(), FaultKind::Failed);
                    break;
                }
            }
        }
        true
    }
}

/// Adds an answer to what was read.
fn add(
    tree: &mut Tree,
    listed: &mut BTreeMap<String, Vec<String>>,
    request: &Request,
    answer: Answered,
) {
    let path = request.path();
    match answer {
        Ok(None) => {}
        Ok(Some(Answer::Content(content))) => tree.insert(path, content),
        Ok(Some(Answer::Names(names))) => {
            listed.insert(path.to_owned(), names);
        }
        Ok(Some(Answer::Space(space))) => tree.set_space(space),
        Err(kind) => tree.insert_fault(path, kind),
    }
}

/// Runs on the reader's thread. It ends when its answers are not waited for any more: something before them took too long.
fn answer_all(places: &Places, requests: &VecDeque<Request>, answers: &SyncSender<Answered>) {
    for request in requests {
        let answer = match request {
            Request::List(path) => names(places, path).map(Answer::Names),
            Request::Read(path) => content(places, path).map(Answer::Content),
            Request::Space => space(places).map(Answer::Space),
        };
        if answers.send(answer.map(Some).or_else(fault)).is_err() {
            return;
        }
    }
}

/// What a failed read says of its sensor: that it is not there, or why it has no value.
fn fault(error: io::Error) -> Answered {
    /// A device without this sensor, without a value at this time, or a kernel without it.
    const ABSENT: [Errno; 4] = [Errno::NODEV, Errno::NXIO, Errno::NODATA, Errno::OPNOTSUPP];
    let code = error.raw_os_error();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
        _ if ABSENT.iter().any(|it| code == Some(it.raw_os_error())) => Ok(None),
        io::ErrorKind::PermissionDenied => Err(FaultKind::Denied),
        io::ErrorKind::FileTooLarge => Err(FaultKind::TooLarge),
        _ => Err(FaultKind::Failed),
    }
}

fn names(places: &Places, path: &str) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(places.root.join(path))?.take(MAX_ENTRIES);
    // A name in another encoding is not a sensor's.
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(io::Result::transpose).collect()
}

/// The content of a file of at most [`MAX_FILE_BYTES`].
///
/// It may block, as a driver's file can, and not only in the read. `base::files` would refuse a pipe, with which a test shows that.
fn content(places: &Places, path: &str) -> io::Result<Vec<u8>> {
    let file = File::open(places.root.join(path))?;
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

fn space(places: &Places) -> io::Result<Space> {
    let found = rustix::fs::statvfs(&places.data)?;
    // btrfs and others make inodes as needed, and say 0.
    let inodes = |count: u64| (found.f_files > 0).then_some(count);
    Ok(Space {
        total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        total_inodes: inodes(found.f_files),
        free_inodes: inodes(found.f_favail),
    })
}
