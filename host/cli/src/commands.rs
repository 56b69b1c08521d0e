//! One module a command, each with `Args`, `run`, and the work itself as a function that others may call.
pub mod inspect;
pub mod install;
pub mod keygen;
pub mod pack;
pub mod sign;
pub mod trust;
pub mod verify;
