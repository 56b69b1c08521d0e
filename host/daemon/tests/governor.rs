//! The governor in the daemon: which samples a rate lets through, what is in force when a governor fails, and what is written to outputs.
//! A recorded tree stands for the sensors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "governor/daemon.rs"]
mod daemon;
#[path = "governor/decider.rs"]
mod decider;
#[path = "governor/gates.rs"]
mod gates;
#[path = "governor/outputs.rs"]
mod outputs;
#[path = "governor/rest.rs"]
mod rest;
