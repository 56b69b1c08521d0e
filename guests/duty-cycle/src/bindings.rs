//! What wit-bindgen makes of `wit/0.2.0`.
#![allow(
    missing_docs,
    clippy::all,
    clippy::restriction,
    reason = "generated; the documentation is in wit/0.2.0"
)]

wit_bindgen::generate!({
    path: "../../wit/0.2.0",
    world: "hotshoe:pipeline/filter",
    generate_all,
});
