//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::Body;
use crate::activity::{ActiveRequest, End};
use crate::body::{RequestBody, ResponseBody, discard};
use crate::connections::ConnectionGuard;
use crate::options::Limits;
use crate::shared::{Closing, Shared};
use crate::write_timeout::WriteTimeout;

/// The smallest buffer that hyper takes, in bytes.
const LEAST_BUFFER_BYTES: usize = 8 << 10;

/// A byte stream, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection of a front.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) guard: ConnectionGuard,
    pub(crate) closing: Closing,
}

impl Connection {
    /// Serves the connection until it ends.
    pub(crate) async fn run(mut self, stream: TcpStream) {
        // Otherwise small answers wait for acknowledgements. An error only makes them slower.
        let _ = stream.set_nodelay(true);
        let settings = self.shared.settings.load_full();
        let limits = settings.limits;
        let stream = WriteTimeout::new(stream, limits.stall);
        let stream: Box<dyn Stream> = match &settings.acceptor {
            None => Box::new(stream),
            Some(acceptor) => {
                let activity = &self.guard.activity;
                let handshake = tokio::select! {
                    handshake = acceptor.accept(stream) => handshake,
                    end = activity.wait_for_end(&limits) => return self.log_end(end),
                    () = activity.evicted() => return,
                    () = self.closing.wait() => return,
                };
                match handshake {
                    Ok(stream) => Box::new(stream),
                    Err(error) => {
                        tracing::debug!(listener = self.shared.section, %error, "TLS handshake failed");
                        return;
                    }
                }
            }
        };
        self.answer(stream, &limits).await;
    }

    async fn answer(&mut self, stream: Box<dyn Stream>, limits: &Limits) {
        let (shared, activity) = (Arc::clone(&self.shared), Arc::clone(&self.guard.activity));
        let service = service_fn(move |request: Request<Incoming>| {
            let (shared, asked) = (
                Arc::clone(&shared),
                ActiveRequest::new(Arc::clone(&activity)),
            );
            let activity = Arc::clone(&activity);
            async move {
                let allowed = shared.settings.load().access.check(&request);
                if allowed.is_ok() {
                    activity.admitted_request();
                }
                let response = respond(&shared, request, allowed).await;
                Ok::<_, Infallible>(response.map(|body| Body::new(ResponseBody::new(body, asked))))
            }
        });
        let builder = builder(limits);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let activity = Arc::clone(&self.guard.activity);
        let (mut is_announced, mut last) = (false, None);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(listener = self.shared.section, error, "connection failed");
                    }
                    return;
                }
                () = activity.evicted() => return,
                () = self.closing.wait(), if !is_announced => {}
                end = activity.wait_for_end(limits), if last.is_none() => {
                    if end != End::Idle {
                        return self.log_end(end);
                    }
                    last = Some(Instant::now() + limits.pong);
                }
                () = sleep_until(last.unwrap_or_else(Instant::now)), if last.is_some() => {
                    return self.log_end(End::Idle);
                }
            }
            // Announce the end first, so that the client loses no request that it sends meanwhile.
            is_announced = true;
            connection.as_mut().graceful_shutdown();
        }
    }

    fn log_end(&self, end: End) {
        tracing::debug!(listener = self.shared.section, ?end, "connection closed");
    }
}

/// The answer to one request.
async fn respond(
    shared: &Shared,
    request: Request<Incoming>,
    allowed: Result<(), crate::Refusal>,
) -> Response<Body> {
    let most = shared.settings.load().limits.stall;
    let request = request.map(|body| RequestBody::new(body, most));
    let Err(refusal) = allowed else {
        return shared
            .handler
            .answer(request.map(BodyExt::boxed_unsync))
            .await;
    };
    let (head, body) = request.into_parts();
    // An HTTP/2 stream is refused without its body.
    if head.version < Version::HTTP_2 {
        discard(body).await;
    }
    shared
        .handler
        .refuse(refusal, &Request::from_parts(head, ()))
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size((limits.head_bytes as usize).max(LEAST_BUFFER_BYTES));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_header_list_size(limits.head_bytes)
        .initial_stream_window_size(limits.window_bytes)
        .initial_connection_window_size(limits.window_bytes)
        .keep_alive_interval(limits.stall)
        .keep_alive_timeout(limits.pong);
    builder
}
