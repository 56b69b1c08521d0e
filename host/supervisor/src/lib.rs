//! The two slots of the daemon's program in a data folder, and the supervisor that starts the daemon from them (0117).
//!
//! ```text
//! host/a, host/b        programs
//! host/slots.json       which of them is live, on trial or failed; the supervisor's
//! host/wanted.json      the program that is to be tried next; the daemon's
//! host/verdict.json     whether the trial is good; the daemon's
//! ```
//!
//! [`Slots`] is pure. Each file has one writer, and is replaced whole, so that a power cut at any step leaves the old program or the new
//! one. A program is hashed at each start: one that is damaged is never started.
#![forbid(unsafe_code)]

mod folder;
mod run;
mod slots;

pub use folder::{FolderError, HostFolder, MAX_PROGRAM_BYTES, Program};
pub use run::{FOLDER_VARIABLE, PROGRAM_VARIABLE, RESTART, run};
pub use slots::{Choice, Failed, Happened, Installed, SlotName, Slots, Trial, Wanted};
