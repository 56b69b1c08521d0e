//! From publishing a release with another model to its first result, against a plain transfer and loading.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_config::InferenceConfig;
use hotshoe_config::ZenohConfig;
use hotshoe_config::default_allowed;
use hotshoe_engine::{Engine, EngineOptions};
use hotshoe_infer::{Models, Options};
use hotshoe_link::Client;
use hotshoe_link::{RawQueryable, RawSession};
use hotshoe_pipeline::Pipeline;
use hotshoe_store::{LayoutError, Phase};
use hotshoe_trust::{Device, Digest, Floor, Time};
use serde_json::Value;

use super::lines::first_line;
use super::report::{Row, Unit};
use super::setup::{BenchSetup, PackedRelease, TOTAL, process, sample};
use super::site::Site;
use super::timings::{Timings, alternate, timing};
use hotshoe_devkit::with_doc_string;
use hotshoe_release::daemon_process::free_endpoint;
use hotshoe_release::verify;

/// Highest accepted ratio to the plain transfer and loading.
const TARGET: f64 = 1.3;
/// Longest time to an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// A health gate that the first result passes.
const HEALTH: &str = "min-samples = 1\nmin-seconds = 0";
/// The model that differs in each release.
const MODEL: &str = "recognise";

/// Alternates both sides, each round with a new model.
pub(crate) fn measure(setup: &BenchSetup<'_>, rounds: usize) -> anyhow::Result<Vec<Row>> {
    let line = first_line(setup)?;
    let first = release(setup, 1)?;
    let mut site = Site::start(setup, "first-result", &first.layout)?;
    let plain = Plain::start(setup)?;
    // Even generations are delivered, odd ones are loaded in this process.
    let (mut even, mut odd) = ((2_u64..).step_by(2), (3_u64..).step_by(2));
    let next_release =
        |generation: Option<u64>| release(setup, generation.context("generations are exhausted")?);
    let (ours, theirs) = alternate(
        rounds,
        || delivered(&mut site, &next_release(even.next())?, &line),
        || plain.first_result(setup, &next_release(odd.next())?, &line),
    )?;
    plain.close();
    site.stop()?;
    let mut rows = vec![
        Row::compared(
            "publish to first result, 10 MB",
            Unit::Millis,
            ours.median(TOTAL)?,
            ("plain get, load and run", theirs.median(TOTAL)?),
            Some(TARGET),
        ),
        Row::alone("plain: get", Unit::Millis, theirs.median(GET)?, None),
        Row::alone("plain: load", Unit::Millis, theirs.median(LOAD)?, None),
    ];
    for phase in PHASES {
        let reached = ours.median(&phase.to_string())?;
        let name = format!("delivered: publish to {phase}");
        rows.push(Row::alone(&name, Unit::Millis, reached, None));
    }
    Ok(rows)
}

/// The key of the plain value.
const KEY: &str = "bench/model";
const GET: &str = "get";
const LOAD: &str = "load";
/// The intermediate phases that get a row.
const PHASES: [Phase; 4] = [
    Phase::Verified,
    Phase::Staged,
    Phase::SelfTested,
    Phase::Trial,
];

/// From publishing to the first result of the new release.
fn delivered(site: &mut Site, packed: &PackedRelease, line: &[u8]) -> anyhow::Result<Timings> {
    let mut steps = Vec::new();
    let published = site.try_out(packed, |step| steps.push((step.phase, step.at)))?;
    let generation = packed.release.generation;
    let started = Instant::now();
    while started.elapsed() < ANSWER_DEADLINE {
        if ask(&site.client, site, line)? == Some(generation) {
            let total = published.at.elapsed();
            site.confirmed(&published)?;
            let since = |at: Instant| at.saturating_duration_since(published.at);
            let mut timings = vec![timing(TOTAL, total)];
            timings.extend(PHASES.map(|phase| {
                let step = steps.iter().find(|(reached, _)| *reached == phase);
                timing(phase.to_string(), step.map_or(total, |(_, at)| since(*at)))
            }));
            return Ok(timings);
        }
    }
    bail!("generation {generation} gave no result")
}

/// The generation that currently serves.
fn ask(client: &Client, site: &Site, line: &[u8]) -> anyhow::Result<Option<u64>> {
    let feeder = client.feeder(&site.device.site, &site.device.device, 1, ANSWER_DEADLINE);
    feeder.send("line", "image/png", "line", line.to_owned())?;
    let fed = feeder
        .next(ANSWER_DEADLINE)
        .context("the daemon did not answer")?;
    let answer = fed.result?;
    Ok(answer
        .pointer("/release/generation")
        .and_then(Value::as_u64))
}

/// The same without Hotshoe's delivery: one query for the model and a pipeline in this process.
struct Plain {
    server: RawSession,
    value: RawQueryable,
    client: RawSession,
    engine: Engine,
    models: Models,
}

impl Plain {
    fn start(setup: &BenchSetup<'_>) -> anyhow::Result<Self> {
        let endpoint = free_endpoint()?;
        let zenoh = |listen: &[String], connect: &[String]| ZenohConfig {
            listen: listen.to_vec(),
            connect: connect.to_vec(),
            max_message_bytes: 64 << 20,
            ..ZenohConfig::default()
        };
        let endpoint = [endpoint];
        let options = EngineOptions {
            cache: Some(setup.folder().join("plain-cache")),
            ..EngineOptions::default()
        };
        let server = RawSession::open(&zenoh(&endpoint, &[]))?;
        let value = server.serve(KEY, b"nothing yet".to_vec())?;
        let client = RawSession::open(&zenoh(&[], &endpoint))?;
        let found = client.find(KEY, ANSWER_DEADLINE)?;
        anyhow::ensure!(found, "the plain query was not answered");
        Ok(Self {
            server,
            value,
            client,
            engine: Engine::new(options).context("cannot start the engine")?,
            models: Models::new(Options::default()),
        })
    }

    fn first_result(
        &self,
        setup: &BenchSetup<'_>,
        packed: &PackedRelease,
        line: &[u8],
    ) -> anyhow::Result<Timings> {
        let device = Device::default();
        let (layout, release) = verify::verify(
            &packed.layout,
            setup.trust(),
            &Floor::none(),
            &device,
            Time::now(),
        )?;
        let model = packed
            .release
            .models
            .get(MODEL)
            .and_then(|m| m.variants.first());
        let model = model.context("a model")?.blob;
        self.value.set(layout.read(&model)?);
        let sample = sample(line);
        let started = Instant::now();
        let bytes = self
            .client
            .get(KEY, ANSWER_DEADLINE, <[u8]>::to_vec)?
            .context("the plain query was not answered")?;
        let got = started.elapsed();
        let read = |blob: &hotshoe_trust::Blob| -> Result<Vec<u8>, LayoutError> {
            if blob.digest == model.digest {
                Ok(bytes.clone())
            } else {
                layout.read(blob)
            }
        };
        let pipeline = Pipeline::load(
            release,
            read,
            &self.engine,
            &self.models,
            &default_allowed(),
            &InferenceConfig::default(),
        )?;
        let loaded = started.elapsed();
        process(&mut pipeline.worker(), &sample)?;
        let total = started.elapsed();
        anyhow::ensure!(
            Digest::of(&bytes) == model.digest,
            "the received bytes differ"
        );
        Ok(vec![
            timing(TOTAL, total),
            timing(GET, got),
            timing(LOAD, loaded.saturating_sub(got)),
        ])
    }

    fn close(self) {
        drop(self.value);
        self.client.close();
        self.server.close();
    }
}

/// A release of the line recogniser with a unique model.
fn release(setup: &BenchSetup<'_>, generation: u64) -> anyhow::Result<PackedRelease> {
    let model = setup.folder().join(format!("{MODEL}-{generation}.onnx"));
    let bytes = with_doc_string(&setup.model_path(MODEL), &format!("round {generation}"))?;
    std::fs::write(&model, bytes).with_context(|| format!("cannot write {}", model.display()))?;
    let recipe = format!(
        r#"name = "line"
generation = {generation}
expires-in = "1d"

[health]
{HEALTH}

[components.recognise-text-pre]
file = "{pre}"
world = "preprocessor"
grants = ["vision"]

[components.recognise-text-post]
file = "{post}"
world = "postprocessor"
grants = ["infer"]
models = ["recognise"]

[components.empty-policy]
file = "{policy}"
world = "policy"

[models.recognise]
file = "{model}"

[[pipeline]]
preprocess = "recognise-text-pre"

[[pipeline]]
infer = "recognise"

[[pipeline]]
postprocess = "recognise-text-post"

[[pipeline]]
policy = "empty-policy"
"#,
        pre = setup.guest("recognise-text-pre").display(),
        post = setup.guest("recognise-text-post").display(),
        policy = setup.guest("empty-policy").display(),
        model = model.display()
    );
    setup.make(&format!("line-{generation}"), &recipe)
}
