//! A folder that someone else may write.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions, OpenOptionsExt as _};

use super::{NO_WAIT, read_open, regular};

/// Why a file of a folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A link leads out of the folder.
    #[error("{} is a link that leads out of its folder, to {}; put the file itself there", link.display(), target.display())]
    LinkLeadsOut {
        /// The link.
        link: PathBuf,
        /// What the link says.
        target: PathBuf,
    },
    /// An I/O error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An open folder that someone else may write. Names are resolved below it: a link inside leads no further than its edge, even one
/// that changes during the call. The folder's own path may be or contain a link.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    dir: Dir,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            dir: Dir::open_ambient_dir(path, ambient_authority())?,
        })
    }

    /// Opens a regular file by its path relative to the folder, as [`super::open`] does.
    ///
    /// # Errors
    /// [`FolderError`]; an absolute link counts as one that leads out.
    pub fn open_file(&self, name: &Path) -> Result<File, FolderError> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(NO_WAIT);
        let opened = self.dir.open_with(name, &options);
        regular(opened.map(cap_std::fs::File::into_std)).map_err(|error| self.explain(name, error))
    }

    /// Reads a regular file of at most `most` bytes, as [`super::read_bytes`] does.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn read_bytes(&self, name: &Path, most: u64) -> Result<Vec<u8>, FolderError> {
        Ok(read_open(self.open_file(name)?, most)?)
    }

    /// The names of the folder's entries, sorted.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn entries(&self) -> io::Result<Vec<OsString>> {
        let entries = self.dir.entries()?;
        let mut names = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    /// What an entry is, without following it if it is a link.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn symlink_metadata(&self, name: &Path) -> io::Result<Metadata> {
        self.dir.symlink_metadata(name)
    }

    /// Finds the link that made a name lead out.
    fn explain(&self, name: &Path, error: io::Error) -> FolderError {
        if !leads_out(&error) {
            return error.into();
        }
        let mut prefix = PathBuf::new();
        for component in name.components() {
            prefix.push(component);
            let Ok(target) = self.dir.read_link_contents(&prefix) else {
                continue;
            };
            if self.dir.metadata(&prefix).is_err_and(|it| leads_out(&it)) {
                let link = self.path.join(prefix);
                return FolderError::LinkLeadsOut { link, target };
            }
        }
        error.into()
    }
}

/// Whether cap-std made the error, and not the system, which refuses with the same kind.
fn leads_out(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_followed_inside_the_folder_and_refused_where_it_leads_out() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("real")).unwrap();
        fs::write(root.join("real/file"), "inside").unwrap();
        symlink("real", root.join("folder")).unwrap();
        symlink("../real/file", root.join("real/again")).unwrap();
        symlink("../secret", root.join("relative")).unwrap();
        symlink(outside.path(), root.join("absolute")).unwrap();
        // The folder's own path may be a link.
        let entrance = outside.path().join("entrance");
        symlink(&root, &entrance).unwrap();
        let folder = Folder::open(&entrance).unwrap();
        for name in ["real/file", "folder/file", "folder/again"] {
            assert_eq!(folder.read_bytes(Path::new(name), 6).unwrap(), b"inside");
        }
        for (name, at, to) in [
            ("relative", "relative", Path::new("../secret")),
            ("absolute/secret", "absolute", outside.path()),
        ] {
            match folder.read_bytes(Path::new(name), 6) {
                Err(FolderError::LinkLeadsOut { link, target }) => {
                    assert_eq!((link.as_path(), &*target), (&*entrance.join(at), to));
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(folder.open_file(Path::new("../secret")).is_err());
        let names = ["absolute", "folder", "real", "relative"];
        assert_eq!(folder.entries().unwrap(), names);
    }

    #[test]
    fn a_pipe_a_socket_and_a_directory_are_not_read() {
        let root = tempfile::tempdir().unwrap();
        let pipe = root.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
        fs::create_dir(root.path().join("directory")).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        for name in ["pipe", "socket", "directory"] {
            match folder.open_file(Path::new(name)) {
                Err(FolderError::Io(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
