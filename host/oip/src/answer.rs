//! Answers in both forms of the protocol: errors over HTTP and gRPC, and JSON.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hotshoe_base::chain;
use serde::Serialize;
use serde_json::json;
use tonic::Status;

use crate::error::RequestError;

/// The key of the stable name of an error in the metadata of a status.
pub(crate) const NAME_KEY: &str = "hotshoe-error";

/// The gRPC status of an error. The stable name is at the start of the message, and in the metadata.
pub(crate) fn status(error: &RequestError) -> Status {
    let name = error.name();
    let mut status = Status::new(error.kind().grpc(), format!("{name}: {}", chain(error)));
    // The fault of a sample is text of the daemon's own, so it parses.
    if let Ok(value) = name.parse() {
        status.metadata_mut().insert(NAME_KEY, value);
    }
    status
}

/// The answer of an error over HTTP.
pub(crate) fn refuse(error: &RequestError) -> Response {
    let status = error.kind().http();
    let message = chain(error);
    if status.is_server_error() {
        tracing::debug!(%status, message, "request failed");
    }
    reply(status, &json!({ "error": message, "name": error.name() }))
}

/// An answer with a body of JSON.
pub(crate) fn reply(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let kind = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, kind)], body).into_response()
}

/// An error in the form that the request has.
pub(crate) fn error(error: &RequestError, over_grpc: bool) -> Response {
    if over_grpc {
        return status(error).into_http();
    }
    refuse(error)
}

/// Whether a request is a gRPC request.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/grpc"))
}
