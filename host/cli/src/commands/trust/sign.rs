use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use hotshoe_trust::{RotationError, SigningKey, TrustRoot, TrustUpdate, rotate};
use serde::Serialize;

use hotshoe_release::device::trust_root;
use hotshoe_release::files::{Readers, read_bytes, read_text, write_new};
use hotshoe_release::keys::read_key;
use hotshoe_release::terminal::Terminal;

/// Sign a new trust.toml, to replace the one on devices
///
/// A device accepts version N+1 of its trust.toml if enough keys of version N and of version N+1 have signed it. Each call adds one
/// signature to the update; the signers pass the file on. Write the new version with `hotshoe trust --version N+1`, and with `--reset
/// NAME=GENERATION` if a stolen key signed a generation that is too high.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: replace the key of mallory by that of carol
  hotshoe trust --key alice=alice.pub --key carol=carol.pub --version 2 --out new.toml
  hotshoe trust sign new.toml --key alice.key --out update.json --current trust.toml
  hotshoe trust publish update.json --site lab --connect tcp/192.0.2.7:7447")]
pub(super) struct Args {
    /// The new trust.toml
    #[arg(value_name = "NEW.TOML")]
    new: PathBuf,
    /// The secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The update; an existing one gets another signature
    #[arg(long, value_name = "FILE", default_value = "update.json")]
    out: PathBuf,
    /// The current trust.toml of devices, to check whether they would accept the update
    #[arg(long, value_name = "FILE")]
    current: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    update: &'a Path,
    version: u64,
    signatures: usize,
    /// Whether devices with the current trust.toml would accept it; none if that is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    /// What is still missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let current = args.current.as_deref().map(trust_root).transpose()?;
    let (update, root) = sign(&args.new, &args.out, &read_key(&args.key)?)?;
    let judged = current.map(|current| rotate(&current, &update));
    let missing = match &judged {
        Some(Err(error)) if !is_incomplete(error) => {
            bail!("devices would refuse this update: {error}");
        }
        Some(Err(error)) => Some(error.to_string()),
        _ => None,
    };
    let report = Report {
        update: &args.out,
        version: root.version(),
        signatures: update.bundles.len(),
        complete: judged.map(|it| it.is_ok()),
        missing,
    };
    if terminal.json {
        terminal.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal.print(format!(
        "{}: version {}, {} signatures",
        args.out.display(),
        report.version,
        report.signatures
    ))?;
    match (report.complete, &report.missing) {
        (Some(true), _) => terminal.print(terminal.good("devices will accept it"))?,
        (_, Some(missing)) => terminal.print(terminal.warning(&format!("not yet: {missing}")))?,
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the error only means that signatures are missing.
fn is_incomplete(error: &RotationError) -> bool {
    matches!(
        error.name(),
        "too_few_old_signatures" | "too_few_new_signatures"
    )
}

/// Adds a signature to the update in a file, which is created if missing.
pub(super) fn sign(
    new: &Path,
    out: &Path,
    key: &SigningKey,
) -> anyhow::Result<(TrustUpdate, TrustRoot)> {
    let text = read_text(new)?;
    let root = TrustRoot::parse(&text).with_context(|| format!("cannot use {}", new.display()))?;
    let mut update = if out.exists() {
        let update = read_update(out)?;
        if update.trust != text {
            bail!(
                "{} is an update to a trust.toml other than {}; remove it, or choose another --out",
                out.display(),
                new.display()
            );
        }
        update
    } else {
        TrustUpdate::new(text)
    };
    let before = update.bundles.len();
    update.sign(key).context("cannot sign the update")?;
    // The same key and text give the same bundle.
    let (earlier, added) = update.bundles.split_at(before);
    if added.iter().all(|bundle| earlier.contains(bundle)) {
        update.bundles.truncate(before);
    }
    write_new(out, &update.to_bytes(), Readers::Anyone, true)?;
    Ok((update, root))
}

/// Reads an update.
pub(super) fn read_update(path: &Path) -> anyhow::Result<TrustUpdate> {
    TrustUpdate::parse(&read_bytes(path)?).with_context(|| format!("cannot use {}", path.display()))
}
