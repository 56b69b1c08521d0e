//! Sets up a checkout for the demo and tests: pinned models and pictures, a compiler for WebAssembly, and the built components.
//!
//! [`set_up`] does all of it. If everything exists, it only checks, and needs no network.
#![forbid(unsafe_code)]

pub mod fixtures;
pub mod guests;
pub mod process;
pub mod toolchain;
pub mod wheel;

mod debian;
mod doc_string;
mod environment;
mod extras;
mod files;
mod interface;
mod progress;
mod rustc;

pub use debian::{DebianError, debian_package};
pub use doc_string::with_doc_string;
pub use environment::{Environment, SetUpError, fetch, fetch_all, find_root, set_up, tools};
pub use extras::Extra;
pub use interface::{Interface, InterfaceError, interface};
pub use process::CommandError;
pub use progress::{Progress, Task};
pub use toolchain::Toolchain;
