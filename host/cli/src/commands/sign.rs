use crate::files::read_text;
use crate::passphrase;
use crate::terminal::Terminal;
use anyhow::{Context, bail};
use hotshoe_store::Layout;
use hotshoe_trust::{Digest, Package, SigningKey, check_bundle, is_encrypted, verify_blob};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Sign a release
///
/// Adds a signature (a Sigstore bundle, as an OCI referrer) to the earlier ones. Several people sign in turn, each on their own machine,
/// until the device's threshold is reached. A signature covers the release's manifest, RELEASE/blobs/sha256/DIGEST, whose path `hotshoe
/// inspect` prints. Other tools such as cosign sign that file with their own keys, and --bundle attaches the signature.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("by").args(["key", "bundle"]).required(true)))]
#[command(after_help = "\
Example:
  hotshoe sign my-release --key alice.key

With cosign's key:
  MANIFEST=$(hotshoe inspect my-release --json | jq -r .manifest)
  cosign sign-blob --key cosign.key --bundle alice.json $MANIFEST
  hotshoe sign my-release --bundle alice.json

The passphrase is asked for, or read from HOTSHOE_PASSPHRASE.")]
pub struct Args {
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

/// The result of signing.
#[derive(Debug, Clone, Serialize)]
pub struct Signed {
    /// The digest of the manifest that was signed.
    pub release: Digest,
    /// The manifest's file.
    pub manifest: PathBuf,
    /// The fingerprint of the key; none for an attached bundle, which only claims one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Digest>,
    /// The hint of the key in the bundle: its fingerprint in base64, as the bundle claims.
    pub key_hint: String,
    /// The number of signatures of the release now.
    pub signatures: usize,
    /// False if the release already had this key's signature, or this bundle.
    pub added: bool,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
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

/// Reads a secret key; asks for its passphrase if it has one.
pub fn read_key(path: &Path) -> anyhow::Result<SigningKey> {
    let pem = zeroize::Zeroizing::new(read_text(path)?);
    let passphrase = if is_encrypted(&pem) {
        Some(passphrase::for_existing(path)?)
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
    let fingerprint = Some(public_key.fingerprint());
    Ok(signed(
        &layout,
        &package,
        !known,
        fingerprint,
        public_key.hint(),
    ))
}

/// Attaches a bundle of another tool, if devices can check it and it is for this release's manifest.
pub fn attach(layout: &Path, bundle: &Path) -> anyhow::Result<Signed> {
    let cannot = || format!("cannot sign {}", layout.display());
    let bytes = read_text(bundle)?.into_bytes();
    let layout = Layout::open(layout).with_context(cannot)?;
    let package = layout.package().with_context(cannot)?;
    let key_hint = check_bundle(&package.manifest, &bytes)
        .with_context(|| format!("cannot use {}", bundle.display()))?;
    let known = package.bundles.contains(&bytes);
    if !known {
        layout.attach(&bytes).with_context(cannot)?;
    }
    Ok(signed(&layout, &package, !known, None, key_hint))
}

/// The result of signing, given the release before.
fn signed(
    layout: &Layout,
    package: &Package,
    added: bool,
    fingerprint: Option<Digest>,
    key_hint: String,
) -> Signed {
    let release = Digest::of(&package.manifest);
    Signed {
        release,
        manifest: layout.blob_path(release),
        fingerprint,
        key_hint,
        signatures: package.bundles.len() + usize::from(added),
        added,
    }
}
