//! Messages between devices, deployers and registries: types and encodings only, with size limits before parsing.
#![forbid(unsafe_code)]

pub mod alert;
pub mod event;
pub mod group;
pub mod have;
pub mod outbox;
pub mod registry;
pub mod rollout;
pub mod status;
pub mod trace_context;
pub mod wire;
