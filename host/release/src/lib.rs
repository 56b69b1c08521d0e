//! What the programs of Hotshoe share: releases, keys and devices as files, a daemon in this process or in a child process, and the front of
//! a command line.
#![forbid(unsafe_code)]

// Releases, from a key to a device.
pub mod deliver;
pub mod device;
pub mod install;
pub mod keys;
pub mod pack;
pub mod period;
pub mod sign;
pub mod throwaway;
pub mod trust_file;
pub mod verify;

mod baselines;
mod encodings;

// Daemons.
pub mod daemon_process;
pub mod serve;

// The front of a program.
pub mod exit;
pub mod files;
pub mod logging;
pub mod machine;
pub mod passphrase;
pub mod random;
pub mod ratio;
pub mod signals;
pub mod terminal;
