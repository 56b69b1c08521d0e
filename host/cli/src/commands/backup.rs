use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_config::Config;
use hotshoe_differential_privacy::{BUDGET_FILE, Budget};
use hotshoe_outbox::mark_as_copy;
use hotshoe_release::files::read_limited;
use hotshoe_release::logging;
use hotshoe_release::terminal::{Terminal, size};
use hotshoe_store::{LOCK_FILE, lock_folder};
use hotshoe_trust::{Digest, Hasher, Time};
use serde::{Deserialize, Serialize};

use crate::data_folder::{self, Kind, RESTORE, check_owner, contains};
use crate::fleet::local::{local_config, record_offline};

/// The list of files of a backup.
const LIST: &str = "backup.json";
/// Largest list, in bytes.
const MAX_LIST_BYTES: u64 = 64 << 20;
/// The format of the list.
const FORMAT: u32 = 1;
/// What a backup leaves out: locks, sockets, and what is made again. The privacy budget too: an earlier one would give back what was spent.
const LEFT_OUT: [&str; 8] = [
    LOCK_FILE,
    "secrets.lock",
    "control.sock",
    "aot",
    "parts",
    "damaged",
    BUDGET_FILE,
    RESTORE,
];
/// The folder of the outbox in a data folder.
const OUTBOX: &str = "outbox";

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
    /// Checks the key and the digest of each file first. A device whose data folder has more than an audit log, which then stays, is left as it
    /// is: `hotshoe reset --erase --keep-key` empties it and keeps the key, without which an encrypted backup cannot be read. The privacy budget
    /// of the day counts as spent.
    #[command(after_help = "\
Example:
  hotshoe backup restore --from /media/backup/line-4 --config hotshoe.toml

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Restore(RestoreArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// The folder to create, not in the data folder
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
    /// The digest of each file, by its path below the data folder.
    files: BTreeMap<String, Digest>,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let (done, folder, files, bytes) = match args.action {
        Action::Create(CreateArgs { out, config }) => {
            let (files, bytes) = create(&local_config(config.as_deref())?, &out)?;
            ("copied to", out, files, bytes)
        }
        Action::Restore(RestoreArgs { from, config }) => {
            let config = local_config(config.as_deref())?;
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
    ensure!(
        !contains(&config.data, out),
        "{} is in the data folder {}; give a folder outside of it",
        out.display(),
        config.data.display()
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
    // A log that a reset kept has all that the backup's has.
    let is_audit = |path: &Path| path.starts_with(hotshoe_audit::FOLDER);
    let here = below(data)?;
    if !here.iter().all(|path| is_audit(path)) {
        bail!(
            "the data folder {} is not empty; `hotshoe reset --erase --keep-key` empties it, and keeps the key that the backup needs",
            data.display()
        );
    }
    let keeps_audit = !here.is_empty();
    // Before anything is written.
    check_files(config, from, &list)?;
    let disk = Disk::new(Faults::never());
    let mark = data.join(RESTORE);
    disk.replace(&mark, b"")
        .with_context(|| format!("cannot write {}", mark.display()))?;
    // It is not known what the device has spent since the backup.
    Budget::spend_all(data, &disk)?;
    let mut bytes = 0;
    // The ledger last: a folder with blobs and without it does not open, and so a restore that broke off is found.
    let (ledger, others): (Vec<_>, Vec<_>) = list
        .files
        .keys()
        .filter(|name| !(keeps_audit && is_audit(Path::new(name))))
        .partition(|name| *name == "ledger.json");
    for name in others {
        bytes += copy(&disk, &from.join(name), &data.join(name))?.1;
    }
    mark_as_copy(&data.join(OUTBOX), &disk)?;
    for name in ledger {
        bytes += copy(&disk, &from.join(name), &data.join(name))?.1;
    }
    disk.remove(&mark)
        .with_context(|| format!("cannot remove {}", mark.display()))?;
    record_offline(data, Time::now(), |entry| {
        let made = list.made.to_string();
        let entry = entry.with("command", "backup").with("action", "restore");
        entry.with("made", made).with("outcome", "done")
    });
    Ok((list.files.len(), bytes))
}

/// Refuses a backup of another key, and one with a changed byte.
fn check_files(config: &Config, from: &Path, list: &List) -> anyhow::Result<()> {
    let at_rest = config.encryption.open()?;
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
    // After the digests: a header that was changed is damage, not another key.
    let files = list.files.keys().map(|name| from.join(name));
    Ok(at_rest.check_key(files)?)
}

/// Locks the data folder.
fn locked(data: &Path) -> anyhow::Result<File> {
    check_owner(data)?;
    lock_folder(data).with_context(|| format!("cannot use the data folder {}", data.display()))
}

/// The files below a data folder that a backup has, sorted, by their paths in it. A link to a file is one, as the device reads it; a link to a
/// folder that the device's store does not follow is refused, since a backup without it is not whole.
fn below(data: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let is_left_out = |path: &Path| LEFT_OUT.iter().any(|name| path == Path::new(name));
    let mut found = Vec::new();
    for entry in data_folder::entries(data, is_left_out)? {
        let path = data.join(&entry.path);
        match entry.kind {
            Kind::File(_) => found.push(entry.path),
            Kind::Other if path.is_file() => found.push(entry.path),
            Kind::Other if path.is_dir() && !data_folder::is_followed(data, &path) => bail!(
                "{} is a link to a folder, which a backup does not follow; mount that folder there instead",
                path.display()
            ),
            Kind::Other | Kind::Folder => {}
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
    disk.replace_with(to, |file| read(from, |piece| disk.write(file, piece)))
        .with_context(cannot)
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
