//! The inner loop of an author: a daemon of their own in development mode, which gets every change of the sources while it serves.

mod device;
mod samples;

pub use device::Device;
pub use samples::{Sample, Shown};
