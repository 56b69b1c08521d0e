use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_config::Config;
use hotshoe_daemon::device_key::SECRET;
use hotshoe_differential_privacy::{BUDGET_FILE, Budget};
use hotshoe_release::logging;
use hotshoe_release::terminal::{Terminal, size};
use hotshoe_sealing::SECRETS_FILE;
use hotshoe_store::{LOCK_FILE, lock_folder};
use hotshoe_trust::Time;
use serde::Serialize;

use crate::data_files::is_folder;
use crate::fleet::local::{CONFIG, record_offline};

/// Erase what this device has: releases, models, records, secrets and keys
///
/// Removes everything in the data folder, and the file of the key in [encryption]: without it, copies of encrypted files that the disk may
/// keep cannot be read. No daemon may run. What a link leads to stays, but for blobs on another disk. The privacy budget of the day counts as
/// spent. The configuration, trust.toml and the certificates stay. At the site, `hotshoe site remove` takes
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
    /// Its file is not there, such as that of a unit which does not run.
    Missing,
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
    check_folder(path, &config)?;
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
    // What was spent stays spent, also for the next owner of the folder.
    if data.join(BUDGET_FILE).exists() {
        Budget::spend_all(&data, &Disk::new(Faults::never()))?;
    }
    let mut erased = Erased {
        data: &data,
        keep_audit: args.keep_audit,
        files: 0,
        bytes: 0,
    };
    erased.remove_all()?;
    let (files, bytes) = (erased.files, erased.bytes);
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
        Key::Missing => terminal.note(
            "the key of the device's files is not where hotshoe.toml names it: remove it where it is kept, such as systemd's credentials",
        ),
        Key::None => terminal.note(
            "the files were not encrypted: the disk may keep copies of them until it overwrites them",
        ),
    }
    Ok(ExitCode::SUCCESS)
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
    if !path.exists() {
        return Ok(Key::Missing);
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

/// What only the data folder of a device has. They go last, so that a reset that broke off can be done again.
const MARKS: [&str; 3] = ["ledger.json", SECRET, SECRETS_FILE];

/// Refuses a folder that is not the data folder of a device, such as one by a wrong `data` in the configuration, and one that has more.
fn check_folder(path: &Path, config: &Config) -> anyhow::Result<()> {
    let data = &config.data;
    let entries = fs::read_dir(data)
        .with_context(|| format!("cannot list the data folder {}", data.display()))?;
    let mut is_empty = true;
    for entry in entries {
        let name = entry?.file_name();
        is_empty &= name == LOCK_FILE || name == hotshoe_audit::FOLDER || name == BUDGET_FILE;
    }
    ensure!(
        is_empty || MARKS.iter().any(|mark| data.join(mark).exists()),
        "{} is not the data folder of a device: it has neither {}; correct `data` in {}",
        data.display(),
        MARKS.join(" nor "),
        path.display()
    );
    let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let tls = config.zenoh.tls.iter();
    let of_tls = tls.flat_map(|tls| [&tls.ca, &tls.certificate, &tls.key]);
    let of_tls = of_tls.flatten().map(PathBuf::as_path);
    for kept in [path, config.trust.as_path()].into_iter().chain(of_tls) {
        ensure!(
            !whole(kept).starts_with(whole(data)),
            "{} is in the data folder {}, and must stay; move it, or remove what you no longer need by hand",
            kept.display(),
            data.display()
        );
    }
    Ok(())
}

/// What a reset has removed so far.
struct Erased<'a> {
    data: &'a Path,
    keep_audit: bool,
    files: u64,
    bytes: u64,
}

impl Erased<'_> {
    /// Removes everything but the lock that is held, the privacy budget, and the audit log if it is to be kept.
    fn remove_all(&mut self) -> anyhow::Result<()> {
        let cannot = || format!("cannot list {}", self.data.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(self.data).with_context(cannot)? {
            names.push(PathBuf::from(entry.with_context(cannot)?.file_name()));
        }
        names.sort_by_key(|name| MARKS.iter().any(|mark| name == Path::new(mark)));
        for name in names {
            let is_kept = name == Path::new(LOCK_FILE)
                || name == Path::new(BUDGET_FILE)
                || (self.keep_audit && name == Path::new(hotshoe_audit::FOLDER));
            if !is_kept {
                self.remove(&name)
                    .with_context(|| format!("cannot remove {}", name.display()))?;
            }
        }
        Ok(())
    }

    /// Removes a file or a folder, and counts the files. Of a link, what it leads to stays, but for the blobs on another disk.
    fn remove(&mut self, below: &Path) -> std::io::Result<()> {
        let path = self.data.join(below);
        if is_folder(self.data, below)? {
            for entry in fs::read_dir(&path)? {
                self.remove(&below.join(entry?.file_name()))?;
            }
        }
        let about = path.symlink_metadata()?;
        if about.is_dir() {
            return fs::remove_dir(path);
        }
        if about.is_file() {
            self.files += 1;
            self.bytes += about.len();
        }
        fs::remove_file(path)
    }
}
