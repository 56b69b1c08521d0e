use crate::files::{Readers, write_new};
use crate::passphrase;
use crate::terminal::Terminal;
use anyhow::{Context, bail};
use hotshoe_trust::{Digest, SigningKey, TrustRoot};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Create a signing key
///
/// Creates an ECDSA P-256 key pair: NAME.key, which stays secret, and NAME.pub, for devices. The secret key is encrypted with a
/// passphrase, which is asked for or read from HOTSHOE_PASSPHRASE.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe keygen --name alice --out keys
  hotshoe trust --key alice=keys/alice.pub --out trust.toml")]
pub struct Args {
    /// The folder for the two files
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// The name of the key
    #[arg(long, value_name = "NAME", default_value = "hotshoe")]
    name: String,
    /// Leave the secret key unencrypted, for tests, or if the machine protects it in another way
    #[arg(long)]
    no_passphrase: bool,
    /// Overwrite existing files
    #[arg(long)]
    force: bool,
}

/// A key pair on disk.
#[derive(Debug, Clone, Serialize)]
pub struct KeyPair {
    /// The secret key, PKCS#8 in PEM, readable only by its owner.
    pub secret: PathBuf,
    /// The public key, in PEM.
    pub public: PathBuf,
    /// SHA-256 of the public key's SPKI.
    pub fingerprint: Digest,
    /// The lines of `trust.toml` that allow it to sign every release.
    pub trust_entry: String,
    /// Whether the secret key needs a passphrase.
    pub encrypted: bool,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    check_name(&args.name)?;
    // Before the passphrase is asked for.
    if !args.force {
        for path in paths(&args.out, &args.name) {
            if path.exists() {
                bail!(
                    "{} already exists; choose another --name, or give --force to overwrite it",
                    path.display()
                );
            }
        }
    }
    let passphrase = if args.no_passphrase {
        None
    } else {
        Some(passphrase::choose()?)
    };
    let passphrase = passphrase.as_ref().map(|passphrase| passphrase.as_str());
    let pair = keygen(&args.out, &args.name, passphrase, args.force)?;
    if terminal.json {
        terminal.json(&pair)?;
        return Ok(ExitCode::SUCCESS);
    }
    let state = if pair.encrypted {
        "encrypted"
    } else {
        "NOT encrypted"
    };
    terminal.print(format!(
        "secret key   {}  ({state}; keep it secret)",
        pair.secret.display()
    ))?;
    terminal.print(format!("public key   {}", pair.public.display()))?;
    terminal.print(format!("fingerprint  {}", pair.fingerprint))?;
    terminal.print("\nA device trusts this key with these lines in its trust.toml (`hotshoe trust` writes them):\n")?;
    terminal.print(terminal.dim(pair.trust_entry.trim_end()))?;
    Ok(ExitCode::SUCCESS)
}

/// Creates a key pair `NAME.key` and `NAME.pub` in a folder, which is created if missing.
pub fn keygen(
    folder: &Path,
    name: &str,
    passphrase: Option<&str>,
    force: bool,
) -> anyhow::Result<KeyPair> {
    check_name(name)?;
    let key = SigningKey::generate().context("cannot create a key")?;
    let pem = key
        .to_pem(passphrase)
        .context("cannot write the key as PEM")?;
    let public_key = key.public_key().context("cannot derive the public key")?;
    let [secret, public] = paths(folder, name);
    write_new(&secret, pem.as_bytes(), Readers::Owner, force)?;
    write_new(
        &public,
        public_key.to_pem().as_bytes(),
        Readers::Anyone,
        force,
    )?;
    Ok(KeyPair {
        secret,
        public,
        fingerprint: public_key.fingerprint(),
        trust_entry: TrustRoot::key_entry(name, &public_key, &["*"]),
        encrypted: passphrase.is_some(),
    })
}

fn paths(folder: &Path, name: &str) -> [PathBuf; 2] {
    [
        folder.join(format!("{name}.key")),
        folder.join(format!("{name}.pub")),
    ]
}

/// The name becomes a file name and a key of `trust.toml`.
fn check_name(name: &str) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        bail!(
            "`{name}` is not a valid key name; use letters, digits, `-`, `_` and `.`; it must not start with `.`"
        );
    }
    Ok(())
}
