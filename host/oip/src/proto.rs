//! The gRPC messages and the service's trait, made from `proto/inference.proto` by the build script.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

tonic::include_proto!("inference");
