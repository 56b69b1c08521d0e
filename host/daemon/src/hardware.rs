//! What the device's hardware is, for its status and for counts of rollouts.

use std::path::Path;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use hotshoe_base::files;
use hotshoe_protocol::status::HardwareStatus;

/// Where the kernel names the board of a device with a device tree.
const BOARD: &str = "/proc/device-tree/model";
/// Where the kernel says how much memory there is.
const MEMORY: &str = "/proc/meminfo";
/// Largest text of it that is read, in bytes.
const MAX_MEMORY_BYTES: u64 = 64 << 10;
/// Longest name of a board, in bytes.
const MAX_BOARD_BYTES: u64 = 256;

/// The hardware, which is looked at once.
pub fn hardware() -> &'static HardwareStatus {
    static HARDWARE: OnceLock<HardwareStatus> = OnceLock::new();
    HARDWARE.get_or_init(|| HardwareStatus {
        class: class(),
        architecture: std::env::consts::ARCH.to_owned(),
        cores: available_parallelism().map_or(1, usize::from),
        memory_mib: memory_mib(),
    })
}

/// The board by its device tree, else the architecture of the processor.
fn class() -> String {
    let board = files::read_bytes(Path::new(BOARD), MAX_BOARD_BYTES).unwrap_or_default();
    let board = String::from_utf8_lossy(&board);
    let board = board.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    if board.is_empty() {
        std::env::consts::ARCH.to_owned()
    } else {
        board.to_owned()
    }
}

fn memory_mib() -> Option<u64> {
    let text = files::read_bytes(Path::new(MEMORY), MAX_MEMORY_BYTES).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|it| it.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib >> 10)
}
