use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_engine::{Action, Insight, TextLine};
use hotshoe_link::{Client, FeedError, FeedReply};
use hotshoe_pipeline::StageTime;
use hotshoe_protocol::status::Status;
use serde::Deserialize;
use serde_json::Value;

use super::report::Input;
use hotshoe_release::terminal::Terminal;

/// Samples in flight. More than the daemon has workers, so its queue is never empty; fewer than the capacity of the
/// queue, so no sample is dropped on a slow machine.
const IN_FLIGHT: usize = 6;
/// Longest time from sending a sample to its answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// A picture to feed.
pub(crate) struct Picture {
    /// Its file name.
    pub name: String,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The results of feeding.
#[derive(Default)]
pub(crate) struct FeedResults {
    /// By picture.
    pub inputs: BTreeMap<String, Input>,
    /// The lines read from each picture, as it was read last.
    pub text: BTreeMap<String, Vec<String>>,
    /// Times of each stage, in microseconds.
    pub stages: BTreeMap<String, Vec<u64>>,
    /// By the generation of the release that answered.
    pub generations: BTreeMap<u64, ReleaseResults>,
    /// When results arrived, in the order in which they were read.
    pub arrivals: Vec<Instant>,
    /// When each sample without an answer was sent.
    sent: BTreeMap<String, Instant>,
    /// From the first sample to the last answer.
    pub elapsed: Duration,
}

/// The results of one release.
#[derive(Default)]
pub(crate) struct ReleaseResults {
    /// Samples with a result.
    pub results: u64,
    /// Samples that failed.
    pub failed: u64,
    /// When its first result arrived.
    pub first: Option<Instant>,
}

/// Feeds the pictures in turn as fast as the daemon accepts them, and prints the results. Ends when `enough`, which gets
/// the time since the first sample, returns true.
pub(crate) fn feed(
    client: &Client,
    device: &Status,
    pictures: &[Picture],
    enough: impl Fn(Duration) -> bool,
    terminal: &Terminal,
) -> anyhow::Result<FeedResults> {
    let feeder = client.feeder(&device.site, &device.device, IN_FLIGHT, ANSWER_DEADLINE);
    let mut collected = FeedResults::default();
    let started = Instant::now();
    // Every picture at least once, however short the time.
    for (number, picture) in pictures.iter().cycle().enumerate() {
        if number >= pictures.len() && enough(started.elapsed()) {
            break;
        }
        let id = format!("demo-{number}");
        feeder
            .send(
                &picture.name,
                picture.content_type,
                &id,
                picture.bytes.clone(),
            )
            .context("cannot feed the daemon")?;
        // `send` waits for a free slot first, so this is close to the time of sending.
        collected.sent.insert(id, Instant::now());
        collected
            .inputs
            .entry(picture.name.clone())
            .or_default()
            .samples += 1;
        while let Some(fed) = feeder.next(Duration::ZERO) {
            collected.take(fed, terminal)?;
        }
    }
    while feeder.outstanding() > 0 {
        match feeder.next(ANSWER_DEADLINE) {
            Some(fed) => collected.take(fed, terminal)?,
            None => break,
        }
    }
    while let Some(fed) = feeder.next(Duration::ZERO) {
        collected.take(fed, terminal)?;
    }
    collected.elapsed = started.elapsed();
    Ok(collected)
}

impl FeedResults {
    fn take(&mut self, fed: FeedReply, terminal: &Terminal) -> anyhow::Result<()> {
        let input = self.inputs.entry(fed.name.clone()).or_default();
        let elapsed_us = u64::try_from(fed.elapsed.as_micros()).unwrap_or(u64::MAX);
        let sent = self.sent.remove(&fed.id);
        let arrived = sent.map_or_else(Instant::now, |sent| sent + fed.elapsed);
        let answer = match fed.result {
            Ok(answer) => answer,
            Err(error) => {
                match &error {
                    FeedError::Refused(body) if is_drop(body) => input.dropped += 1,
                    FeedError::Refused(body) => {
                        input.failed += 1;
                        let generation = body.pointer("/release/generation");
                        if let Some(generation) = generation.and_then(Value::as_u64) {
                            self.generations.entry(generation).or_default().failed += 1;
                        }
                    }
                    FeedError::NoReply => input.lost += 1,
                }
                terminal.note(format!("{} {}: {}", fed.name, fed.id, reason(&error)));
                return Ok(());
            }
        };
        let answer: Answer =
            serde_json::from_value(answer).context("the daemon's answer has an unexpected form")?;
        input.results += 1;
        input.elapsed_us.push(elapsed_us);
        self.arrivals.push(arrived);
        let generation = self
            .generations
            .entry(answer.release.generation)
            .or_default();
        generation.results += 1;
        generation.first.get_or_insert(arrived);
        let mut times = Vec::new();
        for stage in &answer.stages {
            let stages = self.stages.entry(stage.name.clone()).or_default();
            stages.push(stage.micros);
            times.push(format!(
                "{} {:.1} ms",
                stage.name,
                stage.micros as f64 / 1000.0
            ));
        }
        if !terminal.json {
            let head = terminal.bold(&format!("{} {}", fed.name, fed.id));
            terminal.print(format!("{head}  {}", terminal.dim(&times.join(", "))))?;
            answer.print(terminal)?;
        }
        let text = answer.lines().iter().map(|line| line.text.clone());
        self.text.insert(fed.name, text.collect());
        Ok(())
    }
}

/// The daemon's answer to a sample.
#[derive(Deserialize)]
struct Answer {
    release: AnsweringRelease,
    /// None if the policy dropped it.
    insight: Option<Insight>,
    actions: Vec<Action>,
    stages: Vec<StageTime>,
}

#[derive(Deserialize)]
struct AnsweringRelease {
    generation: u64,
}

impl Answer {
    fn lines(&self) -> &[TextLine] {
        match &self.insight {
            Some(Insight::Text { lines }) => lines,
            _ => &[],
        }
    }

    /// Prints the lines of text and the policy's decision.
    fn print(&self, terminal: &Terminal) -> anyhow::Result<()> {
        for line in self.lines() {
            terminal.print(format!("  {:.2}  {}", line.score, line.text))?;
        }
        for action in &self.actions {
            let said = match action {
                Action::Publish => continue,
                Action::Drop { reason } => format!("  kept on the device: {reason}"),
                Action::Alert { message, .. } => format!("  alert: {message}"),
                Action::Send { topic, .. } => format!("  sent under {topic}"),
            };
            terminal.print(terminal.warning(&said))?;
        }
        Ok(())
    }
}

/// The daemon's error as one line.
fn reason(error: &FeedError) -> String {
    let text = |body: &Value, key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
    match error {
        FeedError::Refused(body) => {
            let [stage, fault] =
                ["stage", "fault"].map(|key| text(body, key).unwrap_or_else(|| "?".to_owned()));
            format!("failed at {stage}: {fault}")
        }
        FeedError::NoReply => error.to_string(),
    }
}

fn is_drop(body: &Value) -> bool {
    body.get("stage").is_some_and(|stage| stage == "queue")
}
