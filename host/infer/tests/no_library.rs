#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Where ONNX Runtime cannot be had. A process that has loaded it once keeps it, so these tests have a process of their own.

mod common;

use std::path::{Path, PathBuf};

use hotshoe_infer::{Backend, BackendChoice, LoadError, NO_RUNTIME, ort_library};
use hotshoe_trust::Digest;

use common::arithmetic;
use common::choice::{load, with_library};

#[test]
fn a_missing_library_is_told() {
    let path = Path::new("/no/such/libonnxruntime.so");
    let options = with_library(path.to_owned());
    let found = ort_library(&options.ort);
    assert_eq!(found.path, None);
    assert_eq!(found.tried[0].0, path);
    assert!(found.tried[0].1.contains("no such file"), "{found:?}");

    let error = load(&arithmetic(), BackendChoice::Ort, options.clone()).unwrap_err();
    assert!(matches!(error, LoadError::NoRuntime { .. }), "{error}");

    let model = load(&arithmetic(), BackendChoice::Auto, options).unwrap();
    assert_eq!(model.backends(), [Backend::Tract]);
    // A library that is named is missed with its reason.
    let [(Backend::Ort, cause)] = model.refused() else {
        panic!("{:?}", model.refused());
    };
    assert!(cause.starts_with(NO_RUNTIME), "{cause}");
    assert!(cause.ends_with("there is no such file"), "{cause}");
}

#[test]
fn a_library_with_another_digest_is_not_loaded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut options = with_library(PathBuf::from(path));
    options.ort.library_digest = Some(Digest::of(b"another file"));
    let found = ort_library(&options.ort);
    let said = &found.tried[0].1;
    assert!(said.starts_with("it has the digest sha256:"), "{said}");
    // With the right one, it is the loader that refuses it.
    options.ort.library_digest = Some(Digest::of(&std::fs::read(path).unwrap()));
    let found = ort_library(&options.ort);
    assert!(
        found.tried[0].1.starts_with("it cannot be loaded"),
        "{found:?}"
    );

    let mut named = with_library(PathBuf::from("libc.so.6"));
    named.ort.library_digest = Some(Digest::of(b""));
    let found = ort_library(&named.ort);
    assert!(found.tried[0].1.contains("needs a path"), "{found:?}");
}

#[test]
fn a_library_that_is_another_or_none_is_told() {
    let found = ort_library(
        &with_library(PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/Cargo.toml"
        )))
        .ort,
    );
    assert_eq!(found.path, None, "{found:?}");
    let said = &found.tried[0].1;
    assert!(said.len() > "it cannot be loaded: ".len(), "{said}");
    assert!(!said.ends_with("dlopen failed"), "{said}");
    let elsewhere = ort_library(&with_library(PathBuf::from("libc.so.6")).ort);
    assert_eq!(elsewhere.path, None, "{elsewhere:?}");
    if cfg!(target_os = "linux") {
        assert_eq!(elsewhere.tried[0].1, "it is not ONNX Runtime");
    }
}
