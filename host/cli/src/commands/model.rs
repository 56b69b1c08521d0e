mod agreement;
mod compare;
mod error;
mod inspect;
mod measure;
mod memory;
mod optimise;
mod quantise;
mod report;
mod samples;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_infer::inspect::InputShapes;
use hotshoe_infer::{Backend, Options};

pub(crate) use error::ModelError;

use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;

/// Inspect, compare and optimise ONNX models
///
/// For the models of a release before it is packed: what a file needs from a device, whether a smaller model still agrees with the
/// original, and what can be simplified without training.
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Example: may the INT8 variant be released?
  hotshoe model inspect detect.onnx --shape x=1,3,640,640
  hotshoe model optimise detect.onnx -o detect-int8.onnx --int8 --inputs samples
  hotshoe model compare detect.onnx detect-int8.onnx --inputs samples --max-drop 2%"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Inspect(inspect::Args),
    Compare(compare::Args),
    Optimise(optimise::Args),
    #[command(hide = true)]
    Memory(memory::Args),
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    match args.action {
        Action::Inspect(args) => inspect::run(&args, terminal),
        Action::Compare(args) => compare::run(&args, terminal),
        Action::Optimise(args) => optimise::run(&args, terminal),
        Action::Memory(args) => memory::run(&args, terminal),
    }
}

/// The options for shapes of inputs.
#[derive(Debug, Clone, clap::Args)]
struct ShapeArgs {
    /// The shape of an input with open dimensions; once per input
    #[arg(long = "shape", value_name = "INPUT=1,3,640,640", value_parser = shape)]
    shapes: Vec<(String, Vec<usize>)>,
}

impl ShapeArgs {
    fn shapes(&self) -> Result<InputShapes, ModelError> {
        let mut shapes = InputShapes::new();
        for (input, shape) in &self.shapes {
            if shapes.insert(input.clone(), shape.clone()).is_some() {
                let input = input.clone();
                return Err(ModelError::RepeatedShape { input });
            }
        }
        Ok(shapes)
    }
}

/// Parses `x=1,3,48,192`. A name may contain `=`; a scalar's shape is empty.
fn shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let wrong = || "expected INPUT=SIZES, such as x=1,3,640,640".to_owned();
    let (name, sizes) = text.rsplit_once('=').ok_or_else(wrong)?;
    if name.is_empty() {
        return Err(wrong());
    }
    let sizes = sizes.split(',').filter(|size| !size.is_empty());
    let sizes: Result<Vec<usize>, _> = sizes.map(|size| size.trim().parse()).collect();
    Ok((name.to_owned(), sizes.map_err(|_| wrong())?))
}

/// Reads a model file, which may be as large as a model of a release.
fn read_model(path: &Path) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let bytes = fs::metadata(path).with_context(cannot)?.len();
    let limit = Options::default().max_model_bytes as u64;
    if bytes > limit {
        let path = path.to_owned();
        return Err(ModelError::TooLarge { path, bytes, limit }.into());
    }
    fs::read(path).with_context(cannot)
}

/// The values of backend options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum BackendArg {
    /// Built in
    Tract,
    /// ONNX Runtime, whose library must be installed
    Ort,
}

impl From<BackendArg> for Backend {
    fn from(backend: BackendArg) -> Self {
        match backend {
            BackendArg::Tract => Self::Tract,
            BackendArg::Ort => Self::Ort,
        }
    }
}

/// The options for ONNX Runtime.
#[derive(Debug, Clone, clap::Args)]
struct OrtArgs {
    /// The library of ONNX Runtime [default: ORT_DYLIB_PATH, or the system's]
    #[arg(long, value_name = "FILE")]
    ort_library: Option<PathBuf>,
}

impl OrtArgs {
    fn options(&self) -> hotshoe_infer::OrtOptions {
        hotshoe_infer::OrtOptions {
            library: self.ort_library.clone(),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_a_name_and_sizes() {
        let named = |name: &str, sizes: &[usize]| Ok((name.to_owned(), sizes.to_vec()));
        assert_eq!(shape("x=1,3,48"), named("x", &[1, 3, 48]));
        assert_eq!(shape("a=b=2"), named("a=b", &[2]));
        assert_eq!(shape("sr="), named("sr", &[]));
        for wrong in ["x", "=1", "x=a", "x=1,-1"] {
            assert!(shape(wrong).is_err(), "{wrong}");
        }
    }
}
