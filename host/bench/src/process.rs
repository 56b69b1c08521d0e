//! What the kernel says of a process: its processor time, memory and threads.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// The unit of times in `/proc`, in one second. It is the same on all architectures.
const TICKS_PER_SECOND: f64 = 100.0;
/// Which fields of `/proc/PID/stat` behind the name are the times in user and kernel mode, threads that have ended included.
const TIMES: [usize; 2] = [11, 12];
/// Bytes of the unit of `smaps_rollup`.
const KIB: f64 = 1024.0;

/// The memory of a process, in megabytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Memory {
    /// All resident pages.
    pub resident: f64,
    /// Those of them that no file backs: heap, stacks, memories of components.
    pub anonymous: f64,
}

/// The processor time of a process since its start.
pub(crate) fn processor_time(process: u32) -> anyhow::Result<Duration> {
    parsed(&format!("/proc/{process}/stat"), cpu_time)
}

/// The memory of a process, by `smaps_rollup`.
pub(crate) fn memory(process: u32) -> anyhow::Result<Memory> {
    parsed(&format!("/proc/{process}/smaps_rollup"), |text| {
        let megabytes = |name| Some(field(text, name)? * KIB / 1e6);
        Some(Memory {
            resident: megabytes("Rss:")?,
            anonymous: megabytes("Anonymous:")?,
        })
    })
}

/// The threads of a process.
pub(crate) fn threads(process: u32) -> anyhow::Result<f64> {
    parsed(&format!("/proc/{process}/status"), |text| {
        field(text, "Threads:")
    })
}

fn parsed<T>(path: &str, parse: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    parse(&text).with_context(|| format!("{path} has another format"))
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The time in user and kernel mode by `/proc/PID/stat`.
fn cpu_time(stat: &str) -> Option<Duration> {
    // The name may have spaces and brackets.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = TIMES.map(|at| fields.get(at).and_then(|it| it.parse::<f64>().ok()));
    let ticks: f64 = ticks.into_iter().sum::<Option<f64>>()?;
    Some(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_processor_time_is_that_of_user_and_kernel() {
        let stat = "4242 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 12 0 99";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_time("4242 (a) S 1"), None);
        assert_eq!(cpu_time(""), None);
    }

    #[test]
    fn a_field_is_the_number_behind_its_name() {
        let text = "00400000-7fff [rollup]\nRss:            1000 kB\nPss_Anon:  1 kB\nAnonymous:       250 kB\n";
        assert_eq!(field(text, "Rss:"), Some(1000.0));
        assert_eq!(field(text, "Anonymous:"), Some(250.0));
        assert_eq!(field(text, "Threads:"), None);
    }

    #[test]
    fn this_process_has_memory_and_threads() {
        let own = std::process::id();
        let memory = memory(own).unwrap();
        assert!(memory.resident > memory.anonymous && memory.anonymous > 0.0);
        assert!(threads(own).unwrap() >= 1.0);
    }
}
