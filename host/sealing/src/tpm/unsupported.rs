//! What a program without the feature `tpm` answers.

use std::collections::BTreeSet;
use std::path::Path;

use zeroize::Zeroizing;

use crate::cipher::KEY_BYTES;
use crate::tpm_error::TpmError;

pub(super) fn seal(
    _key: &[u8; KEY_BYTES],
    _tpm: &str,
    _pcrs: &BTreeSet<u8>,
) -> Result<Vec<u8>, TpmError> {
    Err(TpmError::NotSupported)
}

pub(super) fn unseal(
    _path: &Path,
    _sealed: &[u8],
    _tpm: &str,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, TpmError> {
    Err(TpmError::NotSupported)
}
