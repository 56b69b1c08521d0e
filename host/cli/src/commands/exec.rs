use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use hotshoe_daemon::media::content_type;
use hotshoe_daemon::serving::intake::UNKNOWN_CONTENT_TYPE;
use hotshoe_egress::ReleaseName;
use hotshoe_engine::{Action, Insight, Sample, agreement};
use hotshoe_infer::{Backend, Tensor};
use hotshoe_pipeline::{Outcome, Pipeline, RunMode, SampleError, StageTime};
use hotshoe_trust::{Device, PipelineInput};
use serde::Serialize;
use serde_json::json;

use crate::loaded_release::{Loaded, ReleaseArgs, load};
use crate::sample_files::InputsWriter;
use hotshoe_release::files::{Readers, write_new};
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;

/// The minimum agreement of two backends on a recorded sample: the default of a self-test.
const LEAST_AGREEMENT: f64 = 0.99;

/// Run a release on files, without a daemon
///
/// Verifies the release as a device does, runs its pipeline on each file, and prints one line of JSON per input: the insight, the
/// actions and the time of each stage, or the error. A bad input does not affect the others.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe exec target/demo/release page.png --trust target/demo/trust.toml

Example: record the expected result of a self-test in release.toml
  hotshoe exec my-release page.png --trust trust.toml --record tests/page.json

Example: save the inputs of each model, to compare models on them
  hotshoe exec my-release *.png --trust trust.toml --save-inputs samples
  hotshoe model compare detect.onnx detect-int8.onnx --inputs samples/detect

The size limit of an input is that of the daemon's samples: `[intake] max-sample-bytes` of --config. Exit code 1 if any input failed.")]
pub(crate) struct Args {
    #[command(flatten)]
    release: ReleaseArgs,
    /// The files, one sample each
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// Treat all inputs, in order, as samples of one source, for models that keep state between samples
    /// [default: each file is its own source]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Write the insight of the one input to this file, as the `expected` of a [[tests]] entry in release.toml. If both backends
    /// can run a model and disagree, --backend must choose one
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Write the inputs of each model to DIR/MODEL/NUMBER.npz, for `hotshoe model compare`; numbers continue after existing files
    #[arg(long, value_name = "DIR")]
    save_inputs: Option<PathBuf>,
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

/// The error of a sample.
#[derive(Serialize)]
pub(super) struct Failure {
    stage: String,
    fault: &'static str,
    message: String,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("warn")?;
    if args.record.is_some() && args.inputs.len() != 1 {
        bail!("--record takes one input, because a self-test has one sample");
    }
    let Loaded {
        pipeline,
        layout,
        device,
        max_sample_bytes,
    } = load(&args.release)?;
    let chosen = args.release.backend;
    if let (Some(_), None, [input]) = (&args.record, chosen, args.inputs.as_slice())
        && let Ok(sample) = read(input, args.source.as_deref(), max_sample_bytes)
    {
        check_backends_agree(&pipeline, &sample, &device)?;
    }
    pipeline.settle_with_standbys(move |blob| layout.read(blob).ok());
    let mut worker = pipeline.worker();
    let mut failed = 0_usize;
    let release = ReleaseName::of(pipeline.release());
    let begin = PipelineInput::of(&pipeline.release().pipeline);
    let mut recorder = args
        .save_inputs
        .as_deref()
        .map(|to| InputRecorder::new(to, &pipeline));
    for input in &args.inputs {
        let report = match read(input, args.source.as_deref(), max_sample_bytes) {
            Ok(sample) => {
                recorder.iter().for_each(InputRecorder::begin);
                let outcome = worker.process(&sample, &device, &RunMode::default());
                recorder.as_mut().map_or(Ok(()), InputRecorder::finish)?;
                Report::of(input, release, outcome)
            }
            Err(error) => Report::unread(input, release, &error),
        };
        failed += usize::from(report.error.is_some());
        terminal.json_line(&report)?;
        if let (Some(path), Some(insight)) = (&args.record, &report.insight) {
            // The insight of a policy-only pipeline is its input.
            let actions = report
                .actions
                .as_ref()
                .filter(|_| begin == PipelineInput::Insight);
            record(path, insight, actions)?;
        }
    }
    if let Some(recorder) = recorder {
        terminal.note(recorder.writer.summary());
    }
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    terminal.note(format!("{failed} of {} inputs failed", args.inputs.len()));
    Ok(ExitCode::FAILURE)
}

/// Refuses to record a result on which the backends disagree, because it is unknown which one is right.
fn check_backends_agree(
    pipeline: &Arc<Pipeline>,
    sample: &Sample,
    device: &Device,
) -> anyhow::Result<()> {
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
        let mut worker = pipeline.fork().worker();
        let outcome = worker.process(sample, device, &RunMode::default());
        pipeline.models().values().for_each(|named| named.restart());
        // A model that fails on one backend runs on the other.
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
            "the backends disagree on {}: their agreement is {found:.3}; choose the one that is right with --backend tract or --backend ort",
            sample.id
        );
    }
    Ok(())
}

/// Saves the inputs of the models, sample by sample.
struct InputRecorder<'a> {
    writer: InputsWriter<'a>,
    pipeline: &'a Pipeline,
}

impl<'a> InputRecorder<'a> {
    /// The most runs of one model to save per sample: more than a page has lines.
    const RUNS: usize = 1_024;

    fn new(folder: &'a Path, pipeline: &'a Pipeline) -> Self {
        Self {
            writer: InputsWriter::new(folder),
            pipeline,
        }
    }

    /// Records all variants, because one may fail on this sample and the next takes over.
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
                // The input on which a variant failed goes to the next one too.
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

impl Failure {
    pub(super) fn of(error: SampleError) -> Self {
        Self {
            stage: error.stage,
            fault: error.fault.name(),
            message: error.message,
        }
    }
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
                report.error = Some(Failure::of(error));
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

/// Writes an insight, with the actions if given, in the format of `[[tests]]`. Overwrites an existing file, because people record again.
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

/// Reads a file of at most `limit` bytes as a sample: its path is its id and, without a `source`, its source.
pub(super) fn read(path: &Path, source: Option<&str>, limit: usize) -> anyhow::Result<Sample> {
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
