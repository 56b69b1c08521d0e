//! The governor: what it decides on.

pub mod state;
