//! Finds which way up a line of text is: a plain program for `wasi:nn` 0.2.0-rc-2024-10-28, by a model that the host knows by name.
//!
//! It is written against `wasi:nn` and Rust's standard library alone. `main.rs` makes it a command for hosts that run commands; what makes it a
//! stage of Hotshoe is `guests/classic-stage`, and changes nothing here.

mod picture;

use thiserror::Error;
use wasi::nn::errors::Error as NnError;
use wasi::nn::graph::load_by_name;
use wasi::nn::tensor::{Tensor, TensorType};

pub use picture::{HEIGHT, PictureError, WIDTH, elements};

/// The bindings that wit-bindgen generates for `wasi:nn`.
#[allow(
    missing_docs,
    unsafe_code,
    clippy::all,
    clippy::restriction,
    reason = "generated; the documentation is in wit/deps/wasi-nn"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/deps/wasi-nn",
        world: "wasi:nn/ml",
        generate_all,
    });
}

use bindings::wasi;

/// The model's classes, in its order.
const LABELS: [&str; 2] = ["0", "180"];
/// The model's input.
const INPUT: &str = "x";

/// Why a picture was not classified.
#[derive(Debug, Error)]
pub enum ClassifyError {
    /// It is not a picture that the program supports.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// `wasi:nn` failed.
    #[error("wasi:nn {code}: {data}")]
    Nn {
        /// Its code.
        code: String,
        /// Its message.
        data: String,
    },
    /// The model is another one.
    #[error("the model gave {found} numbers; {} are expected, one a class", LABELS.len())]
    Scores {
        /// Numbers in its outputs.
        found: usize,
    },
}

/// The classes of a picture by the model of this name, best first, with their scores.
///
/// # Errors
/// [`ClassifyError`].
pub fn classify(model: &str, picture: &[u8]) -> Result<Vec<(&'static str, f32)>, ClassifyError> {
    let bytes: Vec<u8> = elements(picture)?
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    let shape = [1, 3, HEIGHT as u32, WIDTH as u32];
    let input = Tensor::new(&shape, TensorType::Fp32, &bytes);
    let context = load_by_name(model)
        .and_then(|graph| graph.init_execution_context())
        .map_err(failed)?;
    let outputs = context
        .compute(vec![(INPUT.to_owned(), input)])
        .map_err(failed)?;
    let scores: Vec<f32> = outputs
        .iter()
        .flat_map(|(_, output)| output.data())
        .collect::<Vec<u8>>()
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    if scores.len() != LABELS.len() {
        return Err(ClassifyError::Scores {
            found: scores.len(),
        });
    }
    let mut classes: Vec<_> = LABELS.into_iter().zip(scores).collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(classes)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: NnError) -> ClassifyError {
    ClassifyError::Nn {
        code: format!("{:?}", error.code()),
        data: error.data(),
    }
}
