//! Paths of sockets, which the system takes only if they are short.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// Longest path of a socket, in bytes, without the zero at its end.
pub const MAX_SOCKET_PATH: usize = 107;

/// A path of a socket that is short enough for the system.
pub(super) struct SocketPath {
    pub path: PathBuf,
    /// Keeps the path valid.
    _folder: Option<File>,
}

impl SocketPath {
    /// The path of a socket in a folder. The system takes short paths only, so that a long one leads over the open folder.
    pub(super) fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= MAX_SOCKET_PATH {
            return Ok(Self {
                path,
                _folder: None,
            });
        }
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd")
            .join(folder.as_raw_fd().to_string())
            .join(name);
        Ok(Self {
            path,
            _folder: Some(folder),
        })
    }
}
