use std::path::Path;

use hotshoe_base::disk::Disk;

use crate::error::OpenError;
use crate::host::Binding;
use crate::log::STATE;
use crate::state::{Found, State, StateError};

/// Marks the outbox in `folder` as a copy, so that its epoch rises when it opens. A folder that was restored on its own machine may have the
/// inode of the original, which gave the same numbers to other records since. An outbox without a readable state has a new epoch anyway.
///
/// # Errors
/// [`OpenError::Newer`] and [`OpenError::Io`].
pub fn mark_as_copy(folder: &Path, disk: &Disk) -> Result<(), OpenError> {
    let path = folder.join(STATE);
    let io = |source| OpenError::Io {
        path: path.clone(),
        source,
    };
    let found = State::read(&path).map_err(|error| match error {
        StateError::Newer(error) => OpenError::Newer(error),
        StateError::Io(source) => io(source),
    })?;
    if let Found::State(mut state) = found {
        state.bound_to = Binding::of_a_copy();
        state.write(disk, &path).map_err(io)?;
    }
    Ok(())
}
