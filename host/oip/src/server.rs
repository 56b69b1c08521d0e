//! The server of the protocol.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::middleware;
use hotshoe_config::{Config, OipConfig};
use hotshoe_daemon::LocalClient;
use hotshoe_http::{
    Answer, Body, BoxError, Front, FrontError, Handler, Limits, Options, Refusal, Renewal,
};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::admission::{self, AdmissionControl, MAX_SMALL_BYTES};
use crate::catalogue::Catalogue;
use crate::codec;
use crate::grpc::Grpc;
use crate::health::Health;
use crate::http::{self, Http};
use crate::proto::grpc_inference_service_server::GrpcInferenceServiceServer;
use crate::proto::health::health_server::HealthServer;
use crate::service::Service;

/// The section of the configuration, for errors and logs.
const SECTION: &str = "oip";
/// The window of an HTTP/2 stream, in bytes: large enough that a tensor need not wait for acknowledgements.
const WINDOW_BYTES: u32 = 1 << 20;
/// The number of I/O threads. Inference has its own threads.
const NETWORK_THREADS: usize = 2;
/// Blocking threads besides those of inference requests, for name lookups and similar.
const SPARE_THREADS: usize = 4;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OipError {
    /// The port, the token or the certificates cannot be used.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// The threads cannot be started.
    #[error("cannot start the threads of the Open Inference Protocol's server")]
    Threads(#[source] io::Error),
}

impl OipError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Front(error) => error.name(),
            Self::Threads(_) => "no_threads",
        }
    }
}

/// A bound port, ready to serve.
pub struct Bound {
    config: OipConfig,
    bound: hotshoe_http::Bound,
    runtime: Runtime,
}

/// A running server.
pub struct Server {
    runtime: Runtime,
    front: Front,
    service: Arc<Service>,
}

impl Bound {
    /// Reads the token and the certificates, and binds the port. `None` without `[oip]`. Does not answer requests yet.
    ///
    /// # Errors
    /// [`OipError`] names what is wrong and what to do.
    pub fn bind(device: &Config) -> Result<Option<Self>, OipError> {
        let Some(config) = &device.oip else {
            return Ok(None);
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .max_blocking_threads(config.max_requests + SPARE_THREADS)
            .thread_name("hotshoe-oip")
            .enable_all()
            .build()
            .map_err(OipError::Threads)?;
        let options = options(device, config)?;
        let bound = hotshoe_http::Bound::bind(SECTION, config.listen, &options);
        Ok(Some(Self {
            config: config.clone(),
            bound: runtime.block_on(bound)?,
            runtime,
        }))
    }

    /// Starts to answer requests.
    pub fn serve(self, client: LocalClient) -> Server {
        describe_metrics();
        let catalogue = Catalogue::new(&self.config, client);
        let service = Arc::new(Service::new(catalogue));
        let admission = Arc::new(AdmissionControl::new(&self.config));
        let handler = Arc::new(Protocol(router(&self.config, &service, admission)));
        let entered = self.runtime.enter();
        let front = self.bound.serve(handler);
        drop(entered);
        tracing::info!(
            address = front.url(),
            "answering the Open Inference Protocol"
        );
        Server {
            runtime: self.runtime,
            front,
            service,
        }
    }
}

impl Server {
    /// The address that it listens on, with the actual port.
    pub const fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// Reads the token, the certificates and the number of connections from a changed configuration, if it has `[oip]`. They take effect with
    /// [`Renewal::apply`]. The rest of `[oip]` needs a restart.
    ///
    /// # Errors
    /// [`OipError`] names what is wrong.
    pub fn renew(&self, device: &Config) -> Result<Option<Renewal>, OipError> {
        let Some(config) = &device.oip else {
            return Ok(None);
        };
        Ok(Some(self.front.renew(&options(device, config)?)?))
    }

    /// Accepts no more connections and requests. Active requests continue.
    pub fn close(&self) {
        self.service.close();
        self.front.close();
    }

    /// Waits until all requests are answered, at most for `deadline`. Returns whether they were; others are aborted.
    pub fn join(self, deadline: Duration) -> bool {
        self.close();
        let until = Instant::now() + deadline;
        let front = self.front;
        let ended = self
            .runtime
            .block_on(async { timeout(deadline, front.join()).await });
        // No client waits for work that is past its deadline.
        self.runtime
            .shutdown_timeout(until.saturating_duration_since(Instant::now()));
        ended.is_ok()
    }
}

/// The options of the HTTP front.
fn options(device: &Config, config: &OipConfig) -> Result<Options, FrontError> {
    let streams = u32::try_from(config.max_requests).unwrap_or(u32::MAX);
    let token_secret = device.named_secret(config.token_secret.as_deref())?;
    let mut options = config.front(token_secret);
    options.limits = Limits {
        // Two more, so that health checks work while all inference slots are taken.
        streams: streams.saturating_add(2),
        window_bytes: WINDOW_BYTES,
        ..options.limits
    };
    Ok(options)
}

/// The protocol in both forms.
struct Protocol(Router);

impl Handler for Protocol {
    fn answer(&self, request: axum::http::Request<Body>) -> Answer {
        let router = self.0.clone();
        Box::pin(async move {
            let answered = router.oneshot(request.map(AxumBody::new)).await;
            let response = match answered {
                Ok(response) => response,
                Err(never) => match never {},
            };
            response.map(boxed)
        })
    }

    fn refuse(
        &self,
        refusal: Refusal,
        head: &axum::http::Request<()>,
    ) -> axum::http::Response<Body> {
        admission::refuse(refusal, head).map(boxed)
    }
}

fn boxed(body: AxumBody) -> Body {
    body.map_err(BoxError::from).boxed_unsync()
}

fn router(config: &OipConfig, service: &Arc<Service>, admission: Arc<AdmissionControl>) -> Router {
    let grpc = Arc::new(Grpc(Arc::clone(service)));
    let infer = codec::routes(Arc::clone(&grpc), config.max_body_bytes());
    let http = Http {
        service: Arc::clone(service),
        max_body: config.max_body_bytes(),
    };
    // As for inference, within the limit after it, too.
    let inference = GrpcInferenceServiceServer::from_arc(grpc)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .max_decoding_message_size(MAX_SMALL_BYTES);
    let health = HealthServer::new(Health(Arc::clone(service)))
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .max_decoding_message_size(MAX_SMALL_BYTES);
    Routes::new(inference)
        .add_service(health)
        .into_axum_router()
        .merge(infer)
        .merge(http::routes(http))
        .fallback(http::nothing)
        .method_not_allowed_fallback(http::wrong_method)
        .layer(middleware::from_fn_with_state(admission, admission::watch))
}

fn describe_metrics() {
    metrics::describe_counter!(
        "hotshoe_oip_requests_total",
        "Requests of the Open Inference Protocol, by protocol, call and status."
    );
}
