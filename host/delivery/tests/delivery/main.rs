//! Delivery between real Zenoh sessions over loopback: publishers, devices, registries, and attackers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fetch;
mod hostile;
mod plan;
mod registry;
mod rollouts;
mod rot;
mod statements;
mod support;
mod tls;
