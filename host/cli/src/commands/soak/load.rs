//! Load for long: sources that come and go, swaps, rollbacks, an open page, and a look at the daemon from time to time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use hotshoe_config::ZenohConfig;
use hotshoe_engine::Sample;
use hotshoe_link::{Client, FeedError, FeedReply};
use hotshoe_release::terminal::Terminal;
use hotshoe_senses::Sketch;
use parking_lot::Mutex;
use serde::Serialize;

use super::SoakError;
use super::page::keep_open;
use super::site::{SoakSite, Workshop};
use super::watch::{Point, look};

/// Sources, each with a session of its own.
const SOURCES: u32 = 4;
/// How long the shortest of them stays; the next ones stay by as much longer.
const SHORTEST_STAY: Duration = Duration::from_secs(5);
/// Share of what the daemon can do that the sources ask for together.
const LOAD: f64 = 0.95;
/// How long it is measured what the daemon can do.
const CALIBRATION: Duration = Duration::from_secs(5);
/// Longest time to an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Most unanswered samples of a source, far more than there are at this load.
const IN_FLIGHT: usize = 256;
/// A source that is behind by more than this gives up the samples of the past.
const MOST_BEHIND: Duration = Duration::from_secs(1);
/// Time between two swaps, and between two rollbacks. A short soak has more of them: a sixth and a half of its length.
const SWAP_EVERY: Duration = Duration::from_secs(60);
const ROLL_BACK_EVERY: Duration = Duration::from_secs(600);
/// Points of a soak, at most one a second.
const POINTS: u32 = 240;
/// How often threads look whether the soak is over.
const LOOK: Duration = Duration::from_millis(100);

/// What a soak measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct LoadReport {
    pub(super) seconds: f64,
    /// Samples per second that the daemon can do, with all its threads busy.
    pub(super) capacity_per_s: f64,
    /// Samples per second that were sent.
    pub(super) rate_per_s: f64,
    pub(super) counts: Counts,
    pub(super) swaps: u64,
    pub(super) rollbacks: u64,
    /// Sessions of sources that came and went.
    pub(super) sessions: u64,
    /// Bytes that the open page got.
    pub(super) page_bytes: u64,
    /// Whether the daemon's own counters account for each sample.
    pub(super) add_up: bool,
    pub(super) points: Vec<Point>,
}

/// What happened to the samples.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) results: u64,
    /// Left out by a component.
    pub(super) skipped: u64,
    /// Refused or failed.
    pub(super) failed: u64,
    pub(super) unanswered: u64,
    /// The first failure.
    pub(super) failure: Option<String>,
}

/// Answers since the last point, and all counts.
#[derive(Default)]
struct Answers {
    window: Sketch,
    counts: Counts,
    sessions: u64,
}

impl Answers {
    fn take(&mut self, reply: &FeedReply) {
        match &reply.result {
            Ok(_) => {
                self.counts.results += 1;
                self.window.add(reply.elapsed.as_secs_f64() * 1_000.0);
            }
            Err(FeedError::Refused(body))
                if body.get("fault").is_some_and(|it| it == "skipped") =>
            {
                self.counts.skipped += 1;
            }
            Err(error) => {
                match error {
                    FeedError::Refused(_) => self.counts.failed += 1,
                    FeedError::NoReply => self.counts.unanswered += 1,
                }
                self.counts.failure.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// Runs it for `length`, or until it is stopped.
pub(super) fn run(
    workshop: &mut Workshop,
    samples: &[Sample],
    length: Duration,
    stopped: &AtomicBool,
    terminal: &Terminal,
) -> anyhow::Result<LoadReport> {
    let mut site = SoakSite::start(workshop, "loaded")?;
    let capacity = capacity(&site, samples)?;
    let rate = capacity * LOAD;
    terminal.note(format!(
        "{capacity:.1} samples per second at most; running {rate:.1} for {:.1} minutes",
        length.as_secs_f64() / 60.0
    ));
    let (answers, over) = (Mutex::new(Answers::default()), AtomicBool::new(false));
    let zenoh = site.zenoh.clone();
    let (names, page) = (site.names(), site.page.clone());
    let began = Instant::now();
    let outcome = thread::scope(|scope| {
        let (answers, over, zenoh, names) = (&answers, &over, &zenoh, &names);
        let sources: Vec<_> = (0..SOURCES)
            .map(|number| {
                let source = Source {
                    number,
                    zenoh,
                    names,
                    interval: Duration::from_secs_f64(f64::from(SOURCES) / rate),
                    samples,
                };
                scope.spawn(move || source.run(answers, over))
            })
            .collect();
        let page = scope.spawn(move || keep_open(&page, over));
        let driven = drive(&mut site, workshop, (length, stopped), answers, terminal);
        over.store(true, Ordering::Release);
        for source in sources {
            source.join().map_err(|_| anyhow!("a source panicked"))??;
        }
        let page_bytes = page.join().map_err(|_| anyhow!("the page panicked"))?;
        anyhow::Ok((driven?, page_bytes))
    });
    let (driven, page_bytes) = outcome?;
    let status = site.status()?;
    site.stop()?;
    let Answers {
        counts, sessions, ..
    } = answers.into_inner();
    let seconds = began.elapsed().as_secs_f64();
    Ok(LoadReport {
        seconds,
        capacity_per_s: capacity,
        rate_per_s: counts.sent as f64 / seconds,
        counts,
        sessions,
        page_bytes,
        add_up: status.counters.add_up(),
        ..driven
    })
}

/// Samples per second with all threads of the daemon busy.
fn capacity(site: &SoakSite, samples: &[Sample]) -> anyhow::Result<f64> {
    let client = site.connect()?;
    let in_flight = site.device.workers.max(1) * 2;
    let feeder = client.feeder(&site.device.site, &site.device.device, in_flight, ANSWER);
    let (mut answers, mut sent) = (Answers::default(), 0_u64);
    let began = Instant::now();
    for sample in samples.iter().cycle() {
        if began.elapsed() >= CALIBRATION {
            break;
        }
        let id = format!("calibration-{sent}");
        feeder.send(
            "calibration",
            &sample.content_type,
            &id,
            sample.payload.to_vec(),
        )?;
        sent += 1;
        while let Some(reply) = feeder.next(Duration::ZERO) {
            answers.take(&reply);
        }
    }
    while feeder.outstanding() > 0
        && let Some(reply) = feeder.next(ANSWER)
    {
        answers.take(&reply);
    }
    let seconds = began.elapsed().as_secs_f64();
    client.close();
    let counts = answers.counts;
    if counts.results == 0 {
        let reason = counts
            .failure
            .unwrap_or_else(|| "no answer in time".to_owned());
        return Err(SoakError::NoResult { reason }.into());
    }
    Ok(counts.results as f64 / seconds)
}

/// Swaps, rolls back and looks at the daemon until the end.
fn drive(
    site: &mut SoakSite,
    workshop: &mut Workshop,
    (length, stopped): (Duration, &AtomicBool),
    answers: &Mutex<Answers>,
    terminal: &Terminal,
) -> anyhow::Result<LoadReport> {
    let swap_every = SWAP_EVERY.min(length / 6);
    let roll_back_every = ROLL_BACK_EVERY.min(length / 2);
    let point_every = (length / POINTS).max(Duration::from_secs(1));
    let mut report = LoadReport::default();
    let began = Instant::now();
    let (mut next_swap, mut next_roll_back) = (swap_every, roll_back_every);
    let (mut next_point, mut results) = (Duration::ZERO, 0);
    while began.elapsed() < length && !stopped.load(Ordering::Acquire) {
        site.check()?;
        let at = began.elapsed();
        if at >= next_point {
            let mut point = look(site.id(), &site.data);
            let mut answers = answers.lock();
            let window = std::mem::take(&mut answers.window);
            point.at_s = at.as_secs_f64();
            point.samples = answers.counts.results - results;
            results = answers.counts.results;
            drop(answers);
            point.p95_ms = window.quantile(0.95);
            point.p999_ms = window.quantile(0.999);
            report.points.push(point);
            next_point = at + point_every;
        }
        if at >= next_roll_back {
            site.roll_back()?;
            report.rollbacks += 1;
            next_roll_back = at + roll_back_every;
            terminal.note(format!("{:>6.0} s  rolled back", at.as_secs_f64()));
        }
        if at >= next_swap {
            let took = site.swap(workshop, || Ok(()))?;
            report.swaps += 1;
            next_swap = at + swap_every;
            terminal.note(format!(
                "{:>6.0} s  swap {} confirmed after {:.1} s",
                at.as_secs_f64(),
                report.swaps,
                took.as_secs_f64()
            ));
        }
        thread::sleep(LOOK);
    }
    Ok(report)
}

/// A camera: it connects, sends at its rate, and goes again.
struct Source<'a> {
    number: u32,
    zenoh: &'a ZenohConfig,
    /// The site and the device.
    names: &'a (String, String),
    interval: Duration,
    samples: &'a [Sample],
}

impl Source<'_> {
    fn run(&self, answers: &Mutex<Answers>, over: &AtomicBool) -> anyhow::Result<()> {
        let stay = SHORTEST_STAY * (self.number + 1);
        while !over.load(Ordering::Acquire) {
            let client = Client::open(self.zenoh)?;
            let session = {
                let mut answers = answers.lock();
                answers.sessions += 1;
                answers.sessions
            };
            let sent = self.send(&client, session, stay, answers, over);
            client.close();
            sent?;
        }
        Ok(())
    }

    fn send(
        &self,
        client: &Client,
        session: u64,
        stay: Duration,
        answers: &Mutex<Answers>,
        over: &AtomicBool,
    ) -> anyhow::Result<()> {
        let (site, device) = self.names;
        let feeder = client.feeder(site, device, IN_FLIGHT, ANSWER);
        let name = format!("camera-{}", self.number);
        let began = Instant::now();
        let (mut due, mut number) = (began, 0_u64);
        let mut samples = self.samples.iter().cycle();
        while began.elapsed() < stay && !over.load(Ordering::Acquire) {
            let now = Instant::now();
            let left = due.saturating_duration_since(now);
            if !left.is_zero() {
                if let Some(reply) = feeder.next(left.min(LOOK)) {
                    answers.lock().take(&reply);
                }
                continue;
            }
            let Some(sample) = samples.next() else {
                break;
            };
            let id = format!("{session}-{number}");
            feeder.send(&name, &sample.content_type, &id, sample.payload.to_vec())?;
            answers.lock().counts.sent += 1;
            number += 1;
            due += self.interval;
            if now.saturating_duration_since(due) > MOST_BEHIND {
                due = now;
            }
        }
        while feeder.outstanding() > 0
            && let Some(reply) = feeder.next(ANSWER)
        {
            answers.lock().take(&reply);
        }
        while let Some(reply) = feeder.next(Duration::ZERO) {
            answers.lock().take(&reply);
        }
        Ok(())
    }
}
