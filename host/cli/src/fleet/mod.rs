//! A deployer's view of a site: its network, the selected devices, and the progress of a release on them.
pub mod display;
pub mod error;
pub mod follow;
pub mod local;
pub mod network;
pub mod offer;
pub mod order;
pub mod overview;
pub mod report;
pub mod rollout;
pub mod select;
pub mod site_dir;
pub mod survey;
