//! Resident memory of this process.

use std::fs;

/// Resident memory of this process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    /// Current size.
    pub bytes: u64,
    /// Pages of files within `bytes`, mostly the program's own, which the system may drop and read again.
    pub file_bytes: u64,
    /// Largest size so far.
    pub peak_bytes: u64,
}

/// `VmRSS`, `RssFile` and `VmHWM` of proc(5). None on systems other than Linux.
pub fn resident() -> Option<Resident> {
    parse(&fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(status: &str) -> Option<Resident> {
    let bytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        kib.checked_mul(1024)
    };
    Some(Resident {
        bytes: bytes("VmRSS:")?,
        file_bytes: bytes("RssFile:")?,
        peak_bytes: bytes("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_read() {
        let status = "Name:\thotshoe\nVmHWM:\t   61440 kB\nVmRSS:\t   40960 kB\nRssFile:\t   30720 kB\nThreads:\t9\n";
        let expected = Resident {
            bytes: 40 << 20,
            file_bytes: 30 << 20,
            peak_bytes: 60 << 20,
        };
        assert_eq!(parse(status), Some(expected));
        assert_eq!(parse("Name:\thotshoe\n"), None);
    }
}
