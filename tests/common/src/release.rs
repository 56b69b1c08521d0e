use std::path::Path;

use hotshoe_store::{Layout, Packed, pack};
use hotshoe_trust::{Digest, SigningKey, Time, TrustRoot};

/// A key that signs releases, and the `trust.toml` that asks for its signature.
pub struct Signer {
    /// The key.
    pub key: SigningKey,
    /// The text of `trust.toml`, with this key for every release.
    pub trust: String,
}

impl Signer {
    /// A signer with a new key, which its `trust.toml` calls `name`.
    pub fn new(name: &str) -> Self {
        let key = SigningKey::generate().expect("a key");
        let public = key.public_key().expect("a public key");
        let entry = TrustRoot::key_entry(name, &public, &["*"]);
        let trust = format!("threshold = 1\n{entry}");
        Self { key, trust }
    }

    /// Packs the release that this `release.toml` describes, issued now, into the folder `out`, and signs it.
    pub fn pack(&self, release_toml: &Path, out: &Path) -> (Packed, Digest) {
        let packed = pack(release_toml, Time::now(), out).expect("a release");
        let bundle = sign(&packed.layout, &self.key);
        (packed, bundle)
    }
}

/// Attaches a bundle by this key; returns its digest.
fn sign(layout: &Layout, key: &SigningKey) -> Digest {
    let manifest = layout.package().expect("a package").manifest;
    let bundle = key.sign_bundle(&manifest).expect("a signature");
    layout.attach(&bundle).expect("a bundle");
    Digest::of(&bundle)
}

/// Bytes that do not compress and in which a chunker finds nothing; the same for the same seed (xorshift).
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let words = std::iter::repeat_with(next).flatten();
    words.take(len).collect()
}
