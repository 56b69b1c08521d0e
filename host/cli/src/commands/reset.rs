use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use hotshoe_config::Config;
use hotshoe_release::logging;
use hotshoe_release::terminal::{Terminal, size};
use hotshoe_store::{LOCK_FILE, lock_folder};
use hotshoe_trust::Time;
use serde::Serialize;

use crate::fleet::local::{CONFIG, record_offline};

/// Erase what this device has: releases, models, records, secrets and keys
///
/// Removes everything in the data folder, and the file of the key in [encryption]: without it, copies of encrypted files that the disk may
/// keep cannot be read. No daemon may run. The configuration, trust.toml and the certificates stay. At the site, `hotshoe site remove` takes
/// the device off the list.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  systemctl stop hotshoe
  hotshoe reset --erase --config hotshoe.toml

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Args {
    /// Erase the data: it cannot be undone
    #[arg(long, required = true)]
    erase: bool,
    /// Keep the file of the key that encrypts the device's files
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
}

/// What happened to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Key {
    /// Files are not encrypted.
    None,
    Erased,
    /// It is not a file that this program can remove, or was to be kept.
    Kept,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    ensure!(args.erase, "give --erase: the data cannot be restored");
    let path = args.config.as_deref().unwrap_or(Path::new(CONFIG));
    let config = Config::load(path)
        .with_context(|| format!("cannot use {}; give --config", path.display()))?;
    let data = config.data.clone();
    // Held to the end: no daemon starts meanwhile.
    let lock = lock_folder(&data)
        .with_context(|| format!("cannot use the data folder {}", data.display()))?;
    // Before the key: a reset that broke off is then in the log that it left, or in the kept one.
    record_offline(&data, Time::now(), |entry| entry.with("command", "reset"));
    // From then on, what is left on the disk is unreadable.
    let key = if args.keep_key {
        kept(&config)
    } else {
        erase_key(&config)?
    };
    let (mut files, mut bytes) = (0, 0);
    remove_all(&data, args.keep_audit, &mut files, &mut bytes)?;
    drop(lock);
    let report = Report {
        data,
        files,
        bytes,
        key,
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
    match report.key {
        Key::Erased => terminal.print("the key of the device's files is erased")?,
        Key::Kept => terminal.note(
            "the key of the device's files was not removed: remove it where it is kept, such as systemd's credentials",
        ),
        Key::None => terminal.note(
            "the files were not encrypted: the disk may keep copies of them until it overwrites them",
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn kept(config: &Config) -> Key {
    let encryption = &config.encryption;
    if encryption.key_file.is_some() || encryption.keyring.is_some() {
        Key::Kept
    } else {
        Key::None
    }
}

/// Overwrites the file of the key, and removes it.
fn erase_key(config: &Config) -> anyhow::Result<Key> {
    let Some(path) = &config.encryption.key_file else {
        return Ok(kept(config));
    };
    if !path.exists() {
        return Ok(Key::Erased);
    }
    let Ok(mut file) = fs::OpenOptions::new().write(true).open(path) else {
        // Credentials of systemd are read-only.
        return Ok(Key::Kept);
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

/// Removes everything in a data folder but the lock that is held, and the audit log if it is to be kept.
fn remove_all(
    data: &Path,
    keep_audit: bool,
    files: &mut u64,
    bytes: &mut u64,
) -> anyhow::Result<()> {
    for entry in fs::read_dir(data).with_context(|| format!("cannot list {}", data.display()))? {
        let entry = entry?;
        let path = entry.path();
        let is_kept = |name: &std::ffi::OsStr| {
            name == LOCK_FILE || (keep_audit && name == hotshoe_audit::FOLDER)
        };
        if path.file_name().is_some_and(is_kept) {
            continue;
        }
        remove(&path, files, bytes).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Removes a file or a folder, and counts the files. A link is removed, not what it leads to: it may be another disk, whose files are
/// removed first.
fn remove(path: &Path, files: &mut u64, bytes: &mut u64) -> std::io::Result<()> {
    let about = path.symlink_metadata()?;
    let is_folder = about.is_dir() || (about.is_symlink() && path.is_dir());
    if is_folder {
        for entry in fs::read_dir(path)? {
            remove(&entry?.path(), files, bytes)?;
        }
    }
    if about.is_dir() {
        return fs::remove_dir(path);
    }
    if about.is_file() {
        *files += 1;
        *bytes += about.len();
    }
    fs::remove_file(path)
}
