//! The gRPC messages and the traits of services, generated from `proto/*.proto`; `tests/generated.rs` checks and regenerates them.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

include!("generated/inference.rs");

/// The health checking protocol of gRPC.
pub(crate) mod health {
    include!("generated/grpc.health.v1.rs");
}
