//! Base of all host crates: the disk layer with fault injection, small files, versions of files, supervised threads, the clock, resident
//! memory, percentiles, and chains of errors.
//! Nothing here knows releases, models or networks.
#![forbid(unsafe_code)]

mod chain;
mod clock;
pub mod disk;
pub mod files;
pub mod format;
mod rank;
mod resident;
pub mod supervisor;
mod text;
mod time;

pub use chain::chain;
pub use clock::{Clock, VirtualClock};
pub use rank::nearest_rank;
pub use resident::{Resident, resident};
pub use text::without_byte_order_mark;
pub use time::micros;
