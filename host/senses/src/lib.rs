//! What a device senses of itself, and what follows from it: the sensors below `/sys` and `/proc`, their history, the energy of an
//! inference, and the ladder, which decides which plan is in force.
//!
//! Only the [`Sampler`] does I/O. The rest is pure: it gets the time as a [`Duration`](std::time::Duration) since a start that the caller
//! chooses, by the monotonic clock.
#![forbid(unsafe_code)]

mod default_plan;
mod energy;
mod fault_kind;
mod history;
mod ladder;
mod parse;
mod plan;
mod reading;
mod sampler;
mod sketch;
mod thresholds;
mod tree;

pub use default_plan::{BackendHealth, DefaultPlan, Moment, WindowLatency};
pub use energy::{Energy, Meter, PowerSource, Work, per_inference, rapl_joules};
pub use fault_kind::FaultKind;
pub use history::{History, HistoryError, Shape};
pub use ladder::{Decision, Ladder, LadderLimits, Refusal, Waiting, WaitsFor, Wish};
pub use parse::parse;
pub use plan::{
    Because, MAX_ITEMS, MAX_NAME_BYTES, MAX_REASON_BYTES, Plan, PlanError, Rate, Rest, SignedMode,
    SignedModes,
};
pub use reading::{
    Battery, Charging, CoolingDevice, CpuPolicy, Load, Mains, Memory, Pressure, RaplZone, Reading,
    SensorFault, Space, Stall, ThermalZone,
};
pub use sampler::{MAX_HUNG, Places, Sample, Sampler, Sampling};
pub use sketch::{Sketch, Summary};
pub use thresholds::{Thresholds, ThresholdsError};
pub use tree::{MAX_FILE_BYTES, MAX_LABEL_BYTES, MAX_SENSORS, Tree};
