//! The page of a site, which a registry serves: its devices, asked while a page is open.
//!
//! Every row has fields of the device's status under their names there, so that it says what `hotshoe status --json` says.

mod routes;
mod row;
mod server;
mod survey;
mod table;

pub use server::{SiteBound, SiteRenewal, SiteServer, SiteSource};
