//! The HTTP endpoint for Prometheus.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{Config, MetricsConfig};
use hotshoe_http::{Answer, Body, Bound, Front, FrontError, Handler, Options, Refusal, Renewal};
use http_body_util::{BodyExt, Full};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::describe;

/// The section of the configuration, for errors and logs.
const SECTION: &str = "metrics";
/// Upper bounds of the latency buckets, in seconds: from an empty policy call to a page on a slow core.
const LATENCY_BUCKETS: [f64; 16] = [
    0.000_01, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// Interval at which latencies are sorted into buckets, so that they do not use memory until the next scrape.
const UPKEEP: Duration = Duration::from_secs(5);
/// Content type of the Prometheus text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why the endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The thread or its runtime could not be started.
    #[error("cannot start the thread of the Prometheus endpoint")]
    Thread(#[source] io::Error),
    /// The address is in use.
    #[error("cannot serve metrics at {listen}; choose another `metrics.listen`")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The token or the certificates cannot be used.
    #[error(transparent)]
    Front(FrontError),
    /// The buckets are not valid: a defect.
    #[error("cannot set up the metrics")]
    Build(#[source] BuildError),
    /// The process has another recorder.
    #[error(
        "this process has a metrics recorder already; only one daemon of a process can have `[metrics]`"
    )]
    Recorder(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<FrontError> for MetricsError {
    fn from(error: FrontError) -> Self {
        match error {
            FrontError::Listen { listen, source, .. } => Self::Listen { listen, source },
            other => Self::Front(other),
        }
    }
}

/// Says why the daemon serves nothing; `None` if a release serves.
type NotReady = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// A running endpoint. It ends when this is dropped.
pub struct Endpoint {
    front: Arc<Front>,
    not_ready: Arc<OnceLock<NotReady>>,
    stop: Arc<Notify>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.front.address())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Sets what `/readyz` asks. Until then, the daemon is not ready.
    pub fn ask_readiness(&self, not_ready: impl Fn() -> Option<String> + Send + Sync + 'static) {
        // A daemon does this once.
        let _ = self.not_ready.set(Box::new(not_ready));
    }

    /// Prepares a changed token, certificates and connection limits. They take effect with [`Renewal::apply`]. Another address needs a
    /// restart. `None` without `[metrics]`.
    ///
    /// # Errors
    /// [`MetricsError`] names what is wrong.
    pub fn renew(&self, config: &Config) -> Result<Option<Renewal>, MetricsError> {
        let Some(metrics) = &config.metrics else {
            return Ok(None);
        };
        Ok(Some(self.front.renew(&front(config, metrics)?)?))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

/// Binds the port, and reads the token and certificates, as a start of the daemon does, then releases it. Does nothing without `[metrics]`.
///
/// # Errors
/// [`MetricsError`]
pub fn check(config: &Config) -> Result<(), MetricsError> {
    let Some(metrics) = &config.metrics else {
        return Ok(());
    };
    bind(metrics.listen, &front(config, metrics)?).map(drop)
}

/// The endpoint of a configuration. `None` without `[metrics]`.
///
/// # Errors
/// [`MetricsError`]
pub(crate) fn start(
    config: &Config,
    supervisor: &Supervisor,
) -> Result<Option<Endpoint>, MetricsError> {
    let Some(metrics) = &config.metrics else {
        return Ok(None);
    };
    serve_with(metrics.listen, &front(config, metrics)?, supervisor).map(Some)
}

/// The options of the HTTP front.
fn front(config: &Config, metrics: &MetricsConfig) -> Result<Options, FrontError> {
    let token_secret = config.named_secret(metrics.token_secret.as_deref())?;
    Ok(metrics.front(token_secret))
}

/// Starts to collect metrics, and serves them at an address with the defaults of `[metrics]`: at `/metrics`, with `/healthz` (200 while the
/// process is alive) and `/readyz` (503 with the reason while no release serves).
///
/// # Errors
/// [`MetricsError`]
pub fn serve(listen: SocketAddr, supervisor: &Supervisor) -> Result<Endpoint, MetricsError> {
    let options = MetricsConfig::from(listen).front(None);
    serve_with(listen, &options, supervisor)
}

fn serve_with(
    listen: SocketAddr,
    options: &Options,
    supervisor: &Supervisor,
) -> Result<Endpoint, MetricsError> {
    let (bound, runtime) = bind(listen, options)?;
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)
        .map_err(MetricsError::Build)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|e| MetricsError::Recorder(e.to_string().into()))?;
    describe();
    let entered = runtime.enter();
    let not_ready = Arc::new(OnceLock::new());
    let scrape = Scrape {
        metrics: handle.clone(),
        not_ready: Arc::clone(&not_ready),
    };
    let front = Arc::new(bound.serve(Arc::new(scrape)));
    drop(entered);
    tracing::info!(address = front.url(), "serving metrics");
    let stop = Arc::new(Notify::new());
    let (stopped, served) = (Arc::clone(&stop), Arc::clone(&front));
    let run = async move {
        tokio::select! {
            () = upkeep(handle) => Ok(()),
            () = served.ended() => Err("the server stopped accepting connections".to_owned()),
            () = stopped.notified() => Ok(()),
        }
    };
    supervisor
        .vital("metrics", move || runtime.block_on(run))
        .map_err(MetricsError::Thread)?;
    Ok(Endpoint {
        front,
        not_ready,
        stop,
    })
}

fn bind(listen: SocketAddr, options: &Options) -> Result<(Bound, Runtime), MetricsError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(MetricsError::Thread)?;
    let bound = runtime.block_on(Bound::bind(SECTION, listen, options))?;
    Ok((bound, runtime))
}

async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = interval(UPKEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

/// The handler of scrapes and probes.
struct Scrape {
    metrics: PrometheusHandle,
    not_ready: Arc<OnceLock<NotReady>>,
}

impl Scrape {
    fn readiness(&self) -> Response<Body> {
        let reason = match self.not_ready.get() {
            Some(not_ready) => not_ready(),
            None => Some("the daemon starts".to_owned()),
        };
        match reason {
            None => text(StatusCode::OK, "ready\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        }
    }
}

/// Leaves out the series of releases that no longer serve: the recorder cannot remove a series, so they stay in it as zeros.
fn without_old_releases(metrics: &str) -> String {
    let is_old = |line: &str| {
        let of_release = ["hotshoe_release_info{", "hotshoe_part_info{"];
        line.ends_with("} 0") && of_release.iter().any(|name| line.starts_with(name))
    };
    metrics
        .split_inclusive('\n')
        .filter(|line| !is_old(line.trim_end()))
        .collect()
}

impl Handler for Scrape {
    fn answer(&self, request: Request<Body>) -> Answer {
        let response = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics" | "/") => {
                let mut response =
                    text(StatusCode::OK, without_old_releases(&self.metrics.render()));
                let kind = HeaderValue::from_static(TEXT_FORMAT);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            (&Method::GET | &Method::HEAD, "/health" | "/healthz") => text(StatusCode::OK, "OK"),
            (&Method::GET | &Method::HEAD, "/readyz") => self.readiness(),
            (&Method::GET | &Method::HEAD, _) => {
                text(StatusCode::NOT_FOUND, "metrics are at /metrics\n")
            }
            _ => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n");
                let allow = HeaderValue::from_static("GET, HEAD");
                response.headers_mut().insert(ALLOW, allow);
                response
            }
        };
        Box::pin(std::future::ready(response))
    }

    fn refuse(&self, refusal: Refusal, _: &Request<()>) -> Response<Body> {
        let status = match refusal {
            Refusal::Unauthenticated => StatusCode::UNAUTHORIZED,
            Refusal::Foreign | Refusal::WebPage => StatusCode::FORBIDDEN,
        };
        let mut response = text(status, format!("{refusal}\n"));
        if refusal == Refusal::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

fn text(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let body = Full::new(text.into()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_that_no_longer_serve_are_left_out() {
        let text = "# TYPE hotshoe_release_info gauge\nhotshoe_release_info{name=\"a\"} 0\n\
                    hotshoe_release_info{name=\"b\"} 1\nhotshoe_part_info{name=\"x\"} 0\n\nhotshoe_queue_depth 0\n";
        assert_eq!(
            without_old_releases(text),
            "# TYPE hotshoe_release_info gauge\nhotshoe_release_info{name=\"b\"} 1\n\nhotshoe_queue_depth 0\n"
        );
    }
}
