//! The transfer layer: requests to one repository of a registry, with authentication, retries, redirects and TLS. Every request goes
//! through [`RegistryClient::send`].

mod body;
mod client;
mod credentials;
mod download;
mod error;
mod retry;
mod tls;
mod token;
mod upload;

pub(super) use client::{RegistryClient, Server};
pub(super) use credentials::{Credentials, stored};
pub(super) use error::TransferError;
pub(super) use tls::{CaError, authorities};
pub(super) use upload::OpenBlob;
