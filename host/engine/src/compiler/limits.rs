use std::fs;
use std::path::{Component, Path};

/// The least memory that the compiler may be given, in MiB.
pub const MIN_COMPILE_MEMORY_MIB: u64 = 16;
/// The most, in MiB: 1 TiB.
pub const MAX_COMPILE_MEMORY_MIB: u64 = 1 << 20;
/// The most processor time that the compiler may be given, in seconds: one day.
pub const MAX_CPU_SECONDS: u64 = 24 * 60 * 60;

/// The most memory that the default gives, in MiB. QuickJS and CPython take less.
const DEFAULT_MOST_MIB: u64 = 4096;
/// The least memory that the default gives, in MiB. With less, hardly any component can be compiled.
const DEFAULT_LEAST_MIB: u64 = 128;
/// Default on systems other than Linux, in MiB.
const DEFAULT_UNKNOWN_MIB: u64 = 2048;

/// Limits of the process that compiles one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Memory for data, in MiB. Default: three quarters of this machine's memory, or of the limit of its control group, if that is less; at
    /// least 128, and at most 4096.
    pub memory_mib: u64,
    /// Processor time of all its threads together, in seconds. Default: 1800.
    pub cpu_seconds: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        let memory = memory_mib().map_or(DEFAULT_UNKNOWN_MIB, |mib| mib / 4 * 3);
        Self {
            memory_mib: memory.clamp(DEFAULT_LEAST_MIB, DEFAULT_MOST_MIB),
            cpu_seconds: 1800,
        }
    }
}

/// The memory that this process may use, in MiB.
fn memory_mib() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(total_kib).map(|kib| kib >> 10);
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let group = group.as_deref().and_then(group_mib);
    machine.into_iter().chain(group).min()
}

/// `MemTotal` of `/proc/meminfo`, in KiB.
fn total_kib(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// The lowest memory limit of the control groups of this process, in MiB; `None` without a limit.
fn group_mib(text: &str) -> Option<u64> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let path = Path::new(path);
    let is_inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let groups = path.ancestors().filter(|_| is_inside);
    let limits = groups.filter_map(|group| {
        let file = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        // Without a limit the file contains `max`.
        fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    });
    limits.min().map(|bytes| bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_within_its_range() {
        let limits = CompileLimits::default();
        assert!((DEFAULT_LEAST_MIB..=DEFAULT_MOST_MIB).contains(&limits.memory_mib));
    }

    #[test]
    fn the_machines_memory_is_read() {
        let text = "MemTotal:       24683520 kB\nMemFree:        19224576 kB\n";
        assert_eq!(total_kib(text), Some(24_683_520));
        assert_eq!(total_kib("MemFree: 1 kB"), None);
        // Nothing outside of the control groups is read.
        assert_eq!(group_mib("0::/../../etc\n"), None);
        assert_eq!(group_mib("12:memory:/x\n"), None);
    }
}
