//! The files of a data folder, for a backup and a reset.

use std::io;
use std::path::Path;

/// What may be a link to a folder on another disk, as the store allows. Any other link is a file: what it leads to is not the device's.
const LINKED: [&str; 2] = ["blobs", "blobs/sha256"];

/// Whether `below`, a path in the data folder, is a folder whose files are the device's.
pub(crate) fn is_folder(data: &Path, below: &Path) -> io::Result<bool> {
    let path = data.join(below);
    let about = path.symlink_metadata()?;
    let may_lead_out = || LINKED.iter().any(|it| below == Path::new(it));
    Ok(about.is_dir() || (about.is_symlink() && may_lead_out() && path.is_dir()))
}
