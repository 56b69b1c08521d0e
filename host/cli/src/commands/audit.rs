mod error;
mod show;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use hotshoe_audit::FOLDER;
use hotshoe_release::terminal::Terminal;

use crate::fleet::local::data_folder;
pub(crate) use error::AuditCommandError;

/// Show and verify this device's audit log
///
/// A device records releases, changes of trusted keys, denied capabilities, commands, orders and reloads in a chain of records, and signs
/// checkpoints of it. Both commands only read files, and work with and without a running daemon.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "\
Example:
  hotshoe audit show --config hotshoe.toml
  hotshoe audit verify --config hotshoe.toml

Exit codes: 0 done, 1 failed or the log is not intact, 2 wrong usage.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Show(show::Args),
    Verify(verify::Args),
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Show(args) => show::run(args, terminal),
        Action::Verify(args) => verify::run(args, terminal),
    }
}

/// The data folder whose log is read.
#[derive(Debug, clap::Args)]
struct LogArgs {
    /// The data folder [default: that of the configuration]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data: Option<PathBuf>,
    /// The device's configuration [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl LogArgs {
    /// The data folder. It must have an audit log.
    fn data(&self) -> anyhow::Result<PathBuf> {
        let data = data_folder(self.data.as_deref(), self.config.as_deref())?;
        if !data.join(FOLDER).is_dir() {
            return Err(AuditCommandError::NoLog { data }.into());
        }
        Ok(data)
    }
}
