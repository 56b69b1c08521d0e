use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use hotshoe_release::keys::{check_name, keygen, paths};
use hotshoe_release::passphrase;
use hotshoe_release::terminal::Terminal;

/// Create a signing key
///
/// Creates an ECDSA P-256 key pair: NAME.key, which stays secret, and NAME.pub, for devices. The secret key is encrypted with a
/// passphrase, which is asked for or read from HOTSHOE_PASSPHRASE.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe keygen --name alice --out keys
  hotshoe trust --key alice=keys/alice.pub --out trust.toml")]
pub(crate) struct Args {
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

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
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
