//! Lets operators record what a device is given and what it makes of it, where its configuration and the release agree.
//!
//! A recorder asks and the device answers, so that nothing is sent that nobody takes. What waits is bounded in bytes over all recorders,
//! and a worker that finds no room goes on at once: the sample is counted and not recorded.

mod refused;
mod taken;
mod wire;

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hotshoe_config::RecordConfig;
use hotshoe_engine::Sample;
use hotshoe_pipeline::{Decision, Trace};
use hotshoe_store::{MAX_RECORDED, MAX_RECORDED_BYTES, RecordStage, RecordedPart, RecordedRelease};
use hotshoe_trust::{Blob, Device, Digest, PipelineInput, RecordKind, Release, Step, Verified};
use uuid::Uuid;

use self::refused::Refused;
use self::taken::Taken;

pub use self::wire::{Counts, EndReason, FileHead, Next, Opened, Refusal, Request, What};

/// Recordings that may be made at once.
pub const MAX_SESSIONS: usize = 4;
/// Most bytes of a file that one answer holds.
pub const MAX_PIECE_BYTES: u64 = 1 << 20;
/// A recorder that asks for nothing for so long has gone.
const LEASE: Duration = Duration::from_secs(30);
/// How long an answer waits for a sample.
const WAIT: Duration = Duration::from_millis(500);

/// All recordings of a device.
#[derive(Default)]
pub struct Recorder {
    config: Mutex<RecordConfig>,
    device: Device,
    piece: u64,
    /// Whether any recording wants samples: workers look at nothing else.
    active: AtomicBool,
    sessions: Mutex<Vec<Session>>,
    came: Condvar,
}

struct Session {
    id: String,
    release: Digest,
    stage: RecordStage,
    kinds: BTreeSet<RecordKind>,
    wanted: u64,
    counts: Counts,
    waiting: VecDeque<Taken>,
    /// What the recorder is reading.
    out: Option<Out>,
    /// Bytes of what is being made ready for it.
    preparing: u64,
    number: u64,
    ended: Option<EndReason>,
    asked: Instant,
}

struct Out {
    head: What,
    files: Vec<Vec<u8>>,
    /// What it counts for until it has arrived.
    bytes: u64,
}

impl Session {
    fn held(&self) -> u64 {
        let waiting: u64 = self.waiting.iter().map(|it| it.bytes).sum();
        waiting + self.preparing + self.out.as_ref().map_or(0, |out| out.bytes)
    }

    fn is_gone(&self) -> bool {
        self.asked.elapsed() > LEASE
    }
}

impl Recorder {
    /// For this device, whose messages have at most `max_payload` bytes.
    pub fn new(config: RecordConfig, device: Device, max_payload: usize) -> Self {
        Self {
            config: Mutex::new(config),
            device,
            piece: MAX_PIECE_BYTES.min(max_payload as u64),
            ..Self::default()
        }
    }

    /// From now on this may be recorded. A recording of more than that ends, and what waits for it goes.
    pub fn configure(&self, config: RecordConfig) {
        let mut sessions = self.lock();
        sessions.retain(|session| session.kinds.is_subset(&config.allow));
        self.note(&sessions);
        *self.lock_config() = config;
        drop(sessions);
        self.came.notify_all();
    }

    fn lock_config(&self) -> MutexGuard<'_, RecordConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody wants to see samples.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Shows a sample to all who record. It waits for nobody.
    pub fn offer(
        &self,
        release: &Verified<Release>,
        sample: &Sample,
        decision: Option<&Decision>,
        seen: &Trace,
    ) {
        self.show(release.digest(), sample, decision, seen);
    }

    fn show(&self, release: Digest, sample: &Sample, decision: Option<&Decision>, seen: &Trace) {
        let mut sessions = self.lock();
        sessions.retain(|session| !session.is_gone());
        let mut held: u64 = sessions.iter().map(Session::held).sum();
        let most = self.lock_config().buffer_bytes();
        for session in sessions.iter_mut().filter(|it| it.ended.is_none()) {
            if session.release != release {
                session.ended = Some(EndReason::ReleaseChanged);
                continue;
            }
            let Some(decision) = decision else {
                session.counts.failed += 1;
                continue;
            };
            let taken = Taken::of(session.stage, &session.kinds, sample, decision, seen);
            if taken.bytes > most.min(MAX_RECORDED_BYTES) || taken.told_bytes > self.piece {
                session.counts.too_large += 1;
            } else if held + taken.bytes > most {
                session.counts.dropped += 1;
            } else {
                held += taken.bytes;
                session.waiting.push_back(taken);
                session.counts.taken += 1;
                if session.counts.taken >= session.wanted {
                    session.ended = Some(EndReason::Count);
                }
            }
        }
        self.note(&sessions);
        self.came.notify_all();
    }

    /// Answers a request; `serving` is the release that serves now. One request at a time.
    ///
    /// # Errors
    /// A [`Refusal`] as JSON.
    pub fn answer(
        &self,
        request: &[u8],
        serving: Option<&Verified<Release>>,
    ) -> Result<Vec<u8>, Vec<u8>> {
        let asked = serde_json::from_slice(request)
            .map_err(|error| Refused::Request(error.to_string()))
            .and_then(|request| self.carry_out(request, serving));
        asked.map_err(|refused| serde_json::to_vec(&refused.refusal()).unwrap_or_default())
    }

    fn carry_out(
        &self,
        request: Request,
        serving: Option<&Verified<Release>>,
    ) -> Result<Vec<u8>, Refused> {
        let json = |text: serde_json::Result<Vec<u8>>| {
            text.map_err(|error| Refused::Unwritten(error.to_string()))
        };
        match request {
            Request::Open {
                stage,
                without,
                count,
            } => json(serde_json::to_vec(
                &self.open(stage, &without, count, serving)?,
            )),
            Request::Next { session, after } => {
                json(serde_json::to_vec(&self.next(&session, after)?))
            }
            Request::Read {
                session,
                number,
                file,
                offset,
                most,
            } => self.read(&session, number, file, offset, most),
            Request::End { session } => {
                let mut sessions = self.lock();
                let found = find(&mut sessions, &session)?;
                found.ended.get_or_insert(EndReason::Asked);
                self.note(&sessions);
                Ok(b"{}".to_vec())
            }
        }
    }

    fn open(
        &self,
        stage: RecordStage,
        without: &BTreeSet<RecordKind>,
        count: u64,
        serving: Option<&Verified<Release>>,
    ) -> Result<Opened, Refused> {
        let release = serving.ok_or(Refused::NoRelease)?;
        let mut sessions = self.lock();
        // Under the lock, so that what is allowed no more does not begin.
        let kinds = self.kinds(stage, without, release)?;
        sessions.retain(|session| !session.is_gone());
        if sessions.len() >= MAX_SESSIONS {
            return Err(Refused::Busy);
        }
        let id = Uuid::new_v4().to_string();
        tracing::info!(%stage, count, kinds = ?kinds, "a recording begins");
        sessions.push(Session {
            id: id.clone(),
            release: release.digest(),
            stage,
            kinds,
            wanted: count.clamp(1, MAX_RECORDED),
            counts: Counts::default(),
            waiting: VecDeque::new(),
            out: None,
            preparing: 0,
            number: 0,
            ended: None,
            asked: Instant::now(),
        });
        self.note(&sessions);
        Ok(Opened {
            session: id,
            site: self.device.site.clone(),
            device: self.device.name.clone(),
            release: RecordedRelease {
                name: release.name.clone(),
                generation: release.generation,
                digest: release.digest(),
            },
        })
    }

    /// What is recorded, if the device and the release allow all of it.
    fn kinds(
        &self,
        stage: RecordStage,
        without: &BTreeSet<RecordKind>,
        release: &Release,
    ) -> Result<BTreeSet<RecordKind>, Refused> {
        let all: &[RecordKind] = match stage {
            RecordStage::Sample => &[RecordKind::Sample, RecordKind::Insight],
            RecordStage::Pre | RecordStage::Infer => &RecordKind::ALL,
            RecordStage::Post => &[RecordKind::Insight],
        };
        let kinds: BTreeSet<_> = all
            .iter()
            .filter(|it| !without.contains(it))
            .copied()
            .collect();
        if kinds.is_empty() {
            return Err(Refused::Nothing(stage));
        }
        let missing = |has: &BTreeSet<RecordKind>| -> BTreeSet<_> {
            kinds.difference(has).copied().collect()
        };
        let has = &self.lock_config().allow.clone();
        if !missing(has).is_empty() {
            return Err(Refused::Device {
                missing: missing(has),
                has: has.clone(),
            });
        }
        let has = &release.data_contract.record;
        if !missing(has).is_empty() {
            return Err(Refused::Contract {
                release: release.name.clone(),
                generation: release.generation,
                missing: missing(has),
                has: has.clone(),
            });
        }
        let steps = &release.pipeline;
        let begin = PipelineInput::of(steps);
        let made = |is: fn(&Step) -> bool, instead| steps.iter().any(is) || begin == instead;
        let lacks = match stage {
            RecordStage::Pre
                if !made(
                    |it| matches!(it, Step::Preprocess { .. }),
                    PipelineInput::Tensors,
                ) =>
            {
                "has no preprocessor"
            }
            RecordStage::Infer
                if !made(
                    |it| matches!(it, Step::Infer { .. }),
                    PipelineInput::Outputs,
                ) =>
            {
                "has no infer step"
            }
            _ => return Ok(kinds),
        };
        Err(Refused::Stage {
            release: release.name.clone(),
            stage,
            lacks,
        })
    }

    fn next(&self, id: &str, after: u64) -> Result<Next, Refused> {
        let until = Instant::now() + WAIT;
        let mut sessions = self.lock();
        loop {
            let session = find(&mut sessions, id)?;
            if let Some(out) = &session.out {
                // An answer may have been lost: it is given again until the next one is asked for.
                if session.number > after {
                    return Ok(session.told(out.head.clone()));
                }
                session.out = None;
            }
            if let Some(taken) = session.waiting.pop_front() {
                session.preparing = taken.bytes;
                let number = session.number + 1;
                // No worker waits for files to be written.
                drop(sessions);
                return self.prepared(id, number, taken);
            }
            if let Some(reason) = session.ended {
                return Ok(session.told(What::Ended { reason }));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(session.told(What::Waiting));
            }
            sessions = self
                .came
                .wait_timeout(sessions, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Makes the files of a sample ready to be read.
    fn prepared(&self, id: &str, number: u64, taken: Taken) -> Result<Next, Refused> {
        let out = Out::of(number, taken);
        let mut sessions = self.lock();
        let session = find(&mut sessions, id)?;
        session.preparing = 0;
        match out {
            Ok(out) => {
                session.number = number;
                let head = out.head.clone();
                session.out = Some(out);
                Ok(session.told(head))
            }
            Err(refused) => {
                session.counts.taken -= 1;
                session.counts.dropped += 1;
                Err(refused)
            }
        }
    }

    fn read(
        &self,
        id: &str,
        number: u64,
        file: usize,
        offset: u64,
        most: u64,
    ) -> Result<Vec<u8>, Refused> {
        let mut sessions = self.lock();
        let session = find(&mut sessions, id)?;
        let out = session.out.as_ref().filter(|_| session.number == number);
        let bytes = out.and_then(|out| out.files.get(file));
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = bytes.and_then(|bytes| bytes.get(offset..));
        let rest = rest.ok_or(Refused::Unknown)?;
        let most = usize::try_from(most.min(self.piece)).unwrap_or(usize::MAX);
        Ok(rest.get(..most).unwrap_or(rest).to_vec())
    }

    fn note(&self, sessions: &[Session]) {
        let active = sessions.iter().any(|session| session.ended.is_none());
        self.active.store(active, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A recording, which is thereby asked for.
fn find<'a>(sessions: &'a mut [Session], id: &str) -> Result<&'a mut Session, Refused> {
    let mut all = sessions.iter_mut();
    let found = all.find(|session| session.id == id && !session.is_gone());
    let found = found.ok_or(Refused::Unknown)?;
    found.asked = Instant::now();
    Ok(found)
}

impl Session {
    const fn told(&self, what: What) -> Next {
        Next {
            what,
            counts: self.counts,
        }
    }
}

impl Out {
    fn of(number: u64, taken: Taken) -> Result<Self, Refused> {
        let entry = taken.entry.clone();
        let bytes = taken.bytes;
        let unwritten = |error| Refused::Unwritten(hotshoe_base::chain(&error));
        let files: Vec<(RecordedPart, Vec<u8>)> = taken.files().map_err(unwritten)?;
        let heads = files.iter().map(|(part, bytes)| FileHead {
            part: part.clone(),
            blob: Blob::of(bytes),
        });
        Ok(Self {
            head: What::Entry {
                number,
                entry,
                files: heads.collect(),
            },
            files: files.into_iter().map(|(_, bytes)| bytes).collect(),
            bytes,
        })
    }
}

#[cfg(test)]
mod tests;
