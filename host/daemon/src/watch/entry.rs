//! One entry of a watched folder: whether it is read, and why not.

use std::fs::File;
use std::io;
use std::path::Path;

use hotshoe_base::files::{Folder, FolderError};
use hotshoe_protocol::event::EventCause;

use crate::watched::Version;

/// Opens a file of the folder. `None` if it is gone or a subfolder, and the cause if it is not read.
pub(super) fn open(folder: &Path, path: &Path) -> Result<Option<(File, Version)>, EventCause> {
    let name = Path::new(path.file_name().unwrap_or_default());
    let opened = Folder::open(folder).map_err(FolderError::from);
    let opened = opened.and_then(|folder| {
        let found = folder.symlink_metadata(name)?;
        if found.is_dir() {
            return Ok(None);
        }
        // Opening a device may change it.
        let is_opened = found.is_file() || found.is_symlink();
        let file = is_opened.then(|| folder.open_file(name)).transpose();
        // The kind of a link that leads nowhere matters, not that its file is gone.
        match file {
            Err(FolderError::Io(_)) if found.is_symlink() => Ok(Some((found, None))),
            file => Ok(Some((found, file?))),
        }
    });
    match opened {
        Ok(None) => Ok(None),
        Ok(Some((found, _))) if found.is_symlink() => {
            let message =
                "a symbolic link is not followed; put the file itself there, or a hard link";
            Err(EventCause::new("symbolic_link", message))
        }
        Ok(Some((_, None))) => Err(EventCause::new("not_a_file", "it is not a regular file")),
        Ok(Some((_, Some(file)))) => {
            // Before the bytes: a write during the read gives another version.
            let version = file.metadata().and_then(|metadata| Version::of(&metadata));
            let version = version.map_err(|error| unreadable(&error))?;
            Ok(Some((file, version)))
        }
        // It was moved or deleted meanwhile.
        Err(FolderError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(FolderError::Io(error)) => Err(unreadable(&error)),
        Err(error @ FolderError::LinkLeadsOut { .. }) => {
            Err(EventCause::new("link_leads_out", error.to_string()))
        }
    }
}

/// The cause of a file that cannot be read.
pub(super) fn unreadable(error: &io::Error) -> EventCause {
    EventCause::new("unreadable", error.to_string())
}

/// Whether the name says that the file is hidden or still being written.
pub(super) fn is_unfinished(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    hidden
        || path.extension().is_some_and(|extension| {
            extension.eq_ignore_ascii_case("part") || extension.eq_ignore_ascii_case("tmp")
        })
}
