//! The memory of this process, for the status.

use hotshoe_base::resident;
use hotshoe_engine::MemoryChoice;
use hotshoe_protocol::status::MemoryStatus;

/// The current memory status.
pub(crate) fn status(choice: &MemoryChoice) -> MemoryStatus {
    let resident = resident();
    MemoryStatus {
        mode: choice.mode.name().to_owned(),
        reason: choice.reason.clone(),
        resident_mib: resident.map(|it| it.bytes >> 20),
        resident_file_mib: resident.map(|it| it.file_bytes >> 20),
        peak_resident_mib: resident.map(|it| it.peak_bytes >> 20),
    }
}
