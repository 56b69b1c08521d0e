//! A deployer's view of a site: how it is reached, which of its devices are meant, and what becomes of a release on them.
pub mod course;
pub mod display;
pub mod error;
pub mod follow;
pub mod local;
pub mod offer;
pub mod order;
pub mod overview;
pub mod reach;
pub mod report;
pub mod select;
pub mod site_dir;
pub mod survey;
