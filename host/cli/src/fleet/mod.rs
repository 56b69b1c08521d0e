//! A deployer's view of a site: its network, the selected devices, and the progress of a release on them.
pub mod rollout;
pub mod display;
pub mod error;
pub mod follow;
pub mod local;
pub mod offer;
pub mod order;
pub mod overview;
pub mod network;
pub mod report;
pub mod select;
pub mod site_dir;
pub mod survey;
