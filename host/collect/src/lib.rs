//! The receiver of outboxes: stores each record once and durably, then acknowledges it (0083).
//!
//! A record is identified by instance, epoch, source, sequence and digest (0078). One that comes again is dropped. Two that differ in the
//! digest alone are a conflict: two devices run with copies of one outbox. Both are kept.
#![forbid(unsafe_code)]

mod batch;
mod receiver;
mod store;

pub use batch::{BatchError, ReceivedBatch, ReceivedItem, ReceivedLoss, ReceivedRecord};
pub use receiver::{ReceiveError, Received, Receiver};
pub use store::{Conflict, Outcome, RECORDS, Store, StoreError};
