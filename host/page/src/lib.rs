//! The page of a device: what it does now, what it did, and its releases, for people with a browser.
//!
//! The files of the page are in the program, and need no network. The page has no data of its own: the daemon's status, its outputs as
//! `Egress`, the releases in its data folder, and a history of the status in a file of fixed size. Events come over one stream.
//!
//! A registry serves the page of a site from the same files: all devices as a table and as a map of phases.
//!
//! [`Bound::bind`] and [`SiteBound::bind`] bind the port, `serve` starts the server, `join` ends it.
#![forbid(unsafe_code)]

mod assets;
mod error;
mod history;
mod hub;
mod orders;
mod output_gate;
mod release_diff;
mod routes;
mod server;
mod site;
mod sse;
mod streams;

pub use error::PageError;
pub use server::{Bound, PageRenewal, Server};
pub use site::{SiteBound, SiteRenewal, SiteServer, SiteSource};
