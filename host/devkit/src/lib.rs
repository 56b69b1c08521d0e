//! Sets up a checkout for the demo and tests: pinned models and pictures, a compiler for WebAssembly, and the built components.
//!
//! [`set_up`] does all of it. If everything exists, it only checks, and needs no network. Without the feature `set-up`, there are only the
//! progress bars.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "set-up"),
    allow(rustdoc::broken_intra_doc_links, reason = "set_up is left out")
)]

#[cfg(feature = "set-up")]
pub mod fixtures;
#[cfg(feature = "set-up")]
pub mod guests;
#[cfg(feature = "set-up")]
pub mod process;
#[cfg(feature = "set-up")]
pub mod runtime;
#[cfg(feature = "set-up")]
pub mod toolchain;
#[cfg(feature = "set-up")]
pub mod wheel;

#[cfg(feature = "set-up")]
mod debian;
#[cfg(feature = "set-up")]
mod doc_string;
#[cfg(feature = "set-up")]
mod environment;
#[cfg(feature = "set-up")]
mod extras;
#[cfg(feature = "set-up")]
mod files;
#[cfg(feature = "set-up")]
mod installed;
#[cfg(feature = "set-up")]
mod interface;
mod progress;
#[cfg(feature = "set-up")]
mod rustc;

#[cfg(feature = "set-up")]
pub use debian::{DebianError, debian_package};
#[cfg(feature = "set-up")]
pub use doc_string::with_doc_string;
#[cfg(feature = "set-up")]
pub use environment::{
    Environment, SetUpError, fetch, fetch_all, fetch_runtime, find_root, set_up, tools,
};
#[cfg(feature = "set-up")]
pub use extras::Extra;
#[cfg(feature = "set-up")]
pub use installed::{cache, installed, share};
#[cfg(feature = "set-up")]
pub use interface::{Interface, InterfaceError, interface};
#[cfg(feature = "set-up")]
pub use process::CommandError;
pub use progress::{Progress, Task};
#[cfg(feature = "set-up")]
pub use toolchain::Toolchain;
