//! Recording of samples, tensors and insights for an operator, if the device's configuration and the release both allow it.
//!
//! The recorder pulls, so nothing is sent without a receiver. The buffer is bounded in bytes over all recordings. A worker never waits
//! for room in it: if it is full, the sample is counted and not recorded.

mod error;
mod recorded_sample;
mod wire;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_config::RecordConfig;
use hotshoe_egress::{Classifier, Egress};
use hotshoe_pipeline::{Decision, Trace};
use hotshoe_store::{MAX_RECORDED, MAX_RECORDED_BYTES, RecordStage, RecordedPart, RecordedRelease};
use hotshoe_trust::{Blob, Device, Digest, PipelineInput, RecordKind, Release, Step, Verified};
use parking_lot::{Condvar, Mutex, MutexGuard};
use uuid::Uuid;

use self::error::RecordError;
use self::recorded_sample::RecordedSample;

pub use self::wire::{
    Counts, EndReason, FileHead, Next, NextItem, Opened, RecordWhy, RefusalBody, Request,
};

/// Most concurrent recordings. One that has ended is not counted.
pub const MAX_SESSIONS: usize = 4;
/// Most ended recordings whose last samples can still be read.
const MAX_ENDED: usize = 16;
/// Most bytes of a file in one answer.
pub const MAX_PIECE_BYTES: u64 = 1 << 20;
/// A recorder that is silent for this time has gone.
const LEASE: Duration = Duration::from_secs(30);
/// Longest wait of a request for a sample.
const WAIT: Duration = Duration::from_millis(500);

/// The release that serves, and what decides about its outputs.
type Served<'a> = (&'a Verified<Release>, &'a Classifier);

/// All recordings of a device.
#[derive(Default)]
pub struct Recorder {
    config: Mutex<RecordConfig>,
    device: Device,
    piece: u64,
    /// Whether any recording wants samples. Workers check only this.
    active: AtomicBool,
    sessions: Mutex<Vec<Session>>,
    came: Condvar,
    clock: Clock,
}

struct Session {
    id: String,
    release: Digest,
    stage: RecordStage,
    kinds: BTreeSet<RecordKind>,
    /// Which samples it takes. `None`: all of them.
    why: Option<RecordWhy>,
    wanted: u64,
    counts: Counts,
    waiting: VecDeque<RecordedSample>,
    /// The sample that the recorder is reading.
    current: Option<CurrentEntry>,
    /// Bytes of the sample whose files are being prepared.
    preparing: u64,
    number: u64,
    ended: Option<EndReason>,
    asked: Instant,
}

struct CurrentEntry {
    head: NextItem,
    files: Vec<Egress>,
    /// Its share of the buffer.
    bytes: u64,
}

impl Session {
    fn held(&self) -> u64 {
        let waiting: u64 = self.waiting.iter().map(|it| it.bytes).sum();
        waiting + self.preparing + self.current.as_ref().map_or(0, |current| current.bytes)
    }

    fn is_gone(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) > LEASE
    }

    /// Drops the samples that waited for longer than their class allows.
    fn drop_old(&mut self, now: Instant) {
        let before = self.waiting.len();
        self.waiting
            .retain(|sample| sample.keep_until.is_none_or(|until| now < until));
        let dropped = (before - self.waiting.len()) as u64;
        self.counts.taken = self.counts.taken.saturating_sub(dropped);
        self.counts.dropped += dropped;
    }
}

impl Recorder {
    /// A recorder for this device. `max_payload` is the largest answer in bytes.
    pub fn new(config: RecordConfig, device: Device, max_payload: usize, clock: Clock) -> Self {
        Self {
            config: Mutex::new(config),
            device,
            clock,
            piece: MAX_PIECE_BYTES.min(max_payload as u64),
            ..Self::default()
        }
    }

    /// Changes what may be recorded. A recording of more than that ends, and its waiting samples are dropped.
    pub fn configure(&self, config: RecordConfig) {
        let mut sessions = self.lock();
        sessions.retain(|session| session.kinds.is_subset(&config.allow));
        self.update_active(&sessions);
        *self.lock_config() = config;
        drop(sessions);
        self.came.notify_all();
    }

    fn lock_config(&self) -> MutexGuard<'_, RecordConfig> {
        self.config.lock()
    }

    /// Whether the operator allows data of this kind.
    pub fn allows(&self, kind: RecordKind) -> bool {
        self.lock_config().allow.contains(&kind)
    }

    /// Whether any recording wants samples.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Offers a sample to all recordings that take every sample, without blocking.
    pub fn offer(
        &self,
        release: Digest,
        classifier: &Arc<Classifier>,
        decision: Option<&Decision>,
        seen: &Trace,
    ) {
        self.offer_as(None, release, classifier, decision, seen);
    }

    /// Offers a sample of a device that drifts to the recordings of such samples, without blocking.
    pub(crate) fn offer_drifting(
        &self,
        release: Digest,
        classifier: &Arc<Classifier>,
        decision: &Decision,
        seen: &Trace,
    ) {
        let why = Some(RecordWhy::Drift);
        self.offer_as(why, release, classifier, Some(decision), seen);
    }

    fn offer_as(
        &self,
        why: Option<RecordWhy>,
        release: Digest,
        classifier: &Arc<Classifier>,
        decision: Option<&Decision>,
        seen: &Trace,
    ) {
        let mut sessions = self.lock();
        let now = self.clock.now();
        sessions.retain(|session| !session.is_gone(now));
        for session in sessions.iter_mut() {
            session.drop_old(now);
        }
        let mut held: u64 = sessions.iter().map(Session::held).sum();
        let most = self.lock_config().buffer_bytes();
        for session in sessions.iter_mut().filter(|it| it.ended.is_none()) {
            if session.release != release {
                // A sample that is measured may be of a release that no longer serves.
                if why.is_none() {
                    session.ended = Some(EndReason::ReleaseChanged);
                }
                continue;
            }
            if session.why != why {
                continue;
            }
            // Only the sample of the trace has masks.
            let (Some(decision), Some(sample)) = (decision, &seen.sample) else {
                session.counts.failed += 1;
                continue;
            };
            let (stage, kinds) = (session.stage, &session.kinds);
            let mut taken = RecordedSample::of(stage, kinds, sample, decision, seen, classifier);
            let retentions = kinds
                .iter()
                .map(|kind| classifier.record_retention_s(*kind));
            let retention = retentions.flatten().min().map(Duration::from_secs);
            taken.keep_until = retention.map(|retention| self.clock.deadline(retention));
            if taken.bytes > most.min(MAX_RECORDED_BYTES) || taken.actions_bytes > self.piece {
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
        self.update_active(&sessions);
        self.came.notify_all();
    }

    /// Answers a request, one at a time. `serving` is the release that serves.
    ///
    /// # Errors
    /// A [`RefusalBody`] as JSON.
    pub fn answer(&self, request: &[u8], serving: Option<Served<'_>>) -> Result<Egress, Egress> {
        let asked = serde_json::from_slice(request)
            .map_err(|error| RecordError::Request(error.to_string()))
            .and_then(|request| self.carry_out(request, serving));
        asked.map_err(|refused| Classifier::host(&refused.body()))
    }

    fn carry_out(
        &self,
        request: Request,
        serving: Option<Served<'_>>,
    ) -> Result<Egress, RecordError> {
        match request {
            Request::Open {
                stage,
                without,
                count,
                why,
            } => {
                let opened = self.open(stage, &without, count, why, serving)?;
                Ok(Classifier::host(&opened))
            }
            // The actions in it were classified when they were recorded.
            Request::Next { session, after } => Ok(Classifier::host(&self.next(&session, after)?)),
            Request::Read {
                session,
                number,
                file,
                offset,
                most,
            } => self.read(&session, number, file, offset, most),
            Request::End { session } => {
                let mut sessions = self.lock();
                let found = find(&mut sessions, &session, self.clock.now())?;
                found.ended.get_or_insert(EndReason::Asked);
                self.update_active(&sessions);
                Ok(Classifier::host(&serde_json::json!({})))
            }
        }
    }

    fn open(
        &self,
        stage: RecordStage,
        without: &BTreeSet<RecordKind>,
        count: u64,
        why: Option<RecordWhy>,
        serving: Option<Served<'_>>,
    ) -> Result<Opened, RecordError> {
        let (release, classifier) = serving.ok_or(RecordError::NoRelease)?;
        let mut sessions = self.lock();
        // Under the lock, so that a change of the configuration applies to this recording too.
        let kinds = self.kinds(stage, without, release)?;
        for kind in &kinds {
            classifier.may_record(*kind).map_err(RecordError::Class)?;
        }
        if why == Some(RecordWhy::Drift) && release.drift.is_none() {
            return Err(RecordError::NoDrift {
                release: release.name.clone(),
                generation: release.generation,
            });
        }
        let now = self.clock.now();
        make_room(&mut sessions, now)?;
        let id = Uuid::new_v4().to_string();
        tracing::info!(%stage, count, kinds = ?kinds, "recording started");
        sessions.push(Session {
            id: id.clone(),
            release: release.digest(),
            stage,
            kinds,
            why,
            wanted: count.clamp(1, MAX_RECORDED),
            counts: Counts::default(),
            waiting: VecDeque::new(),
            current: None,
            preparing: 0,
            number: 0,
            ended: None,
            asked: now,
        });
        self.update_active(&sessions);
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

    /// The kinds to record, if the device and the release allow all of them.
    fn kinds(
        &self,
        stage: RecordStage,
        without: &BTreeSet<RecordKind>,
        release: &Release,
    ) -> Result<BTreeSet<RecordKind>, RecordError> {
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
            return Err(RecordError::Nothing(stage));
        }
        let missing = |has: &BTreeSet<RecordKind>| -> BTreeSet<_> {
            kinds.difference(has).copied().collect()
        };
        let has = &self.lock_config().allow.clone();
        if !missing(has).is_empty() {
            return Err(RecordError::Device {
                missing: missing(has),
                has: has.clone(),
            });
        }
        let has = &release.data_contract.record;
        if !missing(has).is_empty() {
            return Err(RecordError::Contract {
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
        Err(RecordError::Stage {
            release: release.name.clone(),
            stage,
            lacks,
        })
    }

    fn next(&self, id: &str, after: u64) -> Result<Next, RecordError> {
        let until = self.clock.now() + WAIT;
        let mut sessions = self.lock();
        loop {
            let session = find(&mut sessions, id, self.clock.now())?;
            if let Some(current) = &session.current {
                // The answer may have been lost, so it is repeated until the next sample is requested.
                if session.number > after {
                    return Ok(session.reply(current.head.clone()));
                }
                session.current = None;
            }
            session.drop_old(self.clock.now());
            if let Some(taken) = session.waiting.pop_front() {
                session.preparing = taken.bytes;
                let number = session.number + 1;
                // Files are written without the lock, so that no worker waits.
                drop(sessions);
                return self.prepare_files(id, number, taken);
            }
            if let Some(reason) = session.ended {
                return Ok(session.reply(NextItem::Ended { reason }));
            }
            if self.clock.now() >= until {
                return Ok(session.reply(NextItem::Waiting));
            }
            self.clock.wait_until(&self.came, &mut sessions, until);
        }
    }

    /// Prepares the files of a sample.
    fn prepare_files(
        &self,
        id: &str,
        number: u64,
        taken: RecordedSample,
    ) -> Result<Next, RecordError> {
        let current = CurrentEntry::of(number, taken);
        let mut sessions = self.lock();
        let session = find(&mut sessions, id, self.clock.now())?;
        session.preparing = 0;
        match current {
            Ok(current) => {
                session.number = number;
                let head = current.head.clone();
                session.current = Some(current);
                Ok(session.reply(head))
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
    ) -> Result<Egress, RecordError> {
        let mut sessions = self.lock();
        let session = find(&mut sessions, id, self.clock.now())?;
        let current = session
            .current
            .as_ref()
            .filter(|_| session.number == number);
        let file = current.and_then(|current| current.files.get(file));
        let file = file.ok_or(RecordError::Unknown)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let most = usize::try_from(most.min(self.piece)).unwrap_or(usize::MAX);
        let end = offset.saturating_add(most).min(file.bytes().len());
        file.part(offset..end).ok_or(RecordError::Unknown)
    }

    fn update_active(&self, sessions: &[Session]) {
        let active = sessions.iter().any(|session| session.ended.is_none());
        self.active.store(active, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.sessions.lock()
    }
}

/// Makes room for one more recording.
fn make_room(sessions: &mut Vec<Session>, now: Instant) -> Result<(), RecordError> {
    sessions.retain(|session| !session.is_gone(now));
    let ended = sessions.iter().filter(|it| it.ended.is_some()).count();
    if sessions.len().saturating_sub(ended) >= MAX_SESSIONS {
        return Err(RecordError::Busy);
    }
    if ended >= MAX_ENDED {
        // One without samples first, then the one whose recorder is silent for the longest time.
        let ended = sessions.iter().enumerate();
        let ended = ended.filter(|(_, it)| it.ended.is_some());
        let oldest = ended.min_by_key(|(_, it)| (it.held() > 0, it.asked));
        if let Some((place, _)) = oldest {
            sessions.remove(place);
        }
    }
    Ok(())
}

/// Finds a recording, and renews its lease.
fn find<'a>(
    sessions: &'a mut [Session],
    id: &str,
    now: Instant,
) -> Result<&'a mut Session, RecordError> {
    let mut all = sessions.iter_mut();
    let found = all.find(|session| session.id == id && !session.is_gone(now));
    let found = found.ok_or(RecordError::Unknown)?;
    found.asked = now;
    Ok(found)
}

impl Session {
    const fn reply(&self, what: NextItem) -> Next {
        Next {
            what,
            counts: self.counts,
        }
    }
}

impl CurrentEntry {
    fn of(number: u64, taken: RecordedSample) -> Result<Self, RecordError> {
        let entry = taken.entry.clone();
        let bytes = taken.bytes;
        let unwritten = |error| RecordError::Unwritten(hotshoe_base::chain(&error));
        let files: Vec<(RecordedPart, Egress)> = taken.files().map_err(unwritten)?;
        let heads = files.iter().map(|(part, bytes)| FileHead {
            part: part.clone(),
            blob: Blob::of(bytes.bytes()),
        });
        Ok(Self {
            head: NextItem::Entry {
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
