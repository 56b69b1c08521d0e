//! The gRPC messages and the services' traits are checked in, so that a build needs no compiler of `.proto` files.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

/// Set to write the files instead of comparing them, after a change of a `.proto`.
const UPDATE: &str = "HOTSHOE_UPDATE_GENERATED";

#[test]
fn the_generated_code_is_that_of_the_proto() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let files = ["inference.proto", "health.proto"];
    let descriptors = protox::compile(files, [root.join("proto")]).unwrap();
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        // Tensors stay in the buffer that they arrived in.
        .bytes(".")
        .out_dir(folder.path())
        .compile_fds(descriptors)
        .unwrap();
    for name in ["inference.rs", "grpc.health.v1.rs"] {
        let made = std::fs::read_to_string(folder.path().join(name)).unwrap();
        let kept = root.join("src/generated").join(name);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&kept, &made).unwrap();
        }
        assert!(
            made == std::fs::read_to_string(&kept).unwrap(),
            "{} is not what the .proto gives; write it with {UPDATE}=1 cargo test -p hotshoe-oip --test generated",
            kept.display()
        );
    }
}
