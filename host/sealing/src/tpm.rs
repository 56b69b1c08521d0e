//! The device's key, sealed by a TPM 2.0: the TPM gives it only while its platform configuration registers (PCRs) have the values that they had
//! when it was sealed.

#[cfg(feature = "tpm")]
mod object;
#[cfg(not(feature = "tpm"))]
mod unsupported;

use std::collections::BTreeSet;
use std::path::Path;

use hotshoe_base::disk::{Disk, Faults};

#[cfg(feature = "tpm")]
use self::object::{seal, unseal};
#[cfg(not(feature = "tpm"))]
use self::unsupported::{seal, unseal};
use crate::error::{SealingKeyError, of_key};
use crate::key::{DeviceKey, contents, refuse_existing};
use crate::tpm_error::TpmError;

/// The TPM of the machine, with the kernel's resource manager.
pub const DEFAULT_TPM: &str = "device:/dev/tpmrm0";
/// The highest PCR.
pub const MAX_PCR: u8 = 23;
const MAX_FILE_BYTES: u64 = 16 * 1024;

impl DeviceKey {
    /// The key in a file that [`DeviceKey::seal_with_tpm`] wrote. `tpm` is an address in the notation of tpm2-tss, such as [`DEFAULT_TPM`].
    ///
    /// # Errors
    /// [`SealingKeyError`], of which [`TpmError`] is a part.
    pub fn from_tpm(path: &Path, tpm: &str) -> Result<Self, SealingKeyError> {
        let sealed = contents(path, MAX_FILE_BYTES)?;
        let key = unseal(path, &sealed, tpm)?;
        Self::from_bytes(&key).map_err(of_key(path))
    }

    /// Seals the key of the file `key` to the present values of `pcrs` in the bank of SHA-256, checks that the TPM gives it back, and writes the
    /// file `sealed`. It never replaces one.
    ///
    /// # Errors
    /// [`SealingKeyError`], of which [`TpmError`] is a part.
    pub fn seal_with_tpm(
        key: &Path,
        sealed: &Path,
        tpm: &str,
        pcrs: &BTreeSet<u8>,
    ) -> Result<Self, SealingKeyError> {
        refuse_existing(sealed)?;
        let plain = Self::bytes_of(key)?;
        let text = seal(&plain, tpm, pcrs)?;
        if unseal(sealed, &text, tpm)? != plain {
            return Err(TpmError::Failed {
                task: "give the key back",
                reason: "it gave another one".to_owned(),
            }
            .into());
        }
        Disk::new(Faults::never())
            .replace(sealed, &text)
            .map_err(of_key(sealed))?;
        Self::from_bytes(&plain).map_err(of_key(sealed))
    }
}
