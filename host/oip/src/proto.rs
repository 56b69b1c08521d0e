//! The gRPC messages and the service's trait, made from `proto/inference.proto`; `tests/generated.rs` holds them to it and writes them.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

include!("generated/inference.rs");
