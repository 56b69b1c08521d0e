use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_config::Config;

use hotshoe_release::files::read_limited;
use hotshoe_release::terminal::Terminal;

mod component;
mod drift;
mod release;

/// Show the contents of a component or release, without verifying it
///
/// For a component: its world, imports and exports, size, language and tools, and the grants that it needs. For a release: the pipeline,
/// each component with its limits and capabilities (imported, granted by the release, allowed by the device), the models, data and
/// self-tests with their digests, and the signatures. Use `verify` to check a release.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe inspect build/my-policy.wasm
  hotshoe inspect my-release
  hotshoe inspect my-release --config hotshoe.toml
  hotshoe inspect my-release --json | jq .release.components")]
pub(crate) struct Args {
    /// The component's file, or the release's folder
    #[arg(value_name = "COMPONENT|RELEASE")]
    path: PathBuf,
    /// A device's configuration, to show what it allows
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let allowed = match &args.config {
        Some(path) => Some(Config::load(path)?.allowed()),
        None => None,
    };
    if args.path.is_dir() {
        let inspection = release::inspect(&args.path, allowed.as_ref())?;
        if terminal.json {
            terminal.json(&inspection)?;
        } else {
            terminal.print(inspection.tree(terminal).to_string().trim_end())?;
            terminal.note(terminal.warning("not verified: these are the release's own claims"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let bytes = read_limited(&args.path, hotshoe_trust::ReleaseLimits::COMPONENT_BYTES)?;
    let cannot = || format!("cannot read {}", args.path.display());
    let name = args.path.file_stem().unwrap_or_default().to_string_lossy();
    let component =
        component::Report::of(&name, &bytes, None, allowed.as_ref()).with_context(cannot)?;
    if terminal.json {
        terminal.json(&component)?;
    } else {
        terminal.print(component.tree(&name, terminal).to_string().trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}
