mod add;
mod authority;
mod init;
mod remove;

use std::path::Path;
use std::process::ExitCode;

use authority::Issued;

use hotshoe_release::files::{Readers, write_new};
use hotshoe_release::terminal::Terminal;

/// The authority's secret key, in the site's folder.
const CA_KEY: &str = "ca.key";
/// The keys that devices trust for releases and statements.
const TRUST: &str = "trust.toml";
/// The registry's access rules, in its folder.
const ACL: &str = "acl.json";

/// Set up a site with certificates, access rules and keys
///
/// A site's folder contains its certificate authority, the files for its registry, deployers and devices, and the devices' public keys.
/// `publish`, `status` and other commands take it as --site-dir: they then connect with certificates, sign their statements, and ignore
/// answers that a device has not signed.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "\
Example:
  hotshoe site init --site lab --out lab --server 192.0.2.7
  hotshoe site add --site-dir lab --device line-4
  hotshoe site remove --site-dir lab --device line-4")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Init(init::Args),
    Add(add::Args),
    Remove(remove::Args),
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Init(args) => init::run(args, terminal),
        Action::Add(args) => add::run(args, terminal),
        Action::Remove(args) => remove::run(args, terminal),
    }
}

/// Writes `NAME.pem` and `NAME.key`.
fn certificate(folder: &Path, name: &str, issued: &Issued, force: bool) -> anyhow::Result<()> {
    let path = |extension: &str| folder.join(format!("{name}.{extension}"));
    write_new(&path("key"), issued.key.as_bytes(), Readers::Owner, force)?;
    write_new(
        &path("pem"),
        issued.certificate.as_bytes(),
        Readers::Anyone,
        force,
    )
}
