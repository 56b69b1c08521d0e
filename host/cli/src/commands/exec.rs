use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use hotshoe_daemon::deploy::engine_options;
use hotshoe_daemon::intake::UNKNOWN_CONTENT_TYPE;
use hotshoe_daemon::media::content_type;
use hotshoe_daemon::output::ReleaseName;
use hotshoe_engine::{Action, Engine, Insight, Sample, agreement};
use hotshoe_infer::{Backend, BackendChoice, Models, Tensor};
use hotshoe_pipeline::{Backends, Outcome, Pipeline, SelfTestError, StageTime};
use hotshoe_trust::{Device, Floor, PipelineInput, Time};
use serde::Serialize;
use serde_json::json;

use super::model::InputsWriter;
use super::verify::verify;
use crate::device::{DeviceArgs, Identity};
use crate::files::{Readers, write_new};
use crate::logging;
use crate::terminal::Terminal;

/// Least agreement of what two backends make of a sample that is recorded: that of a self-test which states none.
const LEAST_AGREEMENT: f64 = 0.99;

/// Run a release on files, without a daemon
///
/// Verifies the release as a device would, runs its pipeline on each file, and prints one JSON object per input on a line of its
/// own: the insight, the actions and the time of each stage, or the error that it ended with. A bad input costs that input alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe exec target/demo/release page.png --trust target/demo/trust.toml

Example: record what a self-test of release.toml expects
  hotshoe exec my-release page.png --trust trust.toml --record tests/page.json

Example: keep what each model is given, to compare models on it
  hotshoe exec my-release *.png --trust trust.toml --save-inputs samples
  hotshoe model compare detect.onnx detect-int8.onnx --inputs samples/detect

An input may have as many bytes as a sample of the daemon: `[intake] max-sample-bytes` of --config. Exit code 1 if any input failed.")]
pub struct Args {
    /// The release
    #[arg(value_name = "RELEASE")]
    layout: PathBuf,
    /// The files, one sample each
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// Take all inputs as samples of this one source, in their order, as a model that carries a state from sample to sample
    /// needs it [default: each file is a source of its own]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Write the insight of the one input to this file, as the `expected` of a [[tests]] entry in release.toml. Where both
    /// backends run a model and make something else of it, --backend must say which is right
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Write what each model is given to DIR/MODEL/NUMBER.npz, for `hotshoe model compare`; numbers go on after those that are there
    #[arg(long, value_name = "DIR")]
    save_inputs: Option<PathBuf>,
    /// What runs the models: tract; ort; or auto, which measures both first [default: that of --config, where what the device
    /// remembers is taken and nothing is measured; else tract, and ort for what tract cannot run]
    #[arg(long, value_name = "BACKEND", value_parser = backend)]
    backend: Option<BackendChoice>,
    /// The library of ONNX Runtime [default: that of --config, else what ORT_DYLIB_PATH names, else the system's]
    #[arg(long, value_name = "FILE")]
    ort_library: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    input: &'a Path,
    release: ReleaseName<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    insight: Option<Insight>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<Action>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    stages: Vec<StageTime>,
}

#[derive(Serialize)]
struct Failure {
    stage: String,
    fault: &'static str,
    message: String,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("warn")?;
    if args.record.is_some() && args.inputs.len() != 1 {
        bail!("--record takes one input, since a self-test has one sample");
    }
    let Identity {
        trust,
        device,
        allow,
        data,
        mut inference,
        threads,
        compile,
        max_sample_bytes,
        ..
    } = args.device.identity()?;
    let (layout, release) = verify(&args.layout, &trust, &Floor::none(), &device, Time::now())?;
    let engine =
        Engine::new(engine_options(threads, compile, None)).context("cannot start the engine")?;
    if let Some(backend) = args.backend {
        inference.backend = backend;
        inference
            .models
            .values_mut()
            .for_each(|own| own.backend = None);
    }
    inference.library = args.ort_library.or(inference.library);
    let models = Models::new(inference.options());
    let blob = |blob: &_| layout.read(blob);
    let pipeline = Pipeline::load(release, blob, &engine, &models, &allow, &inference)
        .with_context(|| format!("cannot run {}", args.layout.display()))?;
    // What the device remembers is read; it alone writes it.
    let mut backends = match data {
        Some(data) => Backends::open(&data, &inference),
        None => Backends::in_memory(&inference),
    };
    if args.backend == Some(BackendChoice::Auto) {
        pipeline.decide(blob, &device, &mut backends);
    } else {
        pipeline.recall(&backends);
    }
    if let Some(undecided) = pipeline.undecided() {
        return Err(SelfTestError::from(undecided).into());
    }
    if let (Some(_), None, [input]) = (&args.record, args.backend, args.inputs.as_slice())
        && let Ok(sample) = read(input, args.source.as_deref(), max_sample_bytes)
    {
        check_alike(&pipeline, &sample, &device)?;
    }
    let again = layout.clone();
    pipeline.settle_with_standbys(move |blob| again.read(blob).ok());
    let mut worker = pipeline.worker();
    let mut failed = 0_usize;
    let release = ReleaseName::of(pipeline.release());
    let begin = PipelineInput::of(&pipeline.release().pipeline);
    let mut saving = args
        .save_inputs
        .as_deref()
        .map(|to| Saving::new(to, &pipeline));
    for input in &args.inputs {
        let report = match read(input, args.source.as_deref(), max_sample_bytes) {
            Ok(sample) => {
                saving.iter().for_each(Saving::begin);
                let outcome = worker.process(&sample, &device);
                saving.as_mut().map_or(Ok(()), Saving::finish)?;
                Report::of(input, release, outcome)
            }
            Err(error) => Report::unread(input, release, &error),
        };
        failed += usize::from(report.error.is_some());
        terminal.json_line(&report)?;
        if let (Some(path), Some(insight)) = (&args.record, &report.insight) {
            // Of a policy alone the insight is what it was given.
            let actions = report
                .actions
                .as_ref()
                .filter(|_| begin == PipelineInput::Insight);
            record(path, insight, actions)?;
        }
    }
    if let Some(saving) = saving {
        terminal.note(saving.writer.summary());
    }
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    terminal.note(format!("{failed} of {} inputs failed", args.inputs.len()));
    Ok(ExitCode::FAILURE)
}

/// Refuses to record what one backend makes of a sample where the other one makes something else of it, and nobody has said
/// which is right.
fn check_alike(pipeline: &Arc<Pipeline>, sample: &Sample, device: &Device) -> anyhow::Result<()> {
    let models = pipeline.models().values().map(|named| named.active());
    let open: Vec<_> = models.filter(|it| it.backends().len() > 1).collect();
    if open.is_empty() {
        return Ok(());
    }
    let serving: Vec<Backend> = open.iter().map(|model| model.backend()).collect();
    let on = |backend: Backend| {
        open.iter().for_each(|model| {
            model.use_backend(backend);
        });
        let outcome = pipeline.fork().worker().process(sample, device);
        pipeline.models().values().for_each(|named| named.restart());
        // What fails on one backend runs on the other.
        outcome.result.ok().map(|decision| decision.insight)
    };
    let made = [on(Backend::Tract), on(Backend::Ort)];
    for (model, backend) in open.iter().zip(serving) {
        model.use_backend(backend);
    }
    if let [Some(tract), Some(ort)] = &made {
        let found = agreement(tract, ort);
        ensure!(
            found >= LEAST_AGREEMENT,
            "the backends make something else of {}: what they make of it agrees to {found:.3}; say which one is right, with --backend tract or --backend ort",
            sample.id
        );
    }
    Ok(())
}

/// Keeps what the models are given, sample by sample.
struct Saving<'a> {
    writer: InputsWriter<'a>,
    pipeline: &'a Pipeline,
}

impl<'a> Saving<'a> {
    /// Most runs of one model that are kept of one sample: more than a page has lines.
    const RUNS: usize = 1_024;

    fn new(folder: &'a Path, pipeline: &'a Pipeline) -> Self {
        Self {
            writer: InputsWriter::new(folder),
            pipeline,
        }
    }

    /// A variant may be given up on this sample, so that another takes the rest.
    fn begin(&self) {
        for model in self.pipeline.models().values() {
            for (_, variant) in model.variants() {
                variant.record(Self::RUNS);
            }
        }
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        for (name, model) in self.pipeline.models() {
            let mut runs = Vec::new();
            for (_, variant) in model.variants() {
                let recorded = variant.take_recorded();
                // The input on which a variant is given up goes to the next one too.
                let again: Vec<_> = recorded.into_iter().filter(|it| !has(&runs, it)).collect();
                runs.extend(again);
            }
            self.writer.write(name, &runs)?;
        }
        Ok(())
    }
}

/// The inputs of one run.
type Inputs = Vec<(String, Tensor)>;

fn has(runs: &[Inputs], inputs: &Inputs) -> bool {
    let is_same = |a: &Tensor, b: &Tensor| a.shape() == b.shape() && a.bytes() == b.bytes();
    runs.iter().any(|run| {
        let pairs = || run.iter().zip(inputs);
        run.len() == inputs.len() && pairs().all(|(a, b)| a.0 == b.0 && is_same(&a.1, &b.1))
    })
}

impl<'a> Report<'a> {
    fn of(input: &'a Path, release: ReleaseName<'a>, outcome: Outcome) -> Self {
        let mut report = Self {
            input,
            release,
            insight: None,
            actions: None,
            error: None,
            stages: outcome.stages,
        };
        match outcome.result {
            Ok(decision) => {
                report.insight = Some(decision.insight);
                report.actions = Some(decision.actions);
            }
            Err(error) => {
                report.error = Some(Failure {
                    stage: error.stage,
                    fault: error.fault.name(),
                    message: error.message,
                });
            }
        }
        report
    }

    fn unread(input: &'a Path, release: ReleaseName<'a>, error: &anyhow::Error) -> Self {
        Self {
            input,
            release,
            insight: None,
            actions: None,
            error: Some(Failure {
                stage: "input".to_owned(),
                fault: "unreadable",
                message: format!("{error:#}"),
            }),
            stages: Vec::new(),
        }
    }
}

/// `tract`, `ort` or `auto`, for flags.
fn backend(text: &str) -> Result<BackendChoice, String> {
    let known = [
        BackendChoice::Auto,
        BackendChoice::Tract,
        BackendChoice::Ort,
    ];
    let found = known.into_iter().find(|choice| choice.to_string() == text);
    found.ok_or_else(|| "a backend is tract, ort or auto".to_owned())
}

/// Writes an insight, with the actions where they are given, as `[[tests]]` reads it. A recording that is there is replaced: recording anew is what people do.
fn record(path: &Path, insight: &Insight, actions: Option<&Vec<Action>>) -> anyhow::Result<()> {
    let mut text = match actions {
        Some(actions) => {
            serde_json::to_vec_pretty(&json!({"insight": insight, "actions": actions}))?
        }
        None => serde_json::to_vec_pretty(insight)?,
    };
    text.push(b'\n');
    write_new(path, &text, Readers::Anyone, true)
}

/// A file of at most `limit` bytes as a sample: its path is its id and, where there is no other, its source.
fn read(path: &Path, source: Option<&str>, limit: usize) -> anyhow::Result<Sample> {
    let mut payload = Vec::new();
    File::open(path)
        .and_then(|file| {
            file.take((limit as u64).saturating_add(1))
                .read_to_end(&mut payload)
        })
        .with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(
        payload.len() <= limit,
        "{} is larger than the {limit} bytes of `[intake] max-sample-bytes`",
        path.display()
    );
    let name = path.display().to_string();
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(Sample {
        id: name.clone(),
        source: source.map_or(name, str::to_owned),
        content_type: content_type(path)
            .unwrap_or(UNKNOWN_CONTENT_TYPE)
            .to_owned(),
        timestamp_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
        payload: Arc::from(payload),
    })
}
