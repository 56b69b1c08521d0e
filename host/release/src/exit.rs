//! Exit codes and error output: 0 success, 1 failure, 2 wrong usage (from clap).

use std::error::Error;
use std::io;
use std::process::ExitCode;

use hotshoe_config::ConfigError;
use hotshoe_config::descriptors::TooFewDescriptors;
use hotshoe_daemon::StartError;
use hotshoe_daemon::metrics::MetricsError;
use hotshoe_delivery::PublishError;
use hotshoe_engine::PrepareError;
use hotshoe_link::LinkError;
use hotshoe_pipeline::{LoadError, SelfTestError};
use hotshoe_sealing::{SealingKeyError, SecretError, UnsealError};
use hotshoe_store::{
    ApplyError, BlobError, CatalogueError, InstallError, LayoutError, LiveError, NotRecorded,
    OpenError, PackError, ReadError, RecordingError,
};
use hotshoe_trust::toml_file::TomlError;
use hotshoe_trust::{BundleError, RotationError, StatementError, TrustError, VerifyError};
use serde::Serialize;

use crate::period::PeriodError;
use crate::terminal::Terminal;
use crate::throwaway::{NoDevice, NoFolder};

/// The stable names of errors that only one program knows, for one link of an error's chain.
pub type Namer = for<'a> fn(&'a (dyn Error + 'static)) -> Option<&'a str>;

/// A failure as JSON, `{"error": {..}}`.
#[derive(Debug, Serialize)]
struct Report {
    error: Failure,
}

#[derive(Debug, Serialize, PartialEq)]
struct Failure {
    /// The stable name, if there is one: `expired`, `wrong_world`, `damaged_blob`, `unknown_key`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    message: String,
    /// The causes, from the nearest to the deepest.
    causes: Vec<String>,
}

impl Failure {
    fn of(error: &anyhow::Error, others: Namer) -> Self {
        let mut messages: Vec<String> = error
            .chain()
            .map(|it| without_place(it.to_string()))
            .collect();
        // A transparent error repeats the message of its source.
        messages.dedup();
        let mut messages = messages.into_iter();
        Self {
            name: error.chain().find_map(|cause| {
                let own = fixed_name(cause).or_else(|| fleet_name(cause));
                own.or_else(|| others(cause)).map(str::to_owned)
            }),
            message: messages.next().unwrap_or_default(),
            causes: messages.collect(),
        }
    }
}

/// Removes the source location, ` at /.../link.rs:388.`, from the end of a message of Zenoh.
fn without_place(message: String) -> String {
    let is_place = |text: &str| {
        text.trim_end_matches('.')
            .rsplit_once(".rs:")
            .is_some_and(|(path, line)| {
                !path.contains(' ') && !line.is_empty() && line.chars().all(|c| c.is_ascii_digit())
            })
    };
    match message.rsplit_once(" at ") {
        Some((words, place)) if is_place(place) => words.trim_end().to_owned(),
        _ => message,
    }
}

/// The stable name of an error of this machine.
fn fixed_name(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    None.or_else(|| find::<VerifyError>(cause).map(VerifyError::name))
        .or_else(|| find::<LoadError>(cause).and_then(load_name))
        .or_else(|| find::<PrepareError>(cause).map(PrepareError::name))
        .or_else(|| find::<SelfTestError>(cause).map(SelfTestError::name))
        .or_else(|| find::<ConfigError>(cause).and_then(config_name))
        .or_else(|| find::<StatementError>(cause).map(StatementError::name))
        .or_else(|| find::<RotationError>(cause).map(RotationError::name))
        .or_else(|| find::<TrustError>(cause).map(TrustError::name))
        .or_else(|| find::<TomlError>(cause).map(TomlError::name))
        .or_else(|| find::<BundleError>(cause).map(BundleError::name))
        .or_else(|| find::<PackError>(cause).map(PackError::name))
        .or_else(|| find::<InstallError>(cause).map(InstallError::name))
        .or_else(|| find::<ApplyError>(cause).map(ApplyError::name))
        .or_else(|| find::<CatalogueError>(cause).map(CatalogueError::name))
        .or_else(|| find::<OpenError>(cause).map(OpenError::name))
        .or_else(|| find::<LiveError>(cause).map(LiveError::name))
        .or_else(|| find::<ReadError>(cause).map(ReadError::name))
        .or_else(|| find::<LayoutError>(cause).map(LayoutError::name))
        .or_else(|| find::<BlobError>(cause).map(BlobError::name))
        .or_else(|| find::<NoDevice>(cause).map(NoDevice::name))
        .or_else(|| find::<NoFolder>(cause).map(NoFolder::name))
        .or_else(|| find::<RecordingError>(cause).map(RecordingError::name))
        .or_else(|| find::<NotRecorded>(cause).map(|_| "not_recorded"))
        .or_else(|| find::<TooFewDescriptors>(cause).map(TooFewDescriptors::name))
        .or_else(|| find::<PeriodError>(cause).map(PeriodError::name))
        .or_else(|| find::<SealingKeyError>(cause).map(SealingKeyError::name))
        .or_else(|| find::<SecretError>(cause).map(SecretError::name))
        .or_else(|| find::<UnsealError>(cause).map(UnsealError::name))
}

/// The stable name of an error of other machines, or of the network.
fn fleet_name<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a str> {
    None.or_else(|| find::<PublishError>(cause).map(PublishError::name))
        .or_else(|| find::<StartError>(cause).and_then(start_name))
        .or_else(|| find::<LinkError>(cause).and_then(link_name))
}

/// The name of a start error. Only errors of the network have one here.
fn start_name(error: &StartError) -> Option<&'static str> {
    match error {
        StartError::Link(error) => link_name(error),
        StartError::Metrics(MetricsError::Front(error)) => Some(error.name()),
        _ => None,
    }
}

/// The name of a link error. Most errors of Zenoh have only their message.
fn link_name(error: &LinkError) -> Option<&'static str> {
    let has_name = matches!(
        error,
        LinkError::InsecureEndpoint(_) | LinkError::Descriptors(_)
    );
    has_name.then(|| error.name())
}

/// An error of the chain, itself or in a box.
pub fn find<'a, E: Error + 'static>(cause: &'a (dyn Error + 'static)) -> Option<&'a E> {
    cause
        .downcast_ref::<E>()
        .or_else(|| cause.downcast_ref::<Box<E>>().map(AsRef::as_ref))
}

/// The name of a load error. An unreadable blob is named by the next error in the chain.
fn load_name(error: &LoadError) -> Option<&'static str> {
    match error {
        LoadError::Blob { .. } => None,
        error => Some(error.name()),
    }
}

/// The name of a configuration error. An error of the TOML is named by the next error in the chain.
fn config_name(error: &ConfigError) -> Option<&'static str> {
    match error {
        ConfigError::Toml(_) => None,
        ConfigError::Read { .. } => Some("io"),
        _ => Some("invalid_config"),
    }
}

/// Prints a failure, as text or JSON. `others` names what the crates below do not know.
pub fn failed(error: &anyhow::Error, others: Namer, terminal: &Terminal) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::FAILURE;
    }
    let failure = Failure::of(error, others);
    if terminal.json {
        // If this cannot be written either, the exit code is enough.
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

/// Whether the reader of our output has closed it, as `head` does.
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
        let failure = error.map_err(|error| Failure::of(&error, |_| None)).err();
        let expected = Failure {
            name: None,
            message: "what failed".to_owned(),
            causes: vec!["near".to_owned(), "deep".to_owned()],
        };
        assert_eq!(failure, Some(expected));
    }
}
