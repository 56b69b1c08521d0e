//! The calls of the protocol and of Triton's extensions that Hotshoe does not implement, with what to do instead.

use crate::error::RequestError;

const LOADING: (&str, &str) = (
    "loading and unloading single models",
    "models come with a release: publish or install one",
);
const SHARED_MEMORY: (&str, &str) = (
    "shared memory",
    "send the elements of tensors in the request",
);
const TRACING: (&str, &str) = (
    "tracing",
    "`[metrics]` has counters and durations, and the statistics of models are served",
);
const LOGGING: (&str, &str) = (
    "changing the log",
    "set `[log]` in hotshoe.toml and reload it",
);
const STREAMING: (&str, &str) = (
    "a stream of requests and answers",
    "each request has one answer: call ModelInfer for each",
);
const GENERATING: (&str, &str) = ("text generation", "send tensors, or a sample, to `infer`");
const WATCHING: (&str, &str) = ("watching the health", "call Check again");

/// The error for a path without a handler over HTTP.
pub(crate) fn over_http(path: &str) -> RequestError {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let known = match segments.as_slice() {
        ["v2", "repository", .., "load" | "unload"] => LOADING,
        ["v2", "systemsharedmemory" | "cudasharedmemory", ..] => SHARED_MEMORY,
        ["v2", "trace", ..] | ["v2", "models", _, "trace", ..] => TRACING,
        ["v2", "logging"] => LOGGING,
        ["v2", "models", .., "generate" | "generate_stream"] => GENERATING,
        _ => return RequestError::NoPath(path.to_owned()),
    };
    not_implemented(known)
}

/// The error for a method without a handler over gRPC.
pub(crate) fn over_grpc(path: &str) -> RequestError {
    let known = match path.rsplit('/').next().unwrap_or(path) {
        "RepositoryModelLoad" | "RepositoryModelUnload" => LOADING,
        "TraceSetting" => TRACING,
        "LogSettings" => LOGGING,
        "ModelStreamInfer" => STREAMING,
        "Watch" if path.starts_with("/grpc.health.v1.Health/") => WATCHING,
        method if method.starts_with("SystemShared") || method.starts_with("CudaShared") => {
            SHARED_MEMORY
        }
        _ => return RequestError::Method(path.to_owned()),
    };
    not_implemented(known)
}

const fn not_implemented((what, instead): (&'static str, &'static str)) -> RequestError {
    RequestError::NotImplemented { what, instead }
}
