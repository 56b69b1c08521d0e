use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use hotshoe_devkit::runtime::{PROCESSORS, Runtime, VERSION};
use hotshoe_devkit::wheel::WheelError;
use hotshoe_infer::{OrtOptions, ort_folder, ort_library};
use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;
use serde::Serialize;
use thiserror::Error;

/// Fetch ONNX Runtime, which runs most models faster than tract
///
/// Devices use it by default if they have its library, and measure which of the two backends is faster for each model.
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Example:
  hotshoe runtime fetch
  hotshoe doctor              # says which library is used

Exit codes: 0 done, 1 failed, 2 wrong usage."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Download ONNX Runtime's library to where Hotshoe looks for it
    ///
    /// Takes the library and its licence out of PyPI's wheel `onnxruntime`, by pip, and checks their pinned digests. The programs of this user
    /// load it from there by default, and check its digest at each load. Needs no network if the library is there.
    #[command(after_help = "\
Example:
  hotshoe runtime fetch

Example: for a device with another processor, which has no network
  hotshoe runtime fetch --processor aarch64 --out usr-lib-hotshoe
  scp -r usr-lib-hotshoe/onnxruntime root@line-4:/usr/lib/hotshoe/

Example: with a wheel that was downloaded elsewhere
  PIP_NO_INDEX=1 PIP_FIND_LINKS=folder-of-the-wheel hotshoe runtime fetch

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Fetch(FetchArgs),
}

#[derive(Debug, clap::Args)]
struct FetchArgs {
    /// The folder to make `onnxruntime` in [default: $XDG_DATA_HOME/hotshoe, else ~/.local/share/hotshoe]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The processor, on Linux with the GNU C library [default: that of this machine]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(PROCESSORS))]
    processor: Option<String>,
}

/// Why ONNX Runtime could not be fetched.
#[derive(Debug, Error)]
pub(crate) enum RuntimeError {
    /// There is no library for this system.
    #[error(
        "there is no library of ONNX Runtime for {} on {}; name the one of a device with --processor, or build it and set `library` under [inference]",
        std::env::consts::OS,
        std::env::consts::ARCH
    )]
    NoneForThisSystem,
    /// No folder of the user is known.
    #[error("there is no folder for the library; name one with --out")]
    NoFolder,
    /// The wheel could not be downloaded or extracted.
    #[error("cannot get ONNX Runtime {VERSION}")]
    Fetch(#[from] WheelError),
    /// The library does not load on this machine.
    #[error(
        "{} does not load on this machine: {reason}; tract still runs the models",
        path.display()
    )]
    DoesNotLoad {
        /// The library.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl RuntimeError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::NoneForThisSystem => "runtime_unsupported_system",
            Self::NoFolder => "no_runtime_folder",
            Self::Fetch(WheelError::Download { .. }) => "runtime_not_downloaded",
            Self::Fetch(WheelError::OtherContent { .. }) => "runtime_other_content",
            Self::Fetch(WheelError::Io { .. } | WheelError::Archive { .. }) => {
                "runtime_not_written"
            }
            Self::DoesNotLoad { .. } => "runtime_does_not_load",
        }
    }
}

/// A fetched library.
#[derive(Serialize)]
struct Report {
    version: &'static str,
    processor: String,
    path: PathBuf,
    digest: String,
    /// False if it was there already.
    fetched: bool,
    /// Whether it was loaded, on a machine with its processor.
    loaded: bool,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let Action::Fetch(args) = &args.action;
    let report = fetch(args, terminal)?;
    if terminal.json {
        terminal.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let done = if report.fetched {
        "fetched"
    } else {
        "is there"
    };
    terminal.print(format!(
        "ONNX Runtime {VERSION} for {} {done}: {}",
        report.processor,
        report.path.display()
    ))?;
    terminal.print(&report.digest)?;
    Ok(ExitCode::SUCCESS)
}

fn fetch(args: &FetchArgs, terminal: &Terminal) -> Result<Report, RuntimeError> {
    let here = Runtime::processor_here();
    let processor = args.processor.as_deref().or(here);
    let (processor, runtime) = processor
        .and_then(|processor| Some((processor, Runtime::of(processor)?)))
        .ok_or(RuntimeError::NoneForThisSystem)?;
    let folder = args.out.clone().or_else(ort_folder);
    let folder = folder.ok_or(RuntimeError::NoFolder)?;
    // A path of the report is used from elsewhere.
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let fetched = runtime.fetch(&folder, &terminal.progress())?;
    let is_for_here = here == Some(processor);
    if is_for_here {
        let library = ort_library(&OrtOptions {
            library: Some(fetched.path.clone()),
            ..OrtOptions::default()
        });
        if library.path.is_none() {
            let reasons = library.tried.into_iter().map(|(_, reason)| reason);
            return Err(RuntimeError::DoesNotLoad {
                path: fetched.path,
                reason: reasons.collect::<Vec<_>>().join("; "),
            });
        }
    }
    if args.out.is_none() && std::env::var_os("ORT_DYLIB_PATH").is_some_and(|it| !it.is_empty()) {
        terminal.note("ORT_DYLIB_PATH is set, and its library is used in place of this one");
    }
    Ok(Report {
        version: VERSION,
        processor: processor.to_owned(),
        path: fetched.path,
        digest: format!("sha256:{}", fetched.sha256),
        fetched: fetched.is_new,
        loaded: is_for_here,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use hotshoe_infer::PINNED_LIBRARIES;

    use super::*;

    #[test]
    fn what_is_fetched_is_what_a_device_loads() {
        for processor in PROCESSORS {
            let digest = format!("sha256:{}", Runtime::of(processor).unwrap().sha256());
            assert!(
                PINNED_LIBRARIES.contains(&(VERSION, digest.as_str())),
                "{processor}"
            );
        }
    }
}
