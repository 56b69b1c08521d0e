//! The parts of `hotshoe bench`: set up, measure alternately, report.

mod calls;
pub mod delivery;
mod first_result;
pub mod infer;
pub mod languages;
mod lines;
pub mod machine;
mod modes;
mod neighbours;
mod page;
pub mod pipeline;
mod python;
pub mod random;
mod reference;
pub mod report;
mod setup;
mod site;
mod start;
mod stream;
pub mod swap;
mod timings;
