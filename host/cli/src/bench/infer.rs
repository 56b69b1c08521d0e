//! `hotshoe bench infer`: models under each backend against ONNX Runtime's own Python package, and what the ways to a model cost.

mod doors;
mod http;
mod memory;
mod peer;
mod sides;
mod starts;
mod subject;
mod ways;

use std::path::{Path, PathBuf};

use hotshoe_devkit::{Environment, Extra, fetch};
use hotshoe_infer::{ElementType, OrtOptions, ort_library};
use serde_json::json;

use super::report::{Counts, Row};
use super::setting::Setting;
use crate::terminal::Terminal;
use peer::Peer;
use subject::Subject;

/// Most that Hotshoe's own choice may take, of ONNX Runtime called directly.
const AUTO_TARGET: f64 = 1.05;
/// Rounds unless the command line says otherwise: some minutes on two cores.
const FULL: usize = 30;
/// A first impression.
const QUICK: usize = 5;
/// Starts are slow and differ little.
const STARTS_EVERY: usize = 6;

/// What the command line says.
pub struct Plan<'a> {
    /// The folder of models, if not the fixtures'.
    pub models: Option<&'a Path>,
    /// The Python that has onnxruntime, and for some rows tritonclient.
    pub python: &'a Path,
    /// Turns of each side.
    pub rounds: Option<usize>,
    /// Fewer of them.
    pub quick: bool,
}

/// What was counted, and all rows.
pub fn measure(
    environment: &Environment,
    plan: &Plan<'_>,
    terminal: &Terminal,
) -> anyhow::Result<(Counts, Vec<Row>)> {
    let rounds = plan
        .rounds
        .unwrap_or(if plan.quick { QUICK } else { FULL })
        .max(1);
    let setting = Setting::prepare(environment)?;
    let ort = library(environment, terminal);
    // First, while this process holds little else.
    terminal.note("measuring        memory");
    let mut last = memory::memory(&setting)?;

    let folder = match plan.models {
        Some(folder) => folder.to_owned(),
        None => models(environment, terminal)?,
    };
    let subjects = subject::all(&folder, setting.folder())?;
    let mut peer = Peer::start(plan.python)?;
    if peer.is_none() {
        terminal.note(format!(
            "left out: ONNX Runtime's own Python package, which {} cannot import; to have it, `pip install onnxruntime==1.31.1 numpy` and name that Python with HOTSHOE_PYTHON",
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
    let starts = rounds.div_ceil(STARTS_EVERY);
    for subject in &subjects {
        terminal.note(format!("measuring        starts of {}", subject.name));
        rows.extend(starts::starts(subject, &ort, peer.as_mut(), starts)?);
    }
    terminal.note("measuring        the ways to a model");
    rows.extend(ways::ways(&setting, &subjects, rounds)?);
    rows.extend(doors::doors(
        &setting,
        &subjects,
        peer.as_mut(),
        rounds,
        terminal,
    )?);
    rows.append(&mut last);
    let counts = counts(&ort, peer.as_ref(), rounds, &subjects);
    Ok((counts, rows))
}

/// The models that the checkout has fetched, and those that only benches need.
fn models(environment: &Environment, terminal: &Terminal) -> anyhow::Result<PathBuf> {
    for extra in [Extra::CenterFace, Extra::SileroVad] {
        fetch(&environment.root, extra, &terminal.progress())?;
    }
    Ok(environment.models.clone())
}

/// ONNX Runtime for Hotshoe: the one that the environment names or the system has, else the fixture.
fn library(environment: &Environment, terminal: &Terminal) -> OrtOptions {
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

fn counts(ort: &OrtOptions, peer: Option<&Peer>, rounds: usize, subjects: &[Subject]) -> Counts {
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

/// What numpy calls an element type.
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
