//! Makes the gRPC messages and the service's trait from the `.proto`, in Rust alone.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/inference.proto");
    let descriptors = protox::compile(["inference.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        // Tensors stay in the buffer that they arrived in.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
