use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_config::Config;
use hotshoe_differential_privacy::{BUDGET_FILE, Budget};
use hotshoe_release::logging;
use hotshoe_release::terminal::{Terminal, size};
use hotshoe_store::{LOCK_FILE, lock_folder};
use hotshoe_trust::Time;
use serde::Serialize;

use crate::data_folder::{self, Entry, Kind, check_erasable, check_owner, is_mark};
use crate::fleet::local::{CONFIG, local_config, record_offline};

/// Erase what this device has: releases, models, records, secrets and keys
///
/// Removes everything in the data folder but the privacy budget, which counts as spent, and the file of the key in [encryption]: without it,
/// copies of encrypted files that the disk may keep cannot be read, nor can a backup. No daemon may run. The configuration, trust.toml and the
/// certificates stay. At the site, `hotshoe site remove` takes the device off the list.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  systemctl stop hotshoe
  hotshoe reset --erase --config hotshoe.toml

Example: before a backup is restored
  hotshoe reset --erase --keep-key --config hotshoe.toml

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Args {
    /// Erase the data: it cannot be undone
    #[arg(long, required = true)]
    erase: bool,
    /// Keep the file of the key that encrypts the device's files and its backups
    #[arg(long)]
    keep_key: bool,
    /// Keep the audit log, with a record of this reset: names, digests and times
    #[arg(long)]
    keep_audit: bool,
    /// The device's configuration [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    data: PathBuf,
    files: u64,
    bytes: u64,
    key: Key,
    /// Links to other folders, which were removed; not what they led to.
    links: Vec<PathBuf>,
}

/// What happened to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Key {
    /// Files are not encrypted.
    None,
    Erased,
    /// Its file is not there now: it may be on a disk that is not connected, or a credential of a service that does not run.
    Missing,
    /// It is not a file that this program can remove, or was to be kept.
    Kept,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    ensure!(args.erase, "give --erase: the data cannot be restored");
    let path = args.config.as_deref().unwrap_or(Path::new(CONFIG));
    let config = local_config(Some(path))?;
    let data = config.data.clone();
    // A key to keep may not be in it.
    let kept_key = config.encryption.file().filter(|_| args.keep_key);
    check_erasable(&config, path, kept_key.as_slice())?;
    check_owner(&data)?;
    // Held to the end: no daemon starts meanwhile.
    let lock = lock_folder(&data)
        .with_context(|| format!("cannot use the data folder {}", data.display()))?;
    // Before the key: a reset that broke off is then in the log that it left, or in the kept one.
    record_offline(&data, Time::now(), |entry| entry.with("command", "reset"));
    spend_budget(&data)?;
    // From then on, what is left on the disk is unreadable.
    let key = if args.keep_key {
        kept(&config)
    } else {
        erase_key(&config)?
    };
    let (mut files, mut bytes) = (0, 0);
    let links = remove_all(&data, args.keep_audit, &mut files, &mut bytes)?;
    drop(lock);
    let report = Report {
        data,
        files,
        bytes,
        key,
        links,
    };
    if terminal.json {
        terminal.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal.print(format!(
        "{} {}: {} files ({})",
        terminal.good("erased"),
        report.data.display(),
        report.files,
        size(report.bytes)
    ))?;
    for link in &report.links {
        terminal.note(format!(
            "{} led to another folder, whose files were not erased",
            link.display()
        ));
    }
    match report.key {
        Key::Erased => terminal.print("the key of the device's files is erased")?,
        Key::Kept | Key::Missing => terminal.note(
            "the key of the device's files was not removed: remove it where it is kept, such as systemd's credentials",
        ),
        Key::None => terminal.note(
            "the files were not encrypted: the disk may keep copies of them until it overwrites them",
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// Spends what is left of the day: the budget stays, so that a reset gives nothing back.
fn spend_budget(data: &Path) -> anyhow::Result<()> {
    if data.join(BUDGET_FILE).exists() {
        Budget::spend_all(data, &Disk::new(Faults::never()))?;
    }
    Ok(())
}

fn kept(config: &Config) -> Key {
    let encryption = &config.encryption;
    if encryption.file().is_some() || encryption.keyring.is_some() {
        Key::Kept
    } else {
        Key::None
    }
}

/// Overwrites the file of the key, and removes it.
fn erase_key(config: &Config) -> anyhow::Result<Key> {
    let Some(path) = config.encryption.file() else {
        return Ok(kept(config));
    };
    let mut file = match fs::OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Key::Missing),
        // Credentials of systemd are read-only.
        Err(_) => return Ok(Key::Kept),
    };
    let cannot = || {
        format!(
            "cannot erase the key {}; nothing was removed",
            path.display()
        )
    };
    let len = file.metadata().with_context(cannot)?.len();
    let zeros = vec![0; usize::try_from(len.min(4_096)).unwrap_or_default()];
    file.write_all(&zeros).with_context(cannot)?;
    file.sync_all().with_context(cannot)?;
    drop(file);
    fs::remove_file(path).with_context(cannot)?;
    Ok(Key::Erased)
}

/// Removes everything in a data folder but the lock that is held, the privacy budget, and the audit log if it is to be kept. Counts the files.
/// A link is removed, not what it leads to, unless blobs are there. Returns the links to other folders.
fn remove_all(
    data: &Path,
    keep_audit: bool,
    files: &mut u64,
    bytes: &mut u64,
) -> anyhow::Result<Vec<PathBuf>> {
    let is_kept = |path: &Path| {
        [LOCK_FILE, BUDGET_FILE]
            .iter()
            .any(|name| path == Path::new(name))
            || (keep_audit && path == Path::new(hotshoe_audit::FOLDER))
    };
    // What marks the folder last, so that a reset that broke off can be repeated.
    let (marks, others): (Vec<_>, Vec<_>) = data_folder::entries(data, is_kept)?
        .into_iter()
        .partition(|entry| is_mark(&entry.path));
    let mut elsewhere = Vec::new();
    for Entry { path, kind } in others.into_iter().chain(marks) {
        let path = data.join(path);
        if kind == Kind::Other && path.is_dir() && !data_folder::is_followed(data, &path) {
            elsewhere.push(path.clone());
        }
        let removed = match kind {
            Kind::Folder => fs::remove_dir(&path),
            Kind::File(_) | Kind::Other => fs::remove_file(&path),
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
        if let Kind::File(len) = kind {
            *files += 1;
            *bytes += len;
        }
    }
    Ok(elsewhere)
}
