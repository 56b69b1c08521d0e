#![forbid(unsafe_code)]
//! Reads text in pictures with three models: one finds lines, one says which way up they are, one reads them.
//!
//! These are the algorithms alone, independent of WebAssembly: the components in `guests/` wrap them, and the benches run them natively.

pub mod angle;
pub mod ctc;
pub mod db;
pub mod geometry;
pub mod order;
pub mod page;
pub mod regions;
pub mod rules;
pub mod sizes;

/// A model's output does not fit the code: the release has another model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelOutputError {
    /// The shape is wrong.
    #[error(
        "the {model}'s output must have the shape {expected}, but has {found:?}; use the model that this code is made for"
    )]
    Shape {
        /// Which model.
        model: &'static str,
        /// The expected shape of its output.
        expected: &'static str,
        /// The shape of its output.
        found: Vec<usize>,
    },
    /// The recogniser and its character list do not belong together.
    #[error(
        "the recogniser knows {classes} characters, but its character list has {entries} (with the blank and the space); use the list that belongs to it"
    )]
    Alphabet {
        /// Classes in the output.
        classes: usize,
        /// Entries in the list.
        entries: usize,
    },
}

impl ModelOutputError {
    pub(crate) fn shape(model: &'static str, expected: &'static str, found: &[usize]) -> Self {
        Self::Shape {
            model,
            expected,
            found: found.to_vec(),
        }
    }
}
