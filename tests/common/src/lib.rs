//! What the tests of several crates share: the checkout and its fixtures, waiting, skipping, signed releases, certificates.
//!
//! A helper that fails panics, since its caller is a test.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]

mod certificates;
mod checkout;
mod network;
mod release;
mod skip;
mod wait;

pub use certificates::{Authority, Issued};
pub use checkout::{environment, extra, root};
pub use network::{free_endpoint, free_port};
pub use release::{Signer, noise};
pub use skip::{Need, skip};
pub use wait::{DEADLINE, until};
