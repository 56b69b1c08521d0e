//! `hotshoe bench infer`: models under each backend against ONNX Runtime's own Python package, and the overhead of each call path to a model.

mod auto;
mod call_paths;
mod endpoints;
mod http;
mod memory;
mod peer;
mod sides;
mod starts;
mod subject;

use std::path::{Path, PathBuf};

use hotshoe_devkit::{Environment, Extra, fetch};
use hotshoe_infer::{ElementType, OrtOptions, ort_library};
use serde_json::json;

use super::report::{Counts, Row};
use super::setup::BenchSetup;
use hotshoe_release::terminal::Terminal;
use peer::Peer;
use subject::BenchModel;

/// Highest accepted ratio of `auto` to ONNX Runtime called directly, and to the better backend.
const AUTO_TARGET: f64 = 1.05;
/// Default number of rounds: a few minutes on two cores.
const FULL: usize = 30;
/// Rounds for a quick overview.
const QUICK: usize = 5;
/// Starts are measured less often than runs: they are slow and vary little.
const ROUNDS_PER_START: usize = 6;

/// The options of the command line.
pub(crate) struct Plan<'a> {
    /// The folder of models, if not that of the fixtures.
    pub models: Option<&'a Path>,
    /// The Python with onnxruntime and, for some rows, tritonclient.
    pub python: &'a Path,
    /// Number of rounds.
    pub rounds: Option<usize>,
    /// Whether to run fewer rounds.
    pub quick: bool,
}

/// Returns the counts and all rows.
pub(crate) fn measure(
    environment: &Environment,
    plan: &Plan<'_>,
    terminal: &Terminal,
) -> anyhow::Result<(Counts, Vec<Row>)> {
    let rounds = plan
        .rounds
        .unwrap_or(if plan.quick { QUICK } else { FULL })
        .max(1);
    let setup = BenchSetup::prepare(environment)?;
    let ort = library(environment, terminal);
    // First, while this process uses little other memory.
    terminal.note("measuring        memory");
    let mut last = memory::memory(&setup)?;

    let folder = match plan.models {
        Some(folder) => folder.to_owned(),
        None => models(environment, terminal)?,
    };
    let subjects = subject::all(&folder, setup.folder())?;
    if let Some(recogniser) = subjects.iter().find(|it| it.name == "recognise") {
        last.extend(memory::sessions(recogniser, &ort, terminal)?);
    }
    let mut peer = Peer::start(plan.python)?;
    if peer.is_none() {
        terminal.note(format!(
            "left out: ONNX Runtime's own Python package, which {} cannot import; run `pip install onnxruntime==1.31.1 numpy` and set HOTSHOE_PYTHON to that Python",
            plan.python.display()
        ));
    }
    let mut rows = Vec::new();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in [1, cores] {
        for subject in &subjects {
            let name = subject.name;
            terminal.note(format!("measuring        {name}, {threads} threads"));
            rows.extend(sides::compare(
                subject,
                threads,
                &ort,
                peer.as_mut(),
                rounds,
                terminal,
            )?);
        }
        if cores == 1 {
            break;
        }
    }
    let starts = rounds.div_ceil(ROUNDS_PER_START);
    for subject in &subjects {
        terminal.note(format!("measuring        starts of {}", subject.name));
        rows.extend(starts::starts(subject, &ort, peer.as_mut(), starts)?);
    }
    terminal.note("measuring        call paths to a model");
    rows.extend(call_paths::call_paths(&setup, &subjects, rounds)?);
    rows.extend(endpoints::endpoints(
        &setup,
        &subjects,
        peer.as_mut(),
        rounds,
        terminal,
    )?);
    rows.append(&mut last);
    let counts = counts(&ort, peer.as_ref(), rounds, &subjects);
    Ok((counts, rows))
}

/// The fixture models and those that only benches need.
fn models(environment: &Environment, terminal: &Terminal) -> anyhow::Result<PathBuf> {
    for extra in [Extra::CenterFace, Extra::SileroVad] {
        fetch(&environment.root, extra, &terminal.progress())?;
    }
    Ok(environment.models.clone())
}

/// ONNX Runtime for Hotshoe: from ORT_DYLIB_PATH, else the fixture, else the system's.
/// The library of the environment, or the fetched one.
pub(crate) fn library(environment: &Environment, terminal: &Terminal) -> OrtOptions {
    let found = OrtOptions::default();
    if std::env::var_os("ORT_DYLIB_PATH").is_some() {
        return found;
    }
    let fixture = fetch(&environment.root, Extra::OnnxRuntime, &terminal.progress());
    match fixture {
        Ok(library) => OrtOptions {
            library: Some(library),
            ..found
        },
        Err(_) => found,
    }
}

fn counts(ort: &OrtOptions, peer: Option<&Peer>, rounds: usize, subjects: &[BenchModel]) -> Counts {
    let library = ort_library(ort);
    let inputs: serde_json::Map<_, _> = subjects
        .iter()
        .map(|subject| (subject.name.to_owned(), json!(subject.shapes())))
        .collect();
    Counts::from([
        ("rounds", json!(rounds)),
        ("inputs", inputs.into()),
        ("ort_library", json!(library.version)),
        ("ort_python", json!(peer.map(Peer::version))),
    ])
}

/// The numpy name of an element type.
fn numpy_name(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::Bool => "bool",
        ElementType::U8 => "uint8",
        ElementType::I8 => "int8",
        ElementType::I32 => "int32",
        ElementType::I64 => "int64",
        ElementType::F16 => "float16",
        ElementType::F32 => "float32",
        ElementType::F64 => "float64",
    }
}
