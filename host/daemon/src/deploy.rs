//! Which release serves. Nothing else in the daemon reads or writes the ledger.
//!
//! A statement says what a site should run; its release is fetched, verified, staged, proved, perhaps run in shadow, tried and
//! confirmed, or refused by name. One thread does all of it, so that every state of the ledger follows from one before.

mod board;
mod boot;
mod command;
mod error;
pub mod health;
mod keyring;
mod loader;
mod observed;
mod served;
mod shadow;

pub use board::{Board, View};
pub use boot::Boot;
pub use command::{Command, CommandError, offline};
pub use error::{DeployError, StoredTrustError};
pub(crate) use error::chain;
pub use keyring::MAX_TRUST_BYTES;
pub use loader::LoadFailure;
pub use observed::{Fared, Observed, Observer};
pub use served::Served;
pub use shadow::{Compared, Likeness, Score, Tap};

