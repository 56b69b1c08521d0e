use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_daemon::pipeline::StageTime;
use hotshoe_daemon::{Client, Fed, FeedError, Status};
use hotshoe_engine::{Action, Insight, TextLine};
use serde::Deserialize;
use serde_json::Value;

use super::report::Input;
use crate::terminal::Terminal;

/// Samples that wait for an answer at once. More than the daemon has workers, so that its queue is never empty.
const IN_FLIGHT: usize = 6;
/// Longest time from sending a sample to its answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// A picture to feed.
pub struct Picture {
    /// Its file name.
    pub name: String,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What came back.
#[derive(Default)]
pub struct Collected {
    /// By picture.
    pub inputs: BTreeMap<String, Input>,
    /// The lines read from each picture, as it was read last.
    pub text: BTreeMap<String, Vec<String>>,
    /// Times of each stage, in microseconds.
    pub stages: BTreeMap<String, Vec<u64>>,
    /// From the first sample to the last answer.
    pub elapsed: Duration,
}

/// Feeds the pictures in turn for this long, as fast as the daemon takes them, and prints what it reads.
pub fn feed(
    client: &Client,
    device: &Status,
    pictures: &[Picture],
    time: Duration,
    terminal: &Terminal,
) -> anyhow::Result<Collected> {
    let feeder = client.feeder(&device.site, &device.device, IN_FLIGHT, ANSWER_DEADLINE);
    let mut collected = Collected::default();
    let started = Instant::now();
    // Every picture once at least, however short the time.
    for (number, picture) in pictures.iter().cycle().enumerate() {
        if started.elapsed() >= time && number >= pictures.len() {
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

impl Collected {
    fn take(&mut self, fed: Fed, terminal: &Terminal) -> anyhow::Result<()> {
        let input = self.inputs.entry(fed.name.clone()).or_default();
        let elapsed_us = u64::try_from(fed.elapsed.as_micros()).unwrap_or(u64::MAX);
        let answer = match fed.result {
            Ok(answer) => answer,
            Err(error) => {
                match &error {
                    FeedError::Refused(body) if is_drop(body) => input.dropped += 1,
                    FeedError::Refused(_) | FeedError::NoReply => input.failed += 1,
                }
                terminal.note(format!("{} {}: {error}", fed.name, fed.id));
                return Ok(());
            }
        };
        let answer: Answer =
            serde_json::from_value(answer).context("the daemon's answer has another form")?;
        input.results += 1;
        input.elapsed_us.push(elapsed_us);
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
    /// None where the policy kept it on the device.
    insight: Option<Insight>,
    actions: Vec<Action>,
    stages: Vec<StageTime>,
}

impl Answer {
    fn lines(&self) -> &[TextLine] {
        match &self.insight {
            Some(Insight::Text { lines }) => lines,
            _ => &[],
        }
    }

    /// The lines of text, and what the policy decided about them.
    fn print(&self, terminal: &Terminal) -> anyhow::Result<()> {
        for line in self.lines() {
            terminal.print(format!("  {:.2}  {}", line.score, line.text))?;
        }
        for action in &self.actions {
            let said = match action {
                Action::Publish => continue,
                Action::Drop { reason } => format!("  kept on the device: {reason}"),
                Action::Alert { message, .. } => format!("  alert: {message}"),
            };
            terminal.print(terminal.warning(&said))?;
        }
        Ok(())
    }
}

fn is_drop(body: &Value) -> bool {
    body.get("stage").is_some_and(|stage| stage == "queue")
}
