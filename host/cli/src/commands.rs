//! One module a command, each with `Args`, `run`, and the work itself as a function that others may call.
pub mod bench;
pub mod demo;
pub mod exec;
pub mod inspect;
pub mod install;
pub mod keygen;
pub mod pack;
pub mod run;
pub mod sign;
pub mod status;
pub mod trust;
pub mod verify;
