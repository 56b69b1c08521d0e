//! The data folder of a device as `backup` and `reset` see it: what is in it, and whether it is one.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hotshoe_config::Config;
use hotshoe_differential_privacy::BUDGET_FILE;
use hotshoe_release::files::read_limited;
use hotshoe_store::LOCK_FILE;
use rustix::process::geteuid;

/// The users of this machine.
const USERS: &str = "/etc/passwd";
/// Largest file of users that is read, in bytes.
const MAX_USERS_BYTES: u64 = 1 << 20;
/// The file that a restore writes first and removes last.
pub(crate) const RESTORE: &str = "restore.part";
/// One of these is in every data folder that was used.
const MARKS: [&str; 4] = ["ledger.json", "device.key", "secrets.sealed", RESTORE];
/// What a reset may leave.
const LEFT_BY_RESET: [&str; 3] = [LOCK_FILE, hotshoe_audit::FOLDER, BUDGET_FILE];
/// The only links that lead to a part of a data folder: the store follows no others (`BlobStore`).
const FOLLOWED: [&str; 2] = ["blobs", "blobs/sha256"];

/// What an entry of a data folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file with this many bytes.
    File(u64),
    /// A folder, after what is in it.
    Folder,
    /// A link, a socket or a device: never what it leads to.
    Other,
}

/// An entry, by its path in the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub path: PathBuf,
    pub kind: Kind,
}

/// Everything below a data folder but what `is_left_out`, sorted; a folder comes after its contents. The links of `blobs` and `blobs/sha256`
/// are followed, and come after what they lead to. Others are entries of their own.
pub(crate) fn entries(
    data: &Path,
    is_left_out: impl Fn(&Path) -> bool,
) -> Result<Vec<Entry>, DataFolderError> {
    let mut found = Vec::new();
    // A folder comes once to be listed, and again when its contents are listed.
    let mut open = vec![(PathBuf::new(), None)];
    while let Some((path, listed)) = open.pop() {
        if let Some(kind) = listed {
            found.push(Entry { path, kind });
            continue;
        }
        let here = data.join(&path);
        let cannot = |source| DataFolderError::Read {
            path: here.clone(),
            source,
        };
        if path.as_os_str().is_empty() {
            list(data, &path, &is_left_out, &mut open).map_err(cannot)?;
            continue;
        }
        let about = here.symlink_metadata().map_err(cannot)?;
        let is_followed = about.is_symlink() && is_followed(data, &here) && here.is_dir();
        let kind = if about.is_dir() {
            Kind::Folder
        } else if about.is_file() {
            Kind::File(about.len())
        } else {
            Kind::Other
        };
        open.push((path.clone(), Some(kind)));
        if about.is_dir() || is_followed {
            list(data, &path, &is_left_out, &mut open).map_err(cannot)?;
        }
    }
    Ok(found)
}

/// Adds what a folder has, so that the first by name is taken first.
fn list(
    data: &Path,
    folder: &Path,
    is_left_out: impl Fn(&Path) -> bool,
    open: &mut Vec<(PathBuf, Option<Kind>)>,
) -> io::Result<()> {
    let mut names: Vec<PathBuf> = fs::read_dir(data.join(folder))?
        .map(|entry| Ok(folder.join(entry?.file_name())))
        .collect::<io::Result<_>>()?;
    names.retain(|path| !is_left_out(path));
    names.sort_by(|one, other| other.cmp(one));
    open.extend(names.into_iter().map(|path| (path, None)));
    Ok(())
}

/// Whether a link at this path leads to a part of the data folder.
pub(crate) fn is_followed(data: &Path, path: &Path) -> bool {
    FOLLOWED.iter().any(|name| path == data.join(name))
}

/// Whether this entry marks a data folder. A reset removes it last, so that one that broke off can be repeated.
pub(crate) fn is_mark(path: &Path) -> bool {
    MARKS.iter().any(|name| path == Path::new(name))
}

/// Why a folder is not used as a data folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataFolderError {
    /// Nothing shows that a device used it.
    #[error(
        "{} is not the data folder of a device: it has no ledger.json, device.key or secrets.sealed; correct `data` in the configuration",
        path.display()
    )]
    NotOne {
        /// The folder.
        path: PathBuf,
    },
    /// It has a file that is not the device's data.
    #[error(
        "the data folder {} contains {}, which is not erased; move the file, or correct `data` in the configuration",
        data.display(), path.display()
    )]
    Contains {
        /// The folder.
        data: PathBuf,
        /// The file.
        path: PathBuf,
    },
    /// Files of this process would not be readable for the daemon.
    #[error(
        "the data folder {} belongs to {owner}, who could not read what this command writes; run it as that user: `sudo -u {owner} hotshoe ...`",
        path.display()
    )]
    OtherOwner {
        /// The folder.
        path: PathBuf,
        /// A name, or `'#ID'`.
        owner: String,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl DataFolderError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::NotOne { .. } => "not_a_data_folder",
            Self::Contains { .. } => "data_folder_not_alone",
            Self::OtherOwner { .. } => "other_owner",
            Self::Read { .. } => "io",
        }
    }
}

/// Refuses to write to a data folder of another user. A missing one is created by this process.
pub(crate) fn check_owner(data: &Path) -> Result<(), DataFolderError> {
    let Ok(about) = fs::metadata(data) else {
        return Ok(());
    };
    if about.uid() == geteuid().as_raw() {
        return Ok(());
    }
    Err(DataFolderError::OtherOwner {
        path: data.to_owned(),
        owner: user(about.uid()),
    })
}

/// The name of a user as `sudo` takes it.
fn user(id: u32) -> String {
    let users = read_limited(Path::new(USERS), MAX_USERS_BYTES).unwrap_or_default();
    let users = String::from_utf8_lossy(&users).into_owned();
    let mut named = users.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id.to_string()).then(|| name.to_owned())
    });
    named.next().unwrap_or_else(|| format!("'#{id}'"))
}

/// Refuses to erase a folder that no device used, or that has the configuration, the trusted keys, certificates or one of `others`.
pub(crate) fn check_erasable(
    config: &Config,
    file: &Path,
    others: &[&Path],
) -> Result<(), DataFolderError> {
    let data = &config.data;
    let path = || data.clone();
    let names: Vec<_> = match fs::read_dir(data) {
        Ok(listed) => listed
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<_>>()
            .map_err(|source| DataFolderError::Read {
                path: path(),
                source,
            })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => {
            return Err(DataFolderError::Read {
                path: path(),
                source,
            });
        }
    };
    let is_marked = names.iter().any(|name| is_mark(Path::new(name)));
    // After an earlier reset.
    let is_left = |name: &OsStr| LEFT_BY_RESET.iter().any(|left| name == *left);
    let was_reset = names.iter().any(|name| name == LOCK_FILE);
    if !(is_marked || was_reset && names.iter().all(|name| is_left(name))) {
        return Err(DataFolderError::NotOne { path: path() });
    }
    let mut kept = vec![Some(file), Some(config.trust.as_path())];
    kept.extend(others.iter().copied().map(Some));
    kept.push(config.zenoh.access_control.as_deref());
    if let Some(tls) = &config.zenoh.tls {
        kept.extend([&tls.ca, &tls.certificate, &tls.key].map(|it| it.as_deref()));
    }
    let fronts = [
        config.oip.as_ref().and_then(|it| it.tls.as_ref()),
        config.page.as_ref().and_then(|it| it.tls.as_ref()),
        config.metrics.as_ref().and_then(|it| it.tls.as_ref()),
    ];
    for tls in fronts.into_iter().flatten() {
        kept.extend([Some(tls.certificate.as_path()), Some(tls.key.as_path())]);
        kept.push(tls.client_ca.as_deref());
    }
    for path in kept.into_iter().flatten() {
        // A missing file cannot be lost.
        if path.exists() && contains(data, path) {
            return Err(DataFolderError::Contains {
                data: data.clone(),
                path: path.to_owned(),
            });
        }
    }
    Ok(())
}

/// Whether a path, which may not exist yet, is in a data folder or where one of its links leads.
pub(crate) fn contains(data: &Path, path: &Path) -> bool {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let existing = path.ancestors().find_map(|it| it.canonicalize().ok());
    let followed = FOLLOWED.iter().map(|name| data.join(name));
    let mut roots = std::iter::once(data.to_owned()).chain(followed);
    roots.any(|root| {
        let root = root.canonicalize();
        existing
            .as_ref()
            .is_some_and(|path| root.is_ok_and(|root| path.starts_with(root)))
    })
}
