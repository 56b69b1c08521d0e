use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_daemon::command::SecretAction;
use hotshoe_release::terminal::Terminal;
use hotshoe_release::{logging, passphrase};
use hotshoe_sealing::{
    AtRest, DEFAULT_TPM, DeviceKey, MAX_PCR, MAX_SECRET_BYTES, Secret, SecretError, Secrets,
};
use hotshoe_store::Recording;
use serde_json::json;

use crate::data_folder::check_owner;
use crate::fleet::local::{local_config, record_secret};

/// Set, list and remove the secrets of this device
///
/// Passwords and tokens are stored encrypted in the data folder, with the key of [encryption] in hotshoe.toml. Keys of hotshoe.toml such as
/// outbox.mqtt.password-secret name them. A value is never shown, and a new one applies at its next use. Changes are in the audit log.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "\
Example:
  hotshoe secret key /media/key/hotshoe.key
  hotshoe secret set broker --config hotshoe.toml < broker.password
  hotshoe secret list --config hotshoe.toml

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Create the key that encrypts the files of a device
    ///
    /// Writes a new random key to a file that only its owner can read, and never replaces one. Keep a copy elsewhere: without the key, the
    /// encrypted files of the device cannot be read.
    #[command(after_help = "\
Example:
  hotshoe secret key /media/key/hotshoe.key
  systemd-creds encrypt --with-key=tpm2 --name=hotshoe.key hotshoe.key /etc/credstore.encrypted/hotshoe.key

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Key(KeyArgs),
    /// Seal the key of a device to its TPM 2.0
    ///
    /// Writes a file for encryption.tpm-file: the TPM gives the key on this device alone, and only while the PCRs have the values that they
    /// have now. Keep the key itself elsewhere: after an update of the firmware, it is needed to seal it again. Needs a program that was built
    /// with the feature tpm.
    #[command(after_help = "\
Example:
  hotshoe secret seal /media/key/hotshoe.key --out /etc/hotshoe/sealed.key --pcr 7

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Seal(SealArgs),
    /// Set a secret
    ///
    /// Reads the value from standard input, or asks for it on a terminal. One line feed at the end does not count.
    #[command(after_help = "\
Example:
  hotshoe secret set broker --config hotshoe.toml < broker.password

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Set(NameArgs),
    /// List the names of the secrets
    #[command(after_help = "\
Example:
  hotshoe secret list --config hotshoe.toml --json

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    List(Target),
    /// Remove a secret
    #[command(after_help = "\
Example:
  hotshoe secret remove broker --config hotshoe.toml

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Remove(NameArgs),
    /// Copy an encrypted recording to a folder that other commands read
    ///
    /// The copy is not encrypted. Each file is checked against its digest.
    #[command(after_help = "\
Example:
  hotshoe record --site lab --device line-4 --stage pre -o line-4 --encrypt-with record.key --connect tcp/192.0.2.7:7447
  hotshoe secret decrypt line-4 --key record.key --out line-4-plain
  hotshoe test . --recorded line-4-plain

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Decrypt(DecryptArgs),
}

#[derive(Debug, clap::Args)]
struct DecryptArgs {
    /// The folder of the recording
    #[arg(value_name = "DIR")]
    recording: PathBuf,
    /// The file of the key that it was encrypted with
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The folder to create
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct KeyArgs {
    /// The file to create
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct SealArgs {
    /// The file of the key
    #[arg(value_name = "KEY")]
    key: PathBuf,
    /// The file to create
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A PCR of the SHA-256 bank; may be repeated. 7 is the state of Secure Boot
    #[arg(long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u8).range(0..=i64::from(MAX_PCR)))]
    pcr: Vec<u8>,
    /// The TPM, in the notation of tpm2-tss
    #[arg(long, value_name = "TPM", default_value = DEFAULT_TPM)]
    tpm: String,
}

#[derive(Debug, clap::Args)]
struct NameArgs {
    /// The secret's name: lower-case letters, digits, hyphens and dots
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
struct Target {
    /// The device's configuration [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    match args.action {
        Action::Key(KeyArgs { file }) => {
            let key = DeviceKey::create(&file)?;
            if terminal.json {
                terminal.json(&json!({ "file": file, "key": key.id() }))?;
            } else {
                terminal.print(format!(
                    "{} key {} in {}; keep a copy of it elsewhere",
                    terminal.good("created"),
                    key.id(),
                    file.display()
                ))?;
            }
        }
        Action::Seal(args) => seal(&args, terminal)?,
        Action::Set(NameArgs { name, target }) => {
            let value = Secret::new(
                passphrase::secret(&name, MAX_SECRET_BYTES)?
                    .as_str()
                    .to_owned(),
            );
            let (data, ()) = change(&target, |secrets, key| Ok(secrets.set(key, &name, value)?))?;
            record_secret(&data, SecretAction::Set { name: name.clone() });
            report("set", &name, terminal)?;
        }
        Action::List(target) => list(&target, terminal)?,
        Action::Remove(NameArgs { name, target }) => {
            let (data, was_there) =
                change(&target, |secrets, key| Ok(secrets.remove(key, &name)?))?;
            if !was_there {
                return Err(SecretError::Unknown { name }.into());
            }
            record_secret(&data, SecretAction::Remove { name: name.clone() });
            report("removed", &name, terminal)?;
        }
        Action::Decrypt(args) => decrypt(&args, terminal)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn seal(args: &SealArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let pcrs: BTreeSet<u8> = args.pcr.iter().copied().collect();
    let key = DeviceKey::seal_with_tpm(&args.key, &args.out, &args.tpm, &pcrs)?;
    if terminal.json {
        return terminal.json(&json!({ "file": args.out, "key": key.id(), "pcrs": pcrs }));
    }
    terminal.print(format!(
        "{} key {} in {}; keep {} elsewhere, to seal it again after an update of the firmware",
        terminal.good("sealed"),
        key.id(),
        args.out.display(),
        args.key.display()
    ))
}

fn decrypt(args: &DecryptArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let at_rest = AtRest::sealed(DeviceKey::read(&args.key)?, false);
    let recording = Recording::open_at_rest(&args.recording, &at_rest)?;
    let files = recording.copy_plain(&args.out)?;
    if terminal.json {
        return terminal.json(&json!({ "recording": args.out, "files": files }));
    }
    terminal.print(format!(
        "{} {files} files in {}; they are not encrypted",
        terminal.good("decrypted"),
        args.out.display()
    ))
}

fn report(done: &str, name: &str, terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json(&json!({ "name": name }));
    }
    terminal.print(format!("{} {name}", terminal.good(done)))
}

/// Changes the store, one process at a time. A daemon may run: it reads the file when it needs a secret. Returns the data folder too.
fn change<T>(
    target: &Target,
    change: impl FnOnce(&mut Secrets, &DeviceKey) -> anyhow::Result<T>,
) -> anyhow::Result<(PathBuf, T)> {
    let config = local_config(target.config.as_deref())?;
    check_owner(&config.data)?;
    let at_rest = config.encryption.open()?;
    let disk = Disk::new(Faults::never());
    let cannot = || format!("cannot use the data folder {}", config.data.display());
    disk.make_folder(&config.data).with_context(cannot)?;
    let lock = disk.open(&config.data.join("secrets.lock"));
    let lock = lock.with_context(cannot)?;
    lock.lock().with_context(cannot)?;
    let mut secrets = config.stored_secrets(&at_rest, disk)?;
    let key = at_rest.key().ok_or(SecretError::NoKey)?;
    let changed = change(&mut secrets, key)?;
    Ok((config.data, changed))
}

fn list(target: &Target, terminal: &Terminal) -> anyhow::Result<()> {
    let config = local_config(target.config.as_deref())?;
    let at_rest = config.encryption.open()?;
    let listed = config.secret_source(&at_rest).names()?;
    if terminal.json {
        let secrets = listed
            .iter()
            .map(|(name, place)| json!({ "name": name, "from": place.name() }));
        return terminal.json(&json!({ "secrets": secrets.collect::<Vec<_>>() }));
    }
    if listed.is_empty() {
        return terminal.print("no secrets");
    }
    let rows = listed
        .into_iter()
        .map(|(name, place)| vec![name, place.name().to_owned()]);
    terminal.print(terminal.table(&["secret", "from"], rows))
}
