//! What every crate of the host stands on: the disk, small files, supervised threads, the memory that this process holds, and errors as
//! one sentence. Nothing here knows of releases, models or networks.
#![forbid(unsafe_code)]

mod chain;
pub mod disk;
pub mod files;
pub mod parts;
mod resident;
mod time;

pub use chain::chain;
pub use resident::{Resident, resident};
pub use time::micros;
