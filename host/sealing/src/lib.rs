//! Files that a stolen disk does not show: XChaCha20-Poly1305 with a key for each file, wrapped by a key of the device.
//!
//! Files that are written once ([`seal`], [`SealWriter`], [`SealedFile`]) have chunks of 64 KiB, so that a reader gets any part of them. Files
//! that grow ([`SealedLog`], [`read_log`]) have frames. [`AtRest`] is how the owners of files write and read them. A changed byte, a part that moved, and another file under the name are found, and so is
//! the shortened end of a file that is written once. Lengths, names and times of files are not hidden, and an older copy of a file is not found.
#![forbid(unsafe_code)]

mod at_rest;
mod cipher;
mod error;
mod header;
mod key;
mod log;
mod record_key;
mod secrets;
mod source;
mod tpm;
mod tpm_error;
mod whole;

pub use at_rest::{AtRest, Contents, ContentsWriter, SealedReader, sealed_bytes};
pub use error::{SealingKeyError, SecretError, UnsealError};
pub use header::{is_sealed, is_sealed_file};
pub use key::DeviceKey;
pub use log::{
    FRAME_OVERHEAD_BYTES, LOG_HEADER_BYTES, LogContents, LogReader, MAX_FRAME_BYTES, SealedLog,
    read_log,
};
pub use record_key::{RECORD_OVERHEAD_BYTES, RecordKey};
pub use secrets::{
    MAX_SECRET_BYTES, MAX_SECRET_NAME_BYTES, MAX_SECRETS, SECRETS_FILE, Secret, Secrets,
    is_secret_name,
};
pub use source::{NamedSecret, SecretPlace, SecretSource};
pub use tpm::{DEFAULT_TPM, MAX_PCR};
pub use tpm_error::TpmError;
pub use whole::{CHUNK_BYTES, SealWriter, SealedFile, seal, unseal};
