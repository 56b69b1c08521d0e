//! `wasi:nn`, unmodified, for code that also runs on other hosts. The release must grant `wasi-nn`. Models have the names of the release.
//!
//! It has its own type of tensors, and copies their bytes: [`tensor::Tensor::new`] takes the result of [`crate::Tensor::read_bytes`]. Hotshoe's
//! [`infer`](crate::infer) passes tensors by handle instead.

use crate::Error;

pub use self::bindings::wasi::nn::{errors, graph, inference, tensor};

/// The bindings that wit-bindgen generates for `wasi:nn`.
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

/// An error of `wasi:nn` as an [`Error`] with the code `internal`, and its code and message as text: `.map_err(nn::error)`.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn error(error: errors::Error) -> Error {
    let code = error.code();
    Error::internal(format_args!("wasi:nn {code:?}: {}", error.data()))
}
