//! What wit-bindgen makes of `wasi:nn`.
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
