use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_config::Config;
use hotshoe_differential_privacy::Budget;
use hotshoe_release::files::read_limited;
use hotshoe_release::logging;
use hotshoe_release::terminal::{Terminal, size};
use hotshoe_store::{LOCK_FILE, lock_folder};
use hotshoe_trust::{Digest, Hasher, Time};
use serde::{Deserialize, Serialize};

use crate::data_files::is_folder;
use crate::fleet::local::{CONFIG, record_offline};

/// The list of files of a backup.
const LIST: &str = "backup.json";
/// Largest list, in bytes.
const MAX_LIST_BYTES: u64 = 64 << 20;
/// The format of the list.
const FORMAT: u32 = 1;
/// The folder of the outbox.
const OUTBOX: &str = "outbox";
/// What a backup leaves out: locks, sockets, and what is made again. The privacy budget too: an earlier one would give back what was spent.
const LEFT_OUT: [&str; 7] = [
    LOCK_FILE,
    "secrets.lock",
    "control.sock",
    "aot",
    "parts",
    "damaged",
    "privacy-budget.json",
];

/// Copy what this device has to a folder, or back
///
/// Releases, states, records that were not delivered, shared values, secrets, the device's key and the audit log. Encrypted files stay
/// encrypted, so the key of [encryption] is needed to restore them, and is not in the backup. No daemon may run.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "\
Example:
  hotshoe backup create --out /media/backup/line-4 --config hotshoe.toml
  hotshoe backup restore --from /media/backup/line-4 --config hotshoe.toml

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Copy the data folder to a new folder
    #[command(after_help = "\
Example:
  hotshoe backup create --out /media/backup/line-4 --config hotshoe.toml

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Create(CreateArgs),
    /// Copy a backup to an empty data folder
    ///
    /// Checks the digest of each file and the key of [encryption] first. A device whose data folder has something is left as it is:
    /// `hotshoe reset --erase --keep-key` empties it; a log that `--keep-audit` kept goes on. The privacy budget of the day counts as spent.
    #[command(after_help = "\
Example:
  hotshoe backup restore --from /media/backup/line-4 --config hotshoe.toml

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Restore(RestoreArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// The folder to create
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The device's configuration [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RestoreArgs {
    /// The folder of the backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The device's configuration [default: hotshoe.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What a backup has.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    format: u32,
    site: String,
    device: String,
    made: Time,
    /// The inode of the outbox's folder, by which the outbox tells a copy of itself.
    outbox_inode: Option<u64>,
    /// The digest of each file, by its path below the data folder.
    files: BTreeMap<String, Digest>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let (done, folder, files, bytes) = match args.action {
        Action::Create(CreateArgs { out, config }) => {
            let (files, bytes) = create(&load(config.as_deref())?, &out)?;
            ("copied to", out, files, bytes)
        }
        Action::Restore(RestoreArgs { from, config }) => {
            let config = load(config.as_deref())?;
            let (files, bytes) = restore(&config, &from)?;
            ("restored to", config.data, files, bytes)
        }
    };
    if terminal.json {
        terminal.json(&serde_json::json!({ "folder": folder, "files": files, "bytes": bytes }))?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal.print(format!(
        "{} {}: {files} files ({})",
        terminal.good(done),
        folder.display(),
        size(bytes)
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn load(config: Option<&Path>) -> anyhow::Result<Config> {
    let path = config.unwrap_or(Path::new(CONFIG));
    Config::load(path).with_context(|| format!("cannot use {}; give --config", path.display()))
}

fn create(config: &Config, out: &Path) -> anyhow::Result<(usize, u64)> {
    ensure!(
        !out.exists(),
        "{} already exists; give a new folder",
        out.display()
    );
    ensure!(
        config.data.exists(),
        "there is no data folder {}",
        config.data.display()
    );
    let whole = |path: &Path| {
        fs::canonicalize(path).with_context(|| format!("cannot use {}", path.display()))
    };
    let parent = match out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let existing = parent.ancestors().find(|it| it.exists()).unwrap_or(parent);
    ensure!(
        !whole(existing)?.starts_with(whole(&config.data)?),
        "{} is in the data folder, of which it would be a part; give a folder elsewhere",
        out.display()
    );
    let _lock = locked(&config.data)?;
    let made = Time::now();
    // First, so that the backup has it.
    record_offline(&config.data, made, |entry| {
        entry.with("command", "backup").with("action", "create")
    });
    let disk = Disk::new(Faults::never());
    let mut list = List {
        format: FORMAT,
        site: config.site.clone(),
        device: config.device.clone(),
        made,
        outbox_inode: inode(&config.data.join(OUTBOX)),
        files: BTreeMap::new(),
    };
    let mut bytes = 0;
    for path in below(&config.data)? {
        let (digest, copied) = copy(&disk, &config.data.join(&path), &out.join(&path))?;
        bytes += copied;
        let name = path
            .to_str()
            .with_context(|| format!("the file name {} is not UTF-8", path.display()))?;
        list.files.insert(name.to_owned(), digest);
    }
    // Last: a folder without it is not a backup.
    let text = serde_json::to_vec_pretty(&list)?;
    let path = out.join(LIST);
    disk.make_folder(out)
        .and_then(|()| disk.replace(&path, &text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok((list.files.len(), bytes))
}

fn restore(config: &Config, from: &Path) -> anyhow::Result<(usize, u64)> {
    let path = from.join(LIST);
    let list: List = serde_json::from_slice(&read_limited(&path, MAX_LIST_BYTES)?)
        .with_context(|| format!("{} is not the list of a backup", path.display()))?;
    ensure!(
        list.format == FORMAT,
        "the backup has format {}, and this program reads {FORMAT}; use a newer version",
        list.format
    );
    ensure!(
        (&list.site, &list.device) == (&config.site, &config.device),
        "the backup is of device {} of site {}",
        list.device,
        list.site
    );
    let data = &config.data;
    let _lock = locked(data)?;
    // A reset may have kept the log, which goes on.
    let of_log = |path: &Path| path.starts_with(hotshoe_audit::FOLDER);
    let own = below(data)?;
    if !own.iter().all(|path| of_log(path)) {
        bail!(
            "the data folder {} is not empty; `hotshoe reset --erase --keep-key` empties it, and keeps the key that encrypted files of the backup need",
            data.display()
        );
    }
    config
        .encryption
        .open()?
        .check_key(list.files.keys().map(|name| from.join(name)))
        .context("the backup cannot be used with the key of [encryption]")?;
    // Before anything is written.
    for (name, expected) in &list.files {
        let path = Path::new(name);
        let is_below = path
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        ensure!(is_below, "the backup names {name}, which is not below it");
        let path = from.join(path);
        let found = read(&path, |_| Ok(()))
            .with_context(|| format!("cannot read {}", path.display()))?
            .0;
        ensure!(
            found == *expected,
            "{} is damaged: its bytes hash to {found}",
            path.display()
        );
    }
    let disk = Disk::new(Faults::never());
    // It is not known what the device has spent since the backup.
    Budget::spend_all(data, &disk)?;
    if list
        .files
        .keys()
        .any(|name| Path::new(name).starts_with(OUTBOX))
    {
        new_outbox(&disk, data, list.outbox_inode)?;
    }
    let mut bytes = 0;
    // The ledger last: a folder with blobs and without it does not open, and so a restore that broke off is found.
    let (ledger, others): (Vec<_>, Vec<_>) =
        list.files.keys().partition(|name| *name == "ledger.json");
    for name in others.into_iter().chain(ledger) {
        if !own.is_empty() && of_log(Path::new(name)) {
            continue;
        }
        bytes += copy(&disk, &from.join(name), &data.join(name))?.1;
    }
    record_offline(data, Time::now(), |entry| {
        let made = list.made.to_string();
        let entry = entry.with("command", "backup").with("action", "restore");
        entry.with("made", made).with("outcome", "done")
    });
    Ok((list.files.len(), bytes))
}

/// Makes the folder of the outbox, by which the outbox tells that it is a copy: with the same inode it would use numbers again that the device
/// has used since the backup.
fn new_outbox(disk: &Disk, data: &Path, other_than: Option<u64>) -> anyhow::Result<()> {
    let (folder, second) = (data.join(OUTBOX), data.join("outbox.new"));
    let made = disk.make_folder(&folder).and_then(|()| {
        if inode(&folder) != other_than {
            return Ok(());
        }
        disk.make_folder(&second)?;
        fs::remove_dir(&folder)?;
        disk.rename(&second, &folder)
    });
    made.with_context(|| format!("cannot create {}", folder.display()))
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|about| about.ino())
}

/// Locks the data folder.
fn locked(data: &Path) -> anyhow::Result<File> {
    lock_folder(data).with_context(|| format!("cannot use the data folder {}", data.display()))
}

/// The files below a data folder that a backup has, sorted, by their paths in it.
fn below(data: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let here = data.join(&folder);
        for entry in
            fs::read_dir(&here).with_context(|| format!("cannot list {}", here.display()))?
        {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if LEFT_OUT.iter().any(|name| path == Path::new(name)) {
                continue;
            }
            let cannot = || format!("cannot read {}", entry.path().display());
            if is_folder(data, &path).with_context(cannot)? {
                folders.push(path);
            } else if entry.file_type().with_context(cannot)?.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a file, durably. Returns its digest and its bytes.
fn copy(disk: &Disk, from: &Path, to: &Path) -> anyhow::Result<(Digest, u64)> {
    let cannot = || format!("cannot copy {} to {}", from.display(), to.display());
    disk.make_folder(hotshoe_base::disk::parent(to))
        .with_context(cannot)?;
    // Whole or not there, also after a power cut.
    let part = to.with_added_extension("part");
    let mut file = disk.create(&part).with_context(cannot)?;
    let copied = read(from, |piece| file.write_all(piece)).with_context(cannot)?;
    disk.finish(&file, &part, to).with_context(cannot)?;
    Ok(copied)
}

/// Passes the pieces of a file on. Returns its digest and its bytes.
fn read(
    path: &Path,
    mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<(Digest, u64)> {
    let mut file: File = hotshoe_base::files::open(path)?;
    let (mut hasher, mut bytes) = (Hasher::new(), 0);
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut piece)?;
        let read = piece.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Ok((hasher.finish(), bytes));
        }
        hasher.update(read);
        bytes += count as u64;
        each(read)?;
    }
}
