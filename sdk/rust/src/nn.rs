//! `wasi:nn`, unmodified: for logic that is to run on other hosts too. The release must grant `wasi-nn`; models go by their names in it.
//!
//! Its tensors are of its own kind, and cross by their bytes: [`tensor::Tensor::new`] takes what [`crate::Tensor::read_bytes`] gives. Our own
//! [`infer`](crate::infer) moves tensors by handle instead.

use crate::Error;

pub use self::bindings::wasi::nn::{errors, graph, inference, tensor};

/// What wit-bindgen makes of the WIT files of `wasi:nn`.
#[allow(
    missing_docs,
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

/// An error of `wasi:nn` as one of ours, `internal`, with its code and its words: `.map_err(nn::error)`.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn error(error: errors::Error) -> Error {
    let code = error.code();
    Error::internal(format_args!("wasi:nn {code:?}: {}", error.data()))
}
