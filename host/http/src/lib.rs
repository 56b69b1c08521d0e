//! The front of every HTTP door: it takes connections, knows who may ask, and ends what keeps others out.
//!
//! [`Bound::bind`] takes the port, [`Bound::serve`] begins to answer, [`Front::close`] takes nothing more. Behind it stands a
//! [`Handler`], which answers requests that were let in. HTTP/1.1 and HTTP/2 are told apart by the first bytes. All that another
//! end can make the daemon hold has a limit in [`Limits`].
#![forbid(unsafe_code)]

mod access;
mod activity;
mod body;
mod connection;
mod error;
mod front;
mod options;
mod connections;
mod log_throttle;
mod write_timeout;
mod tls;

use std::pin::Pin;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{Request, Response};

pub use access::{LEAST_TOKEN_BYTES, Refusal};
pub use body::{discard, is_stalled};
pub use error::FrontError;
pub use front::{Bound, Front, Renewal};
pub use options::{Exposure, Limits, Options, exposure};
pub use log_throttle::LogThrottle;
pub use tls::{TlsError, TlsFiles};

/// Whatever a body may end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a request or an answer.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
/// An answer that is being made.
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// What stands behind a front.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request that was let in. Reading its body fails where nothing of it arrives for [`Limits::stall`]; see
    /// [`is_stalled`].
    fn answer(&self, request: Request<Body>) -> Answer;

    /// Says in the door's own form why a request was not let in.
    fn refuse(&self, refusal: Refusal, head: &Request<()>) -> Response<Body>;
}
