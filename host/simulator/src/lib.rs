//! A fleet in one process: simulated devices, registries and controllers, over a simulated network, under a virtual clock.
//!
//! What they decide is decided by the functions of `rollout` that the daemon, the registry and `hotshoe rollout` call. What is simulated is
//! the network (loss, delay, dark sites), and how long a device fetches, tests and swaps. Everything follows from a seed.
//!
//! A device takes what its registry has verified, and verifies nothing itself: ten thousand devices would check the same signatures.
#![forbid(unsafe_code)]

mod attacker;
mod controller;
mod deployers;
mod device;
mod event;
mod figures;
mod handling;
mod observed;
mod planned;
mod random;
mod settings;
mod site;
mod weeks;
mod world;
mod year;

pub use figures::{Figures, SimulationError};
pub use planned::plan;
pub use settings::{Faults, Network, Settings};
pub use world::World;
pub use year::{YearFigures, YearSettings, year};
