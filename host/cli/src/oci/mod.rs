//! Releases in OCI registries (OCI distribution specification 1.1), stored as `oras` stores artifacts: the signed manifest, its blobs, and
//! each signature as a manifest that refers to it.

mod address;
mod error;
mod partial;
mod pull;
mod push;
mod remote;
mod signatures;
mod transfer;

pub(crate) use address::Address;
pub(crate) use error::OciError;
pub(crate) use pull::pull;
pub(crate) use push::push;
pub(crate) use remote::{Access, Remote};
