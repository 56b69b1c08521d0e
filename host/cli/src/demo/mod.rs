//! The parts of `hotshoe demo`: prepare a device, run its daemon, feed it, update it, report.

pub mod deliver;
pub mod feed;
pub mod prepare;
pub mod process;
pub mod report;
pub mod summary;
pub mod updates;
pub mod versions;
