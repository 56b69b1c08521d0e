//! The gRPC messages and the service's trait, generated from `proto/inference.proto`; `tests/generated.rs` checks and regenerates them.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

include!("generated/inference.rs");
