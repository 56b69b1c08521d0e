//! Releases in OCI registries (OCI distribution specification 1.1), as `oras` puts artifacts there: the manifest that is signed, its
//! blobs, and each signature as a manifest that refers to it.

mod address;
mod error;
mod pull;
mod push;
mod reader;
mod remote;

pub use address::Address;
pub use error::OciError;
pub use pull::pull;
pub use push::push;
pub use remote::{Access, Remote};
