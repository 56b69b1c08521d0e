//! The pieces of `hotshoe bench`: set up, measure by turns, report.

mod calls;
mod laps;
mod lines;
mod machine;
mod page;
pub mod pipeline;
mod reference;
pub mod report;
mod setting;
mod start;
