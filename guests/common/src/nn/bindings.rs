//! The bindings that wit-bindgen generates for `wasi:nn`.
#![allow(
    missing_docs,
    clippy::all,
    clippy::restriction,
    reason = "generated; the documentation is in wit/deps/wasi-nn"
)]

wit_bindgen::generate!({
    path: "../../wit/deps/wasi-nn",
    world: "wasi:nn/ml",
    generate_all,
});
