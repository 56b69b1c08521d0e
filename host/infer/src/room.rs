//! Whether the memory of this machine holds a model in a second backend.

use std::fs;
use std::path::{Component, Path};

/// Memory that a backend needs for each byte of a file: its weights, their arranged copy, and the file while it is read.
const BYTES_PER_FILE_BYTE: u64 = 3;
const GROUPS: &str = "/sys/fs/cgroup";

/// The reason in [`Model::refused`](crate::Model::refused) if the memory does not hold both backends, and its prefix.
pub const NO_ROOM: &str = "the memory does not hold both backends";

/// Checks that the available memory holds a file of so many bytes once more. An unknown amount does.
pub(crate) fn check(file_bytes: usize) -> Result<(), String> {
    fits(file_bytes as u64, available_bytes())
}

fn fits(file_bytes: u64, available: Option<u64>) -> Result<(), String> {
    let needed = file_bytes.saturating_mul(BYTES_PER_FILE_BYTE);
    match available {
        Some(available) if available < needed => {
            let (needed, available) = (needed.div_ceil(1 << 20), available >> 20);
            Err(format!(
                "{NO_ROOM}: {needed} MiB are needed, {available} MiB are available"
            ))
        }
        _ => Ok(()),
    }
}

/// Memory that this process may still take, in bytes: that of the machine, and of each control group with a limit.
fn available_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(of_machine);
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let group = group.as_deref().and_then(path_of_group);
    let groups = group.iter().flat_map(|path| path.ancestors());
    let limits = groups.filter_map(|group| {
        let read = |file| fs::read_to_string(Path::new(GROUPS).join(group).join(file)).ok();
        of_group(
            &read("memory.max")?,
            &read("memory.current")?,
            &read("memory.stat")?,
        )
    });
    machine.into_iter().chain(limits).min()
}

/// `MemAvailable` of `/proc/meminfo`.
fn of_machine(text: &str) -> Option<u64> {
    let kib: u64 = after(text, "MemAvailable:")?
        .strip_suffix(" kB")?
        .parse()
        .ok()?;
    kib.checked_mul(1_024)
}

/// The path of a group of version 2, below the folder of groups.
fn path_of_group(text: &str) -> Option<&Path> {
    let path = Path::new(text.lines().find_map(|line| line.strip_prefix("0::/"))?);
    let is_inside = |part| matches!(part, Component::Normal(_));
    path.components().all(is_inside).then_some(path)
}

/// What a group leaves. Its limit is `max` if it has none; pages of files that nothing uses are given back first.
fn of_group(limit: &str, current: &str, stat: &str) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let unused: u64 = after(stat, "inactive_file ")?.parse().ok()?;
    Some(limit.saturating_sub(current.saturating_sub(unused)))
}

fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.map(str::trim)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_available_is_read() {
        let machine = "MemTotal:       24683520 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(of_machine(machine), Some(1 << 20));
        assert_eq!(of_machine("MemTotal: 1 kB\n"), None);
        let stat = "anon 5\ninactive_file 30\nactive_file 7\n";
        assert_eq!(of_group("100\n", "90\n", stat), Some(40));
        assert_eq!(of_group("100\n", "200\n", stat), Some(0));
        assert_eq!(of_group("max\n", "90\n", stat), None);
        assert_eq!(path_of_group("0::/a/b\n"), Some(Path::new("a/b")));
        // Nothing outside of the control groups is read.
        assert_eq!(path_of_group("0::/../../etc\n"), None);
        assert!(available_bytes().is_none_or(|bytes| bytes > 0));
    }

    #[test]
    fn a_second_backend_needs_three_times_the_file() {
        assert_eq!(fits(10 << 20, Some(30 << 20)), Ok(()));
        assert_eq!(fits(u64::MAX, None), Ok(()));
        let refused = fits(10 << 20, Some((30 << 20) - 1)).unwrap_err();
        assert_eq!(
            refused,
            format!("{NO_ROOM}: 30 MiB are needed, 29 MiB are available")
        );
    }
}
