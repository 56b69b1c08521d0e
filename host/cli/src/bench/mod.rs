//! The pieces of `hotshoe bench`: set up, measure by turns, report.

mod calls;
pub mod delivery;
mod first_result;
mod laps;
mod lines;
mod machine;
mod neighbours;
mod page;
pub mod pipeline;
mod random;
mod reference;
pub mod report;
mod setting;
mod site;
mod start;
mod stream;
pub mod swap;
