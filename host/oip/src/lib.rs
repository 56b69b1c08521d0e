//! The Open Inference Protocol (KServe v2): HTTP with JSON and gRPC on one port, for clients that know no Zenoh.
//!
//! Models are those of the release that serves, under their names; the pipeline is one more, under the release's name: its input
//! is a sample, its outputs are the insight and the actions. A version is a release's generation, and only the one that serves
//! exists. A request that has begun keeps the model that it found, whatever is swapped meanwhile. A sample that comes this way
//! goes through the daemon's intake, and is counted as any other.
//!
//! [`Bound::bind`] takes the port, [`Bound::serve`] begins to answer, [`Server::join`] ends it.
#![forbid(unsafe_code)]

mod call;
mod catalogue;
mod codec;
mod datatype;
mod elements;
mod error;
mod admission;
mod grpc;
mod slot_body;
mod http;
mod json;
mod proto;
mod request;
mod service;
mod server;
mod wire;

#[cfg(test)]
mod tests;

pub use hotshoe_http::FrontError;
pub use server::{Bound, OipError, Server};
