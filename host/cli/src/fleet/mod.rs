//! A deployer's view of a site: its network, the selected devices, and the progress of a release on them.
pub(crate) mod display;
pub(crate) mod error;
pub(crate) mod follow;
pub(crate) mod local;
pub(crate) mod network;
pub(crate) mod offer;
pub(crate) mod order;
pub(crate) mod overview;
pub(crate) mod registries;
pub(crate) mod report;
pub(crate) mod rollout;
pub(crate) mod same_name;
pub(crate) mod select;
pub(crate) mod site_dir;
pub(crate) mod survey;
