//! XChaCha20-Poly1305 with errors of this crate.

use std::io;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 24;
/// Bytes that encryption adds.
pub(crate) const TAG_BYTES: usize = 16;

/// A key in use. Its bytes are overwritten when it is dropped.
pub(crate) struct Cipher(XChaCha20Poly1305);

/// What was decrypted is not what was encrypted.
pub(crate) struct Forged;

impl Cipher {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut key = Key::from(*key);
        let cipher = XChaCha20Poly1305::new(&key);
        zeroize::Zeroize::zeroize(key.as_mut_slice());
        Self(cipher)
    }

    /// Encrypts `plain`, and authenticates it with `beside`. A nonce is used once with a key.
    pub(crate) fn encrypt(
        &self,
        nonce: [u8; NONCE_BYTES],
        plain: &[u8],
        beside: &[u8],
    ) -> io::Result<Vec<u8>> {
        let payload = Payload {
            msg: plain,
            aad: beside,
        };
        self.0
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| io::Error::other("the text is too long to be encrypted"))
    }

    pub(crate) fn decrypt(
        &self,
        nonce: [u8; NONCE_BYTES],
        sealed: &[u8],
        beside: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Forged> {
        let payload = Payload {
            msg: sealed,
            aad: beside,
        };
        self.0
            .decrypt(&XNonce::from(nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| Forged)
    }
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_cipher_is_that_of_draft_irtf_cfrg_xchacha() {
        // Appendix A.3.1.
        let key: Vec<u8> = (0x80..0xa0).collect();
        let nonce: Vec<u8> = (0x40..0x58).collect();
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you \
            only one tip for the future, sunscreen would be it.";
        let beside = [
            0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
        ];
        let cipher = Cipher::new(key.first_chunk().unwrap());
        let nonce = *nonce.first_chunk().unwrap();
        let sealed = cipher.encrypt(nonce, plain, &beside).unwrap();
        assert_eq!(sealed.len(), plain.len() + TAG_BYTES);
        let hex = crate::key::hex(&sealed);
        assert!(hex.starts_with("bd6d179d3e83d43b9576579493c0e939"), "{hex}");
        assert!(hex.ends_with("c0875924c1c7987947deafd8780acf49"), "{hex}");
        let opened = cipher.decrypt(nonce, &sealed, &beside);
        assert!(opened.is_ok_and(|opened| *opened == plain));
    }
}
