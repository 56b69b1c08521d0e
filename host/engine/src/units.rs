//! Units of bytes.

/// Bytes of so many MiB.
pub(crate) const fn mib(mib: u32) -> usize {
    (mib as usize) << 20
}

/// Bytes of so many KiB.
pub(crate) const fn kib(kib: u32) -> usize {
    (kib as usize) << 10
}
