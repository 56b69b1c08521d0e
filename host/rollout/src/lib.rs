//! Rollouts: one release through a fleet of many sites in stages, with a cause at every end.
//!
//! A signed [`Plan`] says what happens, and signed [`RolloutStatement`]s advance, pause, abort or reverse it. Each device decides by itself
//! whether it is a member ([`place`]) and what to do ([`judge`]). Registries count their devices ([`Count`]), and a controller
//! decides by the counts alone ([`step`]). Statements merge to one [`Control`] in any order, so that several controllers do no harm.
//! The crate is pure: no I/O, no clock. Times are arguments.
#![forbid(unsafe_code)]

mod budget;
mod cell;
mod checks;
mod comparison;
mod control;
mod controller;
mod count;
mod cover;
mod error;
mod figures;
mod fleet;
mod gate;
mod health;
mod judge;
mod plan;
mod progress;
mod quantiles;
mod report;
mod reporting;
mod rollouts;
mod share;
mod signed;
mod site;
mod state;
mod statement;
mod summary;
mod times;
mod verdict;

pub use budget::{Budget, least_spread_s};
pub use cell::Cell;
pub use checks::WHOLE_PPM;
pub use comparison::{ArmSummary, Comparison};
pub use control::{Control, Directive};
pub use controller::{Action, End, step};
pub use count::{Count, MAX_CELLS, MAX_COUNT_BYTES};
pub use cover::{Candidate, first_devices};
pub use error::RolloutError;
pub use figures::Figures;
pub use fleet::{Fleet, MIN_REMAINING_DEVICES};
pub use gate::{Gate, Outcome};
pub use health::Health;
pub use judge::{Situation, Wanted, judge};
pub use plan::{
    Compare, DEFAULT_COMPARED_SAMPLES, Deadlines, DeviceId, MAX_COMPARED_SAMPLES, MAX_FIRST,
    MAX_PLAN_BYTES, MAX_SITES, MAX_STAGES, MAX_WAIT_S, MIN_COMPARED_SAMPLES, OnFailure, Plan,
    Selector, Stage,
};
pub use progress::progress;
pub use quantiles::{MAX_BINS, MAX_WEIGHT, Quantiles};
pub use report::{Concluded, Report, Tracked};
pub use reporting::{Observed, Reporting, first_number, report_interval_s};
pub use rollouts::{MAX_ROLLOUTS, Received, Rollout, Rollouts};
pub use share::{Arm, Placement, place};
pub use signed::{SignedPlan, SignedStatement, SignedText, read_plan, read_statement};
pub use site::{COUNT_INTERVAL_S, CountReason, LEAST_COUNT_INTERVAL_S, SiteDevices};
pub use state::{Deferral, State, project};
pub use statement::{Command, RolloutStatement};
pub use summary::{StageSummary, Summary};
pub use verdict::{ArmFigures, Verdict, compare};
