//! The keys of hashed fields: one for each period, made of a secret of the device.

use std::fmt;
use std::time::UNIX_EPOCH;

use hmac::{Hmac, KeyInit as _, Mac as _};
use hotshoe_base::Clock;
use sha2::Sha256;

/// Bytes of the secret.
pub const SECRET_BYTES: usize = 32;
/// Bytes of a hash that leaves: half of SHA-256.
pub const HASH_BYTES: usize = 16;
/// What the key of a period is made of, before its number.
const CONTEXT: &[u8] = b"hotshoe egress 1";

/// Hashes the values of fields: HMAC-SHA256 with the key of the current period, cut to [`HASH_BYTES`]. Equal values of one device and one
/// period have equal hashes. Periods are counted from 1970, by the device's clock.
#[derive(Clone)]
pub struct HashKeys {
    secret: [u8; SECRET_BYTES],
    period_s: u64,
    clock: Clock,
}

impl HashKeys {
    /// Keys made of a secret that no other device has. `period_s` is the period in seconds.
    pub fn new(secret: [u8; SECRET_BYTES], period_s: u64, clock: Clock) -> Self {
        Self {
            secret,
            period_s: period_s.max(1),
            clock,
        }
    }

    /// A secret of this use, made of another secret of the device.
    pub fn secret_of(other: &[u8]) -> [u8; SECRET_BYTES] {
        mac(other, &[CONTEXT])
    }

    /// The hash of a value, as lower-case hex.
    pub(crate) fn hash(&self, value: &[u8]) -> String {
        let since = self.clock.wall().duration_since(UNIX_EPOCH);
        let period = since.map_or(0, |since| since.as_secs()) / self.period_s;
        let key = mac(&self.secret, &[CONTEXT, &period.to_le_bytes()]);
        let full = mac(&key, &[value]);
        hex::encode(full.get(..HASH_BYTES).unwrap_or_default())
    }
}

impl fmt::Debug for HashKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashKeys")
            .field("period_s", &self.period_s)
            .finish_non_exhaustive()
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; SECRET_BYTES] {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; SECRET_BYTES];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hotshoe_base::VirtualClock;

    use super::*;

    #[test]
    fn a_mac_is_that_of_rfc_4231() {
        let found = mac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(
            hex::encode(found),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn values_are_equal_within_a_period_of_a_device_only() {
        let time = VirtualClock::at(UNIX_EPOCH);
        let keys = HashKeys::new([1; 32], 100, time.clock());
        let other = HashKeys::new([2; 32], 100, time.clock());
        let first = keys.hash(b"anna");
        assert_eq!(first.len(), 2 * HASH_BYTES);
        assert_eq!(first, keys.hash(b"anna"));
        assert_ne!(first, keys.hash(b"anne"));
        assert_ne!(first, other.hash(b"anna"));
        time.advance(Duration::from_secs(100));
        assert_ne!(first, keys.hash(b"anna"));
    }
}
