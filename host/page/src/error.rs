//! Why the page cannot be served, and why a request of it is refused.

use std::io;

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use hotshoe_base::chain;
use hotshoe_daemon::control::ControlError;
use hotshoe_http::FrontError;
use hotshoe_link::LinkError;
use hotshoe_store::ReadError;
use hotshoe_trust::Digest;
use serde::Serialize;
use serde_json::json;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The port, the token or the certificates cannot be used.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// The threads cannot be started.
    #[error("cannot start the threads of the page")]
    Threads(#[source] io::Error),
    /// The devices of the site cannot be followed.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl PageError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Front(error) => error.name(),
            Self::Threads(_) => "no_threads",
            Self::Link(error) => error.name(),
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageRequestError {
    #[error("there is nothing at {0}")]
    NoPath(String),
    #[error("this path is not for {0}; read with GET, give orders with POST")]
    Method(String),
    #[error("`span` is `hour`, `day` or `month`")]
    Span,
    #[error("`from` and `to` are the digests of two releases, as `hotshoe status` has them")]
    Digests,
    #[error("the body is not the JSON of an order: {{\"release\": \"sha256:...\"}}")]
    Order(#[source] serde_json::Error),
    #[error(
        "without a token, the page gives no orders: set `page.token-file`, or use `hotshoe rollback` and `hotshoe activate` on the device"
    )]
    NoToken,
    #[error("no release is {0} on this device")]
    NoRelease(&'static str),
    #[error("the releases of the device have changed: {now} is there now, not {asked}; look again")]
    SlotsChanged { now: Digest, asked: Digest },
    #[error("too many pages follow this device; close one")]
    TooManyViewers,
    #[error("the picture is no longer kept")]
    NoPicture,
    #[error("the device keeps no history; its log says why")]
    NoHistory,
    #[error("{0} is neither live, previous, staged nor on trial on this device")]
    NotInSlot(Digest),
    #[error("the release {release} cannot be read")]
    Release {
        release: Digest,
        #[source]
        source: ReadError,
    },
    #[error("the document of the release is not JSON")]
    Document(#[source] serde_json::Error),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("no device of this site is called {0}")]
    NoDevice(String),
    #[error("device {0} did not answer")]
    NoReply(String),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the server ends")]
    Ends,
}

impl PageRequestError {
    /// The stable name, in snake case.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::NoPath(_) => "not_found",
            Self::Method(_) => "wrong_method",
            Self::Span => "unknown_span",
            Self::Digests => "no_digests",
            Self::Order(_) => "invalid_order",
            Self::NoToken => "token_required",
            Self::NoRelease(_) => "no_such_release",
            Self::SlotsChanged { .. } => "slots_changed",
            Self::TooManyViewers => "too_many_viewers",
            Self::NoPicture => "no_picture",
            Self::NoHistory => "no_history",
            Self::NotInSlot(_) => "not_in_slot",
            Self::Release { source, .. } => source.name(),
            Self::Document(_) => "malformed",
            Self::Control(error) => error.name(),
            Self::NoDevice(_) => "unknown_device",
            Self::NoReply(_) => "no_reply",
            Self::Link(error) => error.name(),
            Self::Ends => "shutting_down",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::NoPath(_)
            | Self::NoPicture
            | Self::NoHistory
            | Self::NotInSlot(_)
            | Self::NoDevice(_) => StatusCode::NOT_FOUND,
            Self::NoReply(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Span | Self::Digests | Self::Order(_) => StatusCode::BAD_REQUEST,
            Self::NoToken => StatusCode::FORBIDDEN,
            Self::NoRelease(_) | Self::SlotsChanged { .. } | Self::Control(_) => {
                StatusCode::CONFLICT
            }
            Self::TooManyViewers | Self::Ends | Self::Link(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Release { .. } | Self::Document(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for PageRequestError {
    fn into_response(self) -> Response {
        let body = json!({ "name": self.name(), "error": chain(&self) });
        json_response(self.status(), &body)
    }
}

/// An answer of JSON, which no cache keeps.
pub(crate) fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}
