use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use hotshoe_release::keys::read_key;
use hotshoe_release::sign::{attach, sign};
use hotshoe_release::terminal::Terminal;

/// Sign a release
///
/// Adds a signature (a Sigstore bundle, as an OCI referrer) to the earlier ones. Several people can sign, each on their own machine, until
/// the device's threshold is reached. A signature covers the release's manifest; `hotshoe inspect` prints its path. Other tools, such as
/// cosign, sign that file with their own keys, and --bundle attaches the signature.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("by").args(["key", "bundle"]).required(true)))]
#[command(after_help = "\
Example:
  hotshoe sign my-release --key alice.key

With cosign's key:
  MANIFEST=$(hotshoe inspect my-release --json | jq -r .manifest)
  cosign sign-blob --key cosign.key --bundle alice.json $MANIFEST
  hotshoe sign my-release --bundle alice.json

Asks for the passphrase, or reads it from HOTSHOE_PASSPHRASE.")]
pub(crate) struct Args {
    /// The release
    #[arg(value_name = "RELEASE")]
    layout: PathBuf,
    /// The secret key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A signature of the manifest by another tool: a Sigstore bundle v0.3 with a key. `verify` checks the signer
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let signed = match (&args.key, &args.bundle) {
        (Some(key), _) => sign(&args.layout, &read_key(key)?)?,
        (None, Some(bundle)) => attach(&args.layout, bundle)?,
        (None, None) => bail!("give --key or --bundle"),
    };
    if terminal.json {
        terminal.json(&signed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let done = match (signed.added, signed.fingerprint) {
        (false, _) => "was already signed",
        (true, Some(_)) => "signed",
        (true, None) => "attached a signature that claims to be",
    };
    let signer = signed
        .fingerprint
        .map_or_else(|| format!("key {}", signed.key_hint), |key| key.to_string());
    terminal.print(format!(
        "{}  {}",
        args.layout.display(),
        terminal.dim(&signed.release.to_string())
    ))?;
    terminal.print(format!("manifest  {}", signed.manifest.display()))?;
    terminal.print(format!("{done} by {signer}"))?;
    terminal.print(format!("signatures: {}", signed.signatures))?;
    Ok(ExitCode::SUCCESS)
}
