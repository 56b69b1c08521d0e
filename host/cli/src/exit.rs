//! How a run ends: 0 it did what was asked, 1 it failed, 2 it was asked wrongly (clap says how).
use crate::terminal::Terminal;
use hotshoe_daemon::pipeline::LoadError;
use hotshoe_daemon::{ConfigError, DeployError, StartError};
use hotshoe_engine::PrepareError;
use hotshoe_store::{BlobError, InstallError, LayoutError, OpenError, PackError, ReadError};
use hotshoe_trust::toml_file::TomlError;
use hotshoe_trust::{BundleError, TrustError, VerifyError};
use serde::Serialize;
use std::error::Error;
use std::io;
use std::process::ExitCode;

/// A failure for machines, as `{"error": {..}}`.
#[derive(Debug, Serialize)]
struct Report {
    error: Failure,
}

#[derive(Debug, Serialize, PartialEq)]
struct Failure {
    /// A stable word, where there is one: `expired`, `wrong_world`, `damaged_blob`, `unknown_key`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    message: String,
    /// From the nearest to the deepest.
    causes: Vec<String>,
}

impl Failure {
    fn of(error: &anyhow::Error) -> Self {
        let mut messages: Vec<String> = error.chain().map(ToString::to_string).collect();
        // A transparent error says what its source says; once is enough.
        messages.dedup();
        let mut messages = messages.into_iter();
        Self {
            name: error.chain().find_map(name),
            message: messages.next().unwrap_or_default(),
            causes: messages.collect(),
        }
    }
}

/// The stable name of one link of an error's chain.
fn name(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    None.or_else(|| find::<VerifyError>(cause).map(VerifyError::name))
        .or_else(|| find::<LoadError>(cause).and_then(load_name))
        .or_else(|| find::<PrepareError>(cause).map(PrepareError::name))
        .or_else(|| find::<StartError>(cause).and_then(start_name))
        .or_else(|| find::<DeployError>(cause).and_then(deploy_name))
        .or_else(|| find::<ConfigError>(cause).and_then(config_name))
        .or_else(|| find::<TrustError>(cause).map(TrustError::name))
        .or_else(|| find::<TomlError>(cause).map(TomlError::name))
        .or_else(|| find::<BundleError>(cause).map(BundleError::name))
        .or_else(|| find::<PackError>(cause).map(PackError::name))
        .or_else(|| find::<InstallError>(cause).map(InstallError::name))
        .or_else(|| find::<OpenError>(cause).map(OpenError::name))
        .or_else(|| find::<ReadError>(cause).map(ReadError::name))
        .or_else(|| find::<LayoutError>(cause).map(LayoutError::name))
        .or_else(|| find::<BlobError>(cause).map(BlobError::name))
}

/// An error that stands in the chain itself, or in a box.
fn find<'a, E: Error + 'static>(cause: &'a (dyn Error + 'static)) -> Option<&'a E> {
    cause
        .downcast_ref::<E>()
        .or_else(|| cause.downcast_ref::<Box<E>>().map(AsRef::as_ref))
}

/// A blob that cannot be read is named by what is wrong with it.
fn load_name(error: &LoadError) -> Option<&'static str> {
    match error {
        LoadError::Blob { .. } => None,
        error => Some(error.name()),
    }
}

/// A transparent error hides the one that it is from the chain.
fn start_name(error: &StartError) -> Option<&'static str> {
    match error {
        StartError::Deploy(error) => deploy_name(error),
        _ => None,
    }
}

fn deploy_name(error: &DeployError) -> Option<&'static str> {
    match error {
        DeployError::NoRelease { .. } => Some("nothing_installed"),
        _ => None,
    }
}

/// What is wrong with the TOML comes next in the chain.
fn config_name(error: &ConfigError) -> Option<&'static str> {
    match error {
        ConfigError::Toml(_) => None,
        ConfigError::Read { .. } => Some("io"),
        _ => Some("invalid_config"),
    }
}

/// Tells a failure in the way that was asked for.
pub fn failed(error: &anyhow::Error, terminal: &Terminal) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::FAILURE;
    }
    let failure = Failure::of(error);
    if terminal.json {
        // Where even that cannot be written, the exit code is all there is left to tell.
        drop(terminal.json(&Report { error: failure }));
    } else {
        terminal.note(format!(
            "{} {}",
            terminal.error_word("error:"),
            failure.message
        ));
        for cause in failure.causes {
            terminal.note(format!("  {} {cause}", terminal.error_word("caused by:")));
        }
    }
    ExitCode::FAILURE
}

/// The reader of our output went away, as `head` does; there is no one left to tell.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn causes_are_listed_from_the_nearest_and_never_twice() {
        let error = Err::<(), _>(anyhow!("deep"))
            .context("deep")
            .context("near")
            .context("what failed");
        let failure = error.map_err(|error| Failure::of(&error)).err();
        let expected = Failure {
            name: None,
            message: "what failed".to_owned(),
            causes: vec!["near".to_owned(), "deep".to_owned()],
        };
        assert_eq!(failure, Some(expected));
    }
}
