use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::digest;

/// Where and when an outbox is opened: what tells a copy from the original, and a new start of the machine from one of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// What identifies the machine; empty where nothing does.
    pub machine: String,
    /// What identifies this start of the machine; empty where nothing does.
    pub boot: String,
    /// The time since this start of the machine, which no clock that is set changes.
    pub uptime: Duration,
}

/// What a folder is bound to. Another value means that the folder is a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    machine: String,
    inode: u64,
}

impl Binding {
    /// A binding that no folder on any machine has: a machine is empty or a digest.
    pub(crate) fn of_a_copy() -> Self {
        Self {
            machine: "copy".to_owned(),
            inode: 0,
        }
    }
}

impl Host {
    /// This machine, now: `/etc/machine-id` (its digest alone is stored), the boot id and the uptime of the kernel.
    pub fn here() -> Self {
        let read = |path| {
            fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let machine = read("/etc/machine-id");
        let seconds = read("/proc/uptime")
            .split(' ')
            .next()
            .and_then(|seconds| seconds.parse().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self {
            machine: if machine.is_empty() {
                machine
            } else {
                hex::encode(digest(machine.as_bytes()))
            },
            boot: read("/proc/sys/kernel/random/boot_id"),
            uptime: seconds.unwrap_or_default(),
        }
    }

    /// The binding of `folder` on this machine.
    pub(crate) fn bind(&self, folder: &Path) -> Binding {
        Binding {
            machine: self.machine.clone(),
            inode: fs::metadata(folder).map_or(0, |about| about.ino()),
        }
    }
}
