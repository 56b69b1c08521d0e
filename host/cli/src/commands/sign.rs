use crate::files::read_text;
use crate::passphrase;
use crate::terminal::Terminal;
use anyhow::Context;
use hotshoe_store::Layout;
use hotshoe_trust::{Digest, SigningKey, is_encrypted, verify_blob};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Sign a release
///
/// Adds a signature (a Sigstore bundle, as an OCI referrer) to what earlier signers added. Several people sign in turn,
/// each on their own machine, until the device's threshold is reached. A bundle that `cosign sign-blob --key` made over
/// the manifest counts as well.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe sign my-release --key alice.key

The passphrase is asked for, or taken from HOTSHOE_PASSPHRASE.")]
pub struct Args {
    /// The release
    #[arg(value_name = "RELEASE")]
    layout: PathBuf,
    /// The secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// What signing did.
#[derive(Debug, Clone, Serialize)]
pub struct Signed {
    /// The digest of the manifest that was signed.
    pub release: Digest,
    /// The fingerprint of the key.
    pub fingerprint: Digest,
    /// How many signatures the release carries now.
    pub signatures: usize,
    /// False if this key had signed before; nothing was added then.
    pub added: bool,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let key = read_key(&args.key)?;
    let signed = sign(&args.layout, &key)?;
    if terminal.json {
        terminal.json(&signed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let done = if signed.added {
        "signed"
    } else {
        "was signed before"
    };
    terminal.print(format!(
        "{}  {}",
        args.layout.display(),
        terminal.dim(&signed.release.to_string())
    ))?;
    terminal.print(format!("{done} by {}", signed.fingerprint))?;
    terminal.print(format!("signatures: {}", signed.signatures))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a secret key; asks for its passphrase where it has one.
pub fn read_key(path: &Path) -> anyhow::Result<SigningKey> {
    let pem = zeroize::Zeroizing::new(read_text(path)?);
    let passphrase = if is_encrypted(&pem) {
        Some(passphrase::recall(path)?)
    } else {
        None
    };
    let passphrase = passphrase.as_ref().map(|passphrase| passphrase.as_str());
    SigningKey::from_pem(&pem, passphrase)
        .with_context(|| format!("cannot use the key {}", path.display()))
}

/// Signs a release's manifest and attaches the bundle, unless this key has signed it already.
pub fn sign(layout: &Path, key: &SigningKey) -> anyhow::Result<Signed> {
    let cannot = || format!("cannot sign {}", layout.display());
    let layout = Layout::open(layout).with_context(cannot)?;
    let package = layout.package().with_context(cannot)?;
    let public_key = key.public_key().with_context(cannot)?;
    let known = package
        .bundles
        .iter()
        .any(|bundle| verify_blob(&package.manifest, bundle, &public_key).is_ok());
    if !known {
        let bundle = key.sign_bundle(&package.manifest).with_context(cannot)?;
        layout.attach(&bundle).with_context(cannot)?;
    }
    Ok(Signed {
        release: Digest::of(&package.manifest),
        fingerprint: public_key.fingerprint(),
        signatures: package.bundles.len() + usize::from(!known),
        added: !known,
    })
}
