//! The Open Inference Protocol (KServe v2): HTTP with JSON and gRPC on one port, for clients without Zenoh.
//!
//! The models are those of the live release, under their names. The pipeline is another model, under the release's name: its input is a
//! sample, its outputs are the insight and the actions. The version is the release's generation; only the live one exists. A request keeps
//! its model during a swap. A sample goes through the daemon's intake and counts like any other.
//!
//! [`Bound::bind`] binds the port, [`Bound::serve`] starts the server, [`Server::join`] ends it.
#![forbid(unsafe_code)]

mod admission;
mod admitted;
mod answer;
mod call;
mod catalogue;
mod classify;
mod codec;
mod compression;
mod datatype;
mod elements;
mod error;
mod grpc;
mod health;
mod http;
mod json;
mod limits;
mod proto;
mod raw;
mod request;
mod server;
mod service;
mod slot_body;
mod stats;
mod unserved;
mod wire;

#[cfg(test)]
mod tests;

pub use hotshoe_http::FrontError;
pub use server::{Bound, OipError, Server};
