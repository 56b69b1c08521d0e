use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_config::{DEFAULT_MAX_SAMPLE_BYTES, InferenceConfig};
use hotshoe_devkit::{InterfaceError, interface};
use hotshoe_engine::{Action, Engine, EngineOptions, Insight, check_encoding};
use hotshoe_infer::Models;
use hotshoe_pipeline::{Outcome, Pipeline, RunMode, StageTime};
use hotshoe_trust::{Grant, Need, ReleaseLimits, World, need};
use serde::Serialize;
use thiserror::Error;
use toml::{Table, Value};

use super::exec::{Failure, read};
use super::new::{step, world};
use hotshoe_release::files::read_limited;
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use hotshoe_release::throwaway;

/// The component's name in the temporary release.
const NAME: &str = "component";
/// The limits of the component in MiB, milliseconds and instances: larger than the defaults, because only this machine is concerned.
const LIMITS: [(&str, i64); 4] = [
    ("memory-mib", 1_024),
    ("tensor-mib", 1_024),
    ("deadline-ms", 60_000),
    ("instances", 256),
];

/// Run one component on files, without a release or keys
///
/// Loads the component like a device, with every grant that it imports and large limits. Runs it on each file, and prints one line of
/// JSON per input: the insight, the actions and the time, or the error. Reads no release.toml, and writes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: a policy with its data file
  hotshoe call build/my-policy.wasm --input tests/insight.json --data rules=rules.txt

Example: a stage that runs a model
  hotshoe call build/look.wasm --input tests/picture.png --model classifier=classifier.onnx --data labels=labels.txt --setting width=192

A preprocessor or stage takes any file, a postprocessor .npz tensors, a policy an insight as JSON. If an error ends with
`the release names: none`, give the model or data file of that name with --model or --data.
Exit code 1 if any input failed.")]
pub(crate) struct Args {
    /// The component
    #[arg(value_name = "COMPONENT")]
    component: PathBuf,
    /// A file to run it on; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    input: Vec<PathBuf>,
    /// The media type of the files [default: by their extension]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A data file that the component may read; may be repeated
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    data: Vec<(String, String)>,
    /// A model that the component may run; may be repeated
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    model: Vec<(String, String)>,
    /// A setting that the component may read; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    setting: Vec<(String, String)>,
    /// The world [default: that of the component's first export]
    #[arg(long, value_name = "WORLD", value_parser = world)]
    world: Option<World>,
}

/// Why a component cannot be called.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// Its imports and exports cannot be read.
    #[error("{} cannot be called", path.display())]
    Interface {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: InterfaceError,
    },
    /// It exports no interface of a world.
    #[error("{} exports no interface of a world; it exports {found}, and `hotshoe wit` shows what the worlds export", path.display())]
    NoWorld {
        /// The file.
        path: PathBuf,
        /// Its exports.
        found: String,
    },
}

impl CallError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Interface { .. } => "not_a_component",
            Self::NoWorld { .. } => "missing_export",
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    input: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    insight: Option<Insight>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<Action>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    stages: Vec<StageTime>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("warn")?;
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let manifest = folder.path().join("release.toml");
    let text = release_toml(&args)?.to_string();
    fs::write(&manifest, text).with_context(|| format!("cannot write {}", manifest.display()))?;
    let ready = throwaway::prepare(&manifest, None, &BTreeMap::new())?;
    let engine = Engine::new(EngineOptions::default()).context("cannot start the engine")?;
    let inference = InferenceConfig::default();
    let models = Models::new(inference.options());
    let pipeline = Pipeline::load(
        ready.release.clone(),
        |blob: &_| ready.layout.read(blob),
        &engine,
        &models,
        &ready.allowed,
        &inference,
    )
    .with_context(|| format!("cannot run {}", args.component.display()))?;
    pipeline.settle();
    let mut worker = pipeline.worker();
    let mut failed = false;
    for input in &args.input {
        let mut sample = read(input, None, DEFAULT_MAX_SAMPLE_BYTES)?;
        if let Some(content_type) = &args.content_type {
            sample.content_type.clone_from(content_type);
        }
        let report = Report::of(
            input,
            worker.process(&sample, &ready.device, &RunMode::default()),
        );
        failed |= report.error.is_some();
        terminal.json_line(&report)?;
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

impl<'a> Report<'a> {
    fn of(input: &'a Path, outcome: Outcome) -> Self {
        let (insight, actions, error) = match outcome.result {
            Ok(decision) => (Some(decision.insight), Some(decision.actions), None),
            Err(error) => (None, None, Some(Failure::of(error))),
        };
        Self {
            input,
            insight,
            actions,
            error,
            stages: outcome.stages,
        }
    }
}

/// A release of the one component, with all that its imports need.
fn release_toml(args: &Args) -> anyhow::Result<Table> {
    let bytes = read_limited(&args.component, ReleaseLimits::COMPONENT_BYTES)?;
    let path = || args.component.clone();
    check_encoding(&args.component.display().to_string(), &bytes)?;
    let found = interface(&bytes).map_err(|source| CallError::Interface {
        path: path(),
        source,
    })?;
    let world = args.world.or_else(|| world_of(&found.exports));
    let (world, step) = match world.and_then(|world| Some((world, step(world)?))) {
        Some(both) => both,
        None => {
            let found = match found.exports.as_slice() {
                [] => "nothing".to_owned(),
                names => names.join(", "),
            };
            return Err(CallError::NoWorld {
                path: path(),
                found,
            }
            .into());
        }
    };
    let mut component = table([
        ("file", absolute(&args.component)?),
        ("world", world.to_string().into()),
        ("grants", strings(grants(&found.imports))),
    ]);
    let limits = LIMITS.map(|(key, value)| (key.to_owned(), Value::from(value)));
    component.insert("limits".to_owned(), Table::from_iter(limits).into());
    let settings = args.setting.iter().cloned();
    let settings = settings.map(|(key, value)| (key, Value::from(value)));
    let mut release = table([
        ("name", "call".into()),
        ("generation", 1.into()),
        ("expires-in", "1d".into()),
        (
            "pipeline",
            vec![Value::from(table([(step, NAME.into())]))].into(),
        ),
    ]);
    for (key, files) in [("data", &args.data), ("models", &args.model)] {
        if files.is_empty() {
            continue;
        }
        let mut entries = Table::new();
        for (name, file) in files {
            let mut entry = table([("file", absolute(Path::new(file))?)]);
            if key == "data" {
                entry.insert("media-type".to_owned(), "application/octet-stream".into());
            }
            entries.insert(name.clone(), entry.into());
        }
        let names = files.iter().map(|(name, _)| name.clone());
        component.insert(key.to_owned(), strings(names));
        release.insert(key.to_owned(), entries.into());
    }
    if !args.setting.is_empty() {
        component.insert("config".to_owned(), Table::from_iter(settings).into());
    }
    let components = table([(NAME, component.into())]);
    release.insert("components".to_owned(), components.into());
    Ok(release)
}

/// The first world whose export a component has.
fn world_of(exports: &[String]) -> Option<World> {
    let worlds = [
        World::Preprocessor,
        World::Postprocessor,
        World::Policy,
        World::Stage,
    ];
    worlds
        .into_iter()
        .find(|world| world.exports().any(|export| exports.contains(&export)))
}

/// What the imports need. An import that no device serves is reported when the component is loaded.
fn grants(imports: &[String]) -> Vec<String> {
    let mut grants: Vec<Grant> = Vec::new();
    for import in imports {
        if let Need::Grant(grant) = need(import) {
            grants.push(grant);
        }
    }
    if grants.contains(&Grant::WasiHttp) {
        grants.push(Grant::Wasi);
    }
    grants.sort_unstable();
    grants.dedup();
    grants.iter().map(Grant::to_string).collect()
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    let entries = entries.map(|(key, value)| (key.to_owned(), value));
    Table::from_iter(entries)
}

fn strings(texts: impl IntoIterator<Item = String>) -> Value {
    texts
        .into_iter()
        .map(Value::from)
        .collect::<Vec<_>>()
        .into()
}

/// Absolute, because the temporary `release.toml` lies elsewhere.
fn absolute(path: &Path) -> anyhow::Result<Value> {
    let path =
        std::path::absolute(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(path.display().to_string().into())
}

/// Parses `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as rules=rules.txt".to_owned()),
    }
}
