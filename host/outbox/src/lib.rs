//! The outbox: a durable log of what must arrive, bounded in bytes, records and age (0077, 0078).
//!
//! A record that [`Outbox::append`] accepted is delivered at least once, or a [`Loss`] that names it is. Each source numbers its records
//! from 1 without gaps; a receiver acknowledges ranges of these numbers. Records are appended to segment files. One thread writes all that
//! came within the commit window, and syncs it once.
//!
//! A folder has `state`, which is replaced whole, and segments `N.log`:
//!
//! ```text
//! segment: header (format, instance, epoch, key of the checksums, number), the next sequence of each source, then what came
//! frame:   magic, CRC-32, kind and priority, epoch, length, sequence, age, time of day, source, class, body
//! kinds:   data (also with a sealed body, 0103) | loss (a range that will not come, and why) | acknowledgement (a range that the receiver has) | next sequence
//! state:   identity, age, and of each source the next sequence, the acknowledged ranges, the losses and the retention
//! ```
//!
//! Frames can be read in any order: what is acknowledged stays so, and a loss replaces those within it. So a segment without undelivered
//! records is removed once `state` has what it says. Where undelivered records are few, they are written again at the end.
#![forbid(unsafe_code)]

mod age;
mod bodies;
mod copied;
mod error;
mod frame;
mod host;
mod index;
mod limits;
mod log;
mod outbox;
mod ranges;
mod rate;
mod record;
mod recovery;
pub mod segment;
mod state;

pub use copied::mark_as_copy;
pub use error::{AcknowledgeError, AppendError, DrainError, EraseError, OpenError};
pub use host::Host;
pub use limits::Limits;
pub use log::{Erased, SourceStats};
pub use outbox::{Options, Outbox, Stats, Ticket};
pub use ranges::Ranges;
pub use rate::{Rate, TokenBucket};
pub use record::{Delivered, Item, Loss, LossCause, Position, Priority, Record, RecordId};
pub use recovery::Recovery;
