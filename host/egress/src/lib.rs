//! What a component made leaves a device as [`Egress`] only, and only a [`Classifier`] makes that, by the data contract that applies.
#![forbid(unsafe_code)]

mod anonymise;
mod classifier;
mod hash_keys;
mod message;
mod refused;

pub use classifier::{Classifier, Egress, WITHHELD};
pub use hash_keys::{HASH_BYTES, HashKeys, SECRET_BYTES};
pub use message::{Answer, Head, ReleaseName};
pub use refused::Refused;
