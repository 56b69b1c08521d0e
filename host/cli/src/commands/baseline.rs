mod samples;
mod sources;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_base::Clock;
use hotshoe_daemon::serving::measured;
use hotshoe_drift::{Baseline, BaselineBuilder, BaselineSeries, Source};
use hotshoe_engine::{Fault, Sample};
use hotshoe_pipeline::{RunMode, Worker};
use hotshoe_trust::{Blob, Device, PipelineInput};
use serde::Serialize;

use crate::loaded_release::{Loaded, ReleaseArgs, load};
use hotshoe_release::files::{Readers, write_new};
use hotshoe_release::logging;
use hotshoe_release::terminal::{Terminal, size};

pub(crate) use self::samples::InputsError;

/// Measure samples, for a device to notice drift from them
///
/// Verifies and loads a release as a device does, runs its pipeline in full mode on each sample, and writes what it measured to a file: the
/// `baseline` of [drift] in release.toml. Take samples that the model was made for, as many and as different as later windows have: 500 or more.
/// The file has numbers, labels, and means and covariances of embeddings; no sample can be restored from it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: by what a device recorded
  hotshoe record --site lab --device line-4 --stage sample --count 1000 -o line-4 --connect tcp/192.0.2.7:7447
  hotshoe baseline my-release line-4 --trust trust.toml --out baseline.json

Example: by files, with chosen sources
  hotshoe baseline my-release pictures/ --trust trust.toml --out baseline.json --measure 'mean(lines.*.score)' --measure 'brightness(@sample)'

Sources: mean, min, max or count of the numbers of a field of the insight, as mean(lines.*.score); label(FIELD), embedding(FIELD); brightness,
contrast or sharpness of a model's input, as brightness(MODEL) or brightness(MODEL/INPUT), or of the sample's picture, as brightness(@sample).

Then, in release.toml, with a higher generation:
  [drift]
  baseline = \"baseline.json\"

Exit codes: 0 for a baseline, also if some samples failed; 1 if it cannot be made (error `too_few_samples`: fewer than 30 samples have a value of a
source); 2 for wrong usage.")]
pub(crate) struct Args {
    #[command(flatten)]
    release: ReleaseArgs,
    /// The samples: files, folders of files, or recordings of `hotshoe record`
    #[arg(value_name = "SAMPLES", required = true)]
    inputs: Vec<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A source to measure; may be repeated [default: by the kind of the first insight, its scores and labels; and the brightness, contrast
    /// and sharpness of pictures and of the inputs of models]
    #[arg(long, value_name = "SOURCE")]
    measure: Vec<Source>,
    /// Overwrite the file if it exists
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    baseline: &'a PathBuf,
    #[serde(flatten)]
    blob: Blob,
    /// How many samples were measured.
    samples: u64,
    /// How many a filter skipped.
    skipped: u64,
    /// How many gave no result, or could not be read.
    failed: u64,
    sources: Vec<Measured>,
}

/// How many samples had a value of a source.
#[derive(Serialize)]
struct Measured {
    source: String,
    values: u64,
}

/// Samples without a value.
#[derive(Debug, Default)]
struct LeftOut {
    skipped: u64,
    failed: u64,
    /// The first failure.
    first: Option<String>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("warn")?;
    let Loaded {
        pipeline,
        layout,
        device,
        max_sample_bytes,
    } = load(&args.release)?;
    pipeline.settle_with_standbys(move |blob| layout.read(blob).ok());
    let begin = PipelineInput::of(&pipeline.release().pipeline);
    let samples = samples::find(&args.inputs, begin, max_sample_bytes)?;
    let progress = terminal.progress();
    let task = (!terminal.json).then(|| progress.spinner("measuring"));
    let mut worker = pipeline.worker();
    let mut left_out = LeftOut::default();
    let read = samples.map(|sample| sample.map_err(|error| format!("{error:#}")));
    let builder = collect(&mut worker, &device, args.measure, read, &mut left_out)?;
    drop(task);
    let measured = builder.samples();
    let baseline = builder.finish()?;
    let file = baseline.to_json();
    write_new(&args.out, &file, Readers::Anyone, args.force)?;
    let report = Report {
        baseline: &args.out,
        blob: Blob::of(&file),
        samples: measured,
        skipped: left_out.skipped,
        failed: left_out.failed,
        sources: sources_of(&baseline),
    };
    if terminal.json {
        terminal.json(&report)?;
    } else {
        print(&report, terminal)?;
    }
    if let Some(first) = left_out.first {
        let (failed, all) = (report.failed, report.failed + report.skipped + measured);
        terminal.note(terminal.warning(&format!(
            "{failed} of {all} samples failed, the first one: {first}"
        )));
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the samples. Without chosen sources, the first insight says which there are.
fn collect(
    worker: &mut Worker,
    device: &Device,
    chosen: Vec<Source>,
    samples: impl Iterator<Item = Result<Sample, String>>,
    left_out: &mut LeftOut,
) -> anyhow::Result<BaselineBuilder> {
    let clock = Clock::system();
    let mut builder = if chosen.is_empty() {
        None
    } else {
        Some(BaselineBuilder::new(chosen)?)
    };
    for sample in samples {
        let sample = match sample {
            Ok(sample) => sample,
            Err(error) => {
                left_out.fail(error);
                continue;
            }
        };
        let (outcome, trace) = worker.observe(&sample, device, &RunMode::default());
        let insight = match outcome.result {
            Ok(decision) => decision.insight,
            Err(error) if error.fault == Fault::Skipped => {
                left_out.skipped += 1;
                continue;
            }
            Err(error) => {
                left_out.fail(format!("{}: {}: {}", sample.id, error.stage, error.message));
                continue;
            }
        };
        let builder = match &mut builder {
            Some(builder) => builder,
            none => {
                let sources = sources::of(&insight, &trace);
                let builder = BaselineBuilder::new(sources).context(
                    "the first insight and its sample have nothing that is measured by default; name sources with --measure",
                )?;
                none.insert(builder)
            }
        };
        builder.add(&measured(builder.sources(), &insight, &trace, &clock));
    }
    builder.ok_or_else(|| {
        let first = left_out.first.clone();
        InputsError::NoResult { first }.into()
    })
}

impl LeftOut {
    fn fail(&mut self, reason: String) {
        self.failed += 1;
        self.first.get_or_insert(reason);
    }
}

fn sources_of(baseline: &Baseline) -> Vec<Measured> {
    let of = |series: &BaselineSeries| Measured {
        source: series.source.to_string(),
        values: series.count(),
    };
    baseline.series().iter().map(of).collect()
}

fn print(report: &Report<'_>, terminal: &Terminal) -> anyhow::Result<()> {
    let rows = report
        .sources
        .iter()
        .map(|it| vec![it.source.clone(), it.values.to_string()]);
    terminal.print(terminal.figures(&["source", "samples"], rows))?;
    terminal.print(format!(
        "{} samples in {}, {}; pack it with [drift] baseline in release.toml",
        report.samples,
        report.baseline.display(),
        size(report.blob.size)
    ))
}
