//! The page of a device: what it does now, what it did, and its releases, for people with a browser.
//!
//! The files of the page are in the program, and need no network. The page has no data of its own: the daemon's status, its outputs as
//! `Egress`, the releases in its data folder, and a history of the status in a file of fixed size. Events come over one stream.
//!
//! [`Bound::bind`] binds the port, [`Bound::serve`] starts the server, [`Server::join`] ends it.
#![forbid(unsafe_code)]

mod assets;
mod error;
mod history;
mod hub;
mod orders;
mod output_gate;
mod pictures;
mod release_diff;
mod routes;
mod server;
mod sse;

pub use error::PageError;
pub use server::{Bound, PageRenewal, Server};
