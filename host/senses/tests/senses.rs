//! Readings, history, energy and the ladder, through the public surface. This machine needs no sensors: a recorded tree stands for them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "senses/default_plan.rs"]
mod default_plan;
#[path = "senses/energy.rs"]
mod energy;
#[path = "senses/history.rs"]
mod history;
#[path = "senses/ladder.rs"]
mod ladder;
#[path = "senses/parse.rs"]
mod parse;
#[path = "senses/recorded.rs"]
mod recorded;
#[path = "senses/sampler.rs"]
mod sampler;
