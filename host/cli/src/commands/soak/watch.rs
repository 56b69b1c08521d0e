//! What a process holds, from outside.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// What the daemon held at one time, and how fast it was since the time before.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Point {
    /// Seconds since the start.
    pub(super) at_s: f64,
    /// Resident memory without pages of files, in MB.
    pub(super) private_mb: f64,
    /// All resident memory, in MB.
    pub(super) resident_mb: f64,
    /// Open file handles.
    pub(super) handles: usize,
    pub(super) threads: usize,
    /// The data folder, in MB.
    pub(super) disk_mb: f64,
    /// Samples with an answer since the point before.
    pub(super) samples: u64,
    /// From sending to the answer, in milliseconds. `None` without an answer.
    pub(super) p95_ms: Option<f64>,
    pub(super) p999_ms: Option<f64>,
}

/// Reads what a process and a folder hold. What the system does not say is 0.
pub(super) fn look(process: u32, data: &Path) -> Point {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let field = |name: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let first = line.and_then(|line| line.split_whitespace().next());
        first.and_then(|it| it.parse().ok()).unwrap_or_default()
    };
    let handles = fs::read_dir(format!("/proc/{process}/fd"));
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    Point {
        private_mb: field("RssAnon:") * 1024.0 / 1e6,
        resident_mb: field("VmRSS:") * 1024.0 / 1e6,
        handles: handles.map_or(0, Iterator::count),
        threads: threads.map_or(0, Iterator::count),
        disk_mb: bytes(data) as f64 / 1e6,
        ..Point::default()
    }
}

/// The bytes of all files below a folder. One that is removed meanwhile counts as 0.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(it) if it.is_dir() => bytes(&entry.path()),
            Ok(it) => it.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn this_process_holds_something() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), [0; 2_000_000]).unwrap();
        let point = look(std::process::id(), folder.path());
        assert!(point.private_mb > 0.1 && point.resident_mb >= point.private_mb);
        assert!(point.handles >= 3 && point.threads >= 1);
        assert_eq!(point.disk_mb, 2.0);
        assert_eq!(look(u32::MAX, Path::new("/nowhere")).threads, 0);
    }
}
