//! `hotshoe dev`: a local daemon in development mode that gets every change of the sources while it serves.

mod device;
mod samples;

pub use device::Device;
pub use samples::{Sample, SampleResult};
