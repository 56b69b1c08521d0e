//! How a run ends: 0 it did what was asked, 1 it failed, 2 it was asked wrongly (clap says how).
use crate::terminal::Terminal;
use hotshoe_trust::VerifyError;
use serde::Serialize;
use std::io;
use std::process::ExitCode;

/// A failure for machines, as `{"error": {..}}`.
#[derive(Debug, Serialize)]
struct Report {
    error: Failure,
}

#[derive(Debug, Serialize, PartialEq)]
struct Failure {
    /// A stable word, where a release was refused: `expired`, `wrong_device`, ...
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
            name: error
                .chain()
                .find_map(|cause| cause.downcast_ref::<VerifyError>())
                .map(VerifyError::name),
            message: messages.next().unwrap_or_default(),
            causes: messages.collect(),
        }
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
