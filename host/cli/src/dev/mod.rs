//! `hotshoe dev`: a local daemon in development mode that gets every change of the sources while it serves.

mod device;
mod samples;

pub(crate) use device::Device;
pub(crate) use samples::{Sample, SampleResult};
