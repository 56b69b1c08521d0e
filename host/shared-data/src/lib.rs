//! Values that a device and its site both write, with a rule for conflicts: `append`, `last-writer-wins`, `remote-wins`.
//!
//! Each end has a [`Replica`] and writes it offline. Replicas exchange whole states, and a merge is commutative, associative and
//! idempotent, so that all replicas reach the same values in whatever order they meet. Entries are ordered by a [`HybridTime`].
//! Nothing here knows networks; [`SharedStore`] is the only part that touches the disk.
#![forbid(unsafe_code)]

mod append;
mod clock;
mod definition;
mod entry;
mod error;
mod message;
mod replica;
mod store;
mod value;

pub use append::AppendList;
pub use clock::{AheadOfClock, HybridClock, HybridTime, MAX_CLOCK_DRIFT};
pub use definition::{Definition, MAX_ITEMS, MAX_NAME_BYTES, MAX_VALUE_BYTES, MAX_VALUES, Rule};
pub use entry::{End, Entry, EntryKey, JsonText, Writer};
pub use error::{SharedDataError, StoreError};
pub use message::{
    Action, Answer, CheckedRequest, MAX_REQUEST_BYTES, MAX_REQUEST_TEXT_BYTES, Request,
    SignedRequest, Summary, read_answer, read_request,
};
pub use replica::{Merged, Replica, View};
pub use store::{FILE, MAX_FILE_BYTES, SetAside, SharedStore};
pub use value::{Register, RemoteRegister, SharedValue};
