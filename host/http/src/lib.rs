//! The shared front of all HTTP servers: accepts connections, checks access, and enforces limits and timeouts.
//!
//! [`Bound::bind`] binds the port, [`Bound::serve`] starts the front, [`Front::close`] ends it. A [`Handler`] answers the allowed requests.
//! The first bytes of a connection decide between HTTP/1.1 and HTTP/2. [`Limits`] bounds all resources that a client can take.
#![forbid(unsafe_code)]

mod access;
mod activity;
mod body;
mod connection;
mod connections;
mod error;
mod front;
mod log_throttle;
mod options;
mod shared;
mod tls;
mod write_timeout;

use std::pin::Pin;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{Request, Response};

pub use access::Refusal;
pub use body::{discard, is_stalled};
pub use error::FrontError;
pub use front::{Bound, Front, Renewal};
pub use log_throttle::LogThrottle;
pub use options::{Exposure, Limits, Options, exposure};
pub use tls::{TlsError, TlsFiles};

/// The error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a request or an answer.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
/// The future of an answer.
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers the requests of a front.
pub trait Handler: Send + Sync + 'static {
    /// Answers an allowed request. Reading its body fails if nothing arrives for [`Limits::stall`]; see [`is_stalled`].
    fn answer(&self, request: Request<Body>) -> Answer;

    /// The answer to a refused request.
    fn refuse(&self, refusal: Refusal, head: &Request<()>) -> Response<Body>;
}
