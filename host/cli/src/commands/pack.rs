use crate::release_summary::Summary;
use hotshoe_base::without_byte_order_mark;
use hotshoe_release::pack::pack_checked;
use hotshoe_release::terminal::{Terminal, size};
use hotshoe_store::Packed;
use hotshoe_trust::{Blob, Release, Time, Variant};
use serde::Serialize;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Pack a release from release.toml
///
/// Reads release.toml and the files that it names, and writes an OCI image layout: a folder that `oras`, `skopeo` and any OCI registry
/// can store. A path may lead out of its folder, a link in it may not. Loads each model, and packs its external weights into it. Does not
/// sign the release: see `hotshoe sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe pack release.toml --out my-release
  hotshoe sign my-release --key alice.key

release.toml (paths are relative to it; an unknown key is refused):
  name = \"labels\"
  generation = 1                      # increase it with each release
  expires-in = \"365d\"                 # or: expires = \"2027-01-01T00:00:00Z\"
  hotshoe = \">=0.1\"                   # optional: the host versions it runs on
  [devices]                           # optional: which devices it is for
  names = [\"line-*\"]
  labels = { site = \"lab\" }
  [components.read-page]
  file = \"read-page.wasm\"
  world = \"stage\"                     # filter | preprocessor | postprocessor | policy | stage | governor
  grants = [\"log\", \"infer\", \"vision\"] # log metrics clock config data state vision infer wasi-nn wasi wasi-sockets wasi-http
  models = [\"detect\"]                 # the models it may run
  limits = { memory-mib = 64, deadline-ms = 1000, tensor-mib = 256 }
  [models.detect]
  file = \"detect.onnx\"
  outputs = [\"boxes\"]               # optional: the outputs to serve; only nodes that they need are loaded
  [data.rules]
  file = \"rules.json\"
  media-type = \"application/json\"
  [[pipeline]]                        # filter* (stage | [preprocess] infer* [postprocess]) policy*
  stage = \"read-page\"
  [[tests]]                           # a device runs them before the release serves, to check the models
  name = \"page\"
  sample = \"tests/page.png\"
  content-type = \"image/png\"
  expected = \"tests/page.json\"       # as `hotshoe exec RELEASE tests/page.png --record tests/page.json` writes it
  min-agreement = 0.99
  [[tests]]                           # or: each entry of a recording of `hotshoe record`
  name = \"line-4\"
  recorded = \"tests/line-4\"
  [data-contract]                     # optional: what `hotshoe record` may record, if the device allows it too
  record = [\"sample\", \"tensors\", \"insight\"]
  [drift]                             # optional: windows of samples are compared with a baseline
  baseline = \"baseline.json\"          # as `hotshoe baseline` writes it
  [modes.full]                        # optional: ways to run it with less, for a governor; exactly one has level 0
  level = 0
  [modes.reduced]
  level = 1                           # also variants = { MODEL = \"VARIANT\" }, rests = { components, outputs }
  rate = { every = 3 }                # also max-per-second, only-on-motion
  [privacy]                           # optional: burned into the pixels of samples before anything sees them
  masks = [{ source = \"*\", polygon = [[0.5, 0], [1, 0], [1, 0.3]] }]
  [health]                            # optional: the rules that a trial must meet before a device keeps the release
  min-samples = 20
  min-seconds = 10
  max-error-rate = 0.05               # also max-trap-rate, max-deadline-miss-rate, max-latency-p95-ms, max-latency-ratio
  shadow = { samples = 20, min-agreement = 0.9 } # before the trial, compare with the live release
  on-failure = \"rollback\"            # or \"keep\"")]
pub(crate) struct Args {
    /// The release.toml
    #[arg(value_name = "RELEASE.TOML", default_value = "release.toml")]
    release: PathBuf,
    /// The folder to write; an existing release is overwritten
    #[arg(long, value_name = "DIR", default_value = "release")]
    out: PathBuf,
}

/// One file of a release.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Content {
    /// `component`, `model`, `data`, `sample`, `expected` or `baseline`.
    pub kind: &'static str,
    /// Its name in the release.
    pub name: String,
    /// Its digest and size.
    #[serde(flatten)]
    pub blob: Blob,
}

#[derive(Serialize)]
struct Report<'a> {
    layout: &'a Path,
    release: Summary,
    contents: Vec<Content>,
    /// The size of all distinct blobs.
    bytes: u64,
    /// Warnings for the author.
    warnings: Vec<String>,
}

/// Warnings about a release.
fn warnings(packed: &Packed) -> impl Iterator<Item = String> {
    let release = &packed.release;
    let unproven = !release.models.is_empty() && release.tests.is_empty();
    let warning = "the release has a model and no self-test, so a device cannot check that the model gives the same results as here, \
                   or which backend is right if two disagree; add [[tests]], whose expected result \
                   `hotshoe exec RELEASE SAMPLE --record FILE` writes";
    let unproven = unproven.then(|| warning.to_owned());
    let marked = release.data.iter().filter(|(_, data)| {
        let mut first = [0; 3];
        let file = packed.layout.open_blob(&data.blob);
        let read = file.is_ok_and(|mut file| file.read_exact(&mut first).is_ok());
        read && without_byte_order_mark(&first).is_empty()
    });
    let marked = marked.map(|(name, _)| {
        format!(
            "the data file `{name}` begins with a byte order mark, which components read as part of the text; save it as UTF-8 without one"
        )
    });
    unproven.into_iter().chain(marked)
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let progress = terminal.progress();
    let task = (!terminal.json).then(|| progress.spinner("packing"));
    let (packed, unloaded) = pack_checked(&args.release, &args.out, Time::now())?;
    drop(task);
    let report = Report {
        layout: &args.out,
        release: Summary::of(&packed.release, packed.digest),
        contents: contents(&packed.release),
        bytes: packed.release.blobs().map(|blob| blob.size).sum(),
        warnings: warnings(&packed).chain(unloaded).collect(),
    };
    if terminal.json {
        terminal.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    report.release.print(terminal)?;
    terminal.print(contents_table(&report.contents, terminal))?;
    for warning in &report.warnings {
        terminal.note(terminal.warning(warning));
    }
    terminal.print(format!(
        "{} in {}; not signed yet: hotshoe sign {} --key FILE",
        size(report.bytes),
        args.out.display(),
        args.out.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The files of a release.
pub(crate) fn contents(release: &Release) -> Vec<Content> {
    let content = |kind, name: &String, blob| Content {
        kind,
        name: name.clone(),
        blob,
    };
    let components = release
        .components
        .iter()
        .map(|(name, it)| content("component", name, it.blob));
    let models = release.models.iter().flat_map(|(name, it)| {
        it.variants.iter().map(move |variant| {
            let named = if variant.name == Variant::ONLY {
                name.clone()
            } else {
                format!("{name}/{}", variant.name)
            };
            content("model", &named, variant.blob)
        })
    });
    let data = release
        .data
        .iter()
        .map(|(name, it)| content("data", name, it.blob));
    let tests = release.tests.iter().flat_map(|it| {
        [
            content("sample", &it.name, it.sample),
            content("expected", &it.name, it.expected),
        ]
    });
    let baseline = release
        .drift
        .iter()
        .map(|drift| content("baseline", &"drift".to_owned(), drift.baseline));
    components
        .chain(models)
        .chain(data)
        .chain(tests)
        .chain(baseline)
        .collect()
}

/// The files of a release, as a table.
pub(crate) fn contents_table(contents: &[Content], terminal: &Terminal) -> String {
    let row = |content: &Content| {
        vec![
            content.kind.to_owned(),
            content.name.clone(),
            size(content.blob.size),
            // Enough to tell two apart; --json shows all of it.
            content.blob.digest.hex().chars().take(12).collect(),
        ]
    };
    terminal.table(
        &["kind", "name", "size", "sha256"],
        contents.iter().map(row),
    )
}
