use sha2::{Digest, Sha256};

/// Bytes of a digest of compiled code.
pub(crate) const DIGEST_LENGTH: usize = 32;

/// Compiled code, and its digest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Code {
    bytes: Vec<u8>,
    digest: [u8; DIGEST_LENGTH],
}

impl Code {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes).into();
        Self { bytes, digest }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its SHA-256.
    pub(crate) const fn digest(&self) -> &[u8] {
        &self.digest
    }
}
