//! Values that the component keeps between samples, restarts and releases. The release must grant `state`.
//!
//! The store is shared by all instances of the component, of which a device runs one for each worker. Another instance may change a value
//! between a read and a write; [`update`] and [`add`] are atomic.

use crate::{Error, Result};

pub use crate::bindings::hotshoe::pipeline::state::{delete, get, keys, replace, set, version};

/// Replaces a value by the result of `change`, which gets the current one (`None` without an entry), and returns the new value. `change` runs
/// again if another instance wrote in between.
pub fn update(
    key: &str,
    mut change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>> {
    loop {
        let present = get(key);
        let next = change(present.as_deref());
        if replace(key, present.as_deref(), next.as_deref())? {
            return Ok(next);
        }
    }
}

/// Adds to the number under a key, kept as eight bytes, little-endian, and returns the sum. A missing key counts as 0.
pub fn add(key: &str, by: u64) -> Result<u64> {
    loop {
        let present = get(key);
        let number = match present.as_deref().map(<[u8; 8]>::try_from) {
            None => 0,
            Some(Ok(bytes)) => u64::from_le_bytes(bytes),
            Some(Err(_)) => {
                return Err(Error::internal(format_args!(
                    "`{key}` of the state is not a number of eight bytes"
                )));
            }
        };
        let sum = number.wrapping_add(by);
        if replace(key, present.as_deref(), Some(&sum.to_le_bytes()))? {
            return Ok(sum);
        }
    }
}
