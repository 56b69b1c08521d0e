//! Tools for authors of components: project templates in several languages, builds, and checks of a component against its world.
#![forbid(unsafe_code)]

pub mod build;
pub mod check;
pub mod embedded;
pub mod manifest;
pub mod tools;

mod error;
mod lang;
mod language;
mod new;
mod producers;
mod project;
mod strip;

pub use error::BuildError;
pub use lang::compile;
pub use language::{DetectError, Language};
pub use new::{Added, NewError, new_in_release, new_project};
pub use project::{Project, RustTarget};
pub use strip::strip;
pub use tools::{Consent, ToolError, Tools};
