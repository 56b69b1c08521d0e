//! The pieces of `hotshoe demo`: prepare a device, run its daemon, feed it, report.

pub mod feed;
pub mod prepare;
pub mod process;
pub mod report;
