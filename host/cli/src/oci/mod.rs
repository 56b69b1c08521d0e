//! Releases in OCI registries (OCI distribution specification 1.1), stored as `oras` stores artifacts: the signed manifest, its blobs, and
//! each signature as a manifest that refers to it.

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
