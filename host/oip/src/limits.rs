//! Limits of a request.

/// The most bytes of the `source` parameter.
pub(crate) const MAX_SOURCE_BYTES: usize = 256;
/// The most dimensions of a tensor, as in numpy.
pub(crate) const MAX_RANK: usize = 64;
/// The most samples of one BYTES tensor. They are processed one after the other.
pub(crate) const MAX_SAMPLES: usize = 256;
/// The most entries of one request: the members of all objects in its JSON, or the fields of its message. Each entry takes far more memory
/// than its bytes.
pub(crate) const MAX_ENTRIES: usize = 1 << 16;
