//! The port, its connections, and their end.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Request;
use axum::middleware;
use hotshoe_daemon::Door;
use hotshoe_daemon::config::OipConfig;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::catalogue::Catalogue;
use crate::codec;
use crate::gate::{self, Gate, Heard};
use crate::grpc::Grpc;
use crate::http::{self, Http};
use crate::proto::grpc_inference_service_server::GrpcInferenceServiceServer;
use crate::served::Served;
use crate::stall::Stall;
use crate::tls::{self, TlsError};

/// Most connections at once. The next one waits until one ends.
const MAX_CONNECTIONS: usize = 256;
/// How long a new connection may take to the head of a request whose sender may ask: the TLS handshake is a part of it.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// How long the head of each further HTTP/1.1 request may take. A connection without requests ends after it.
const HEAD: Duration = Duration::from_secs(60);
/// How long the other end may take nothing of an answer.
const STALL: Duration = Duration::from_secs(30);
/// How often an HTTP/2 connection is asked whether it still lives.
const PING: Duration = Duration::from_secs(30);
/// How long it may take to say so.
const PONG: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes.
const MAX_HEAD_BYTES: u32 = 16 << 10;
/// How much of one HTTP/2 request is on its way at once, in bytes: a tensor should not wait for its acknowledgement.
const WINDOW_BYTES: u32 = 1 << 20;
/// How long no connection is taken after the system refused one, for want of file descriptors for example.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// Threads that read and write. Inference has threads of its own.
const NETWORK_THREADS: usize = 2;
/// Threads beside those of inference requests, for the system's name look-ups and the like.
const SPARE_THREADS: usize = 4;
/// The shortest token, in bytes.
pub const LEAST_TOKEN_BYTES: usize = 16;
/// The largest file of a token, in bytes.
const MAX_TOKEN_FILE: u64 = 4 << 10;

/// Why the protocol is not served.
#[derive(Debug, thiserror::Error)]
pub enum OipError {
    /// The token cannot be read.
    #[error("cannot read the token {path}; correct `oip.token-file`")]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The token can be guessed, or is none.
    #[error(
        "the token in {0} is to be one line of {LEAST_TOKEN_BYTES} to {MAX_TOKEN_FILE} visible ASCII characters; `openssl rand -hex 32` makes one"
    )]
    TokenForm(PathBuf),
    /// The certificates cannot be used.
    #[error("cannot use the certificates of `[oip.tls]`")]
    Tls(#[from] TlsError),
    /// The port cannot be had.
    #[error("cannot listen at {listen}; choose another `oip.listen`")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The threads cannot be started.
    #[error("cannot start the threads of the Open Inference Protocol's server")]
    Threads(#[source] io::Error),
}

/// A port that is held, with what is needed to serve at it.
pub struct Bound {
    config: OipConfig,
    token: Option<Vec<u8>>,
    acceptor: Option<TlsAcceptor>,
    listener: TcpListener,
    address: SocketAddr,
    runtime: Runtime,
}

/// A server that answers.
pub struct Server {
    runtime: Runtime,
    address: SocketAddr,
    served: Arc<Served>,
    close: Option<oneshot::Sender<()>>,
    accepting: JoinHandle<GracefulShutdown>,
}

impl Bound {
    /// Reads the token and the certificates, and takes the port. Nobody is answered yet.
    ///
    /// # Errors
    /// [`OipError`] names what is wrong and what to do.
    pub fn bind(config: &OipConfig) -> Result<Self, OipError> {
        let token = config.token_file.as_deref().map(read_token).transpose()?;
        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .max_blocking_threads(config.max_requests + SPARE_THREADS)
            .thread_name("hotshoe-oip")
            .enable_all()
            .build()
            .map_err(OipError::Threads)?;
        let listen = config.listen;
        let failed = |source| OipError::Listen { listen, source };
        let listener = runtime
            .block_on(TcpListener::bind(listen))
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            config: config.clone(),
            token,
            acceptor,
            listener,
            address,
            runtime,
        })
    }

    /// Begins to answer.
    pub fn serve(self, door: Door) -> Server {
        describe_metrics();
        let catalogue = Catalogue::new(&self.config, door);
        let served = Arc::new(Served::new(catalogue));
        let gate = Arc::new(Gate::new(&self.config, self.token));
        let accept = Accept {
            listener: self.listener,
            acceptor: self.acceptor.clone(),
            router: router(&self.config, &served, gate),
            builder: Arc::new(builder(&self.config)),
        };
        let (close, closed) = oneshot::channel();
        let accepting = self.runtime.spawn(accept.run(closed));
        let scheme = if self.acceptor.is_some() {
            "https"
        } else {
            "http"
        };
        tracing::info!(
            address = %format_args!("{scheme}://{}", self.address),
            "answering the Open Inference Protocol"
        );
        Server {
            runtime: self.runtime,
            address: self.address,
            served,
            close: Some(close),
            accepting,
        }
    }
}

impl Server {
    /// Where it listens, with the port that it was given.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and no more requests. Those that are being answered go on.
    pub fn close(&mut self) {
        self.served.close();
        // Where nobody receives it, no connection is taken any more either.
        self.close.take().map(|close| close.send(()));
    }

    /// Waits until all requests are answered, or the time is over; whether they were. Those that were not are cut off.
    pub fn join(mut self, deadline: Duration) -> bool {
        self.close();
        let until = Instant::now() + deadline;
        let ended = self.runtime.block_on(async {
            timeout(deadline, async {
                if let Ok(graceful) = self.accepting.await {
                    graceful.shutdown().await;
                }
            })
            .await
        });
        // What still runs after its deadline is nobody's any more.
        self.runtime
            .shutdown_timeout(until.saturating_duration_since(Instant::now()));
        ended.is_ok()
    }
}

fn router(config: &OipConfig, served: &Arc<Served>, gate: Arc<Gate>) -> Router {
    let grpc = Arc::new(Grpc(Arc::clone(served)));
    let infer = codec::routes(Arc::clone(&grpc), config.max_body_bytes());
    let http = Http {
        served: Arc::clone(served),
        max_body: config.max_body_bytes(),
    };
    Routes::new(GrpcInferenceServiceServer::from_arc(grpc))
        .into_axum_router()
        .merge(infer)
        .merge(http::routes(http))
        .fallback(http::nothing)
        .method_not_allowed_fallback(http::wrong_method)
        .layer(middleware::from_fn_with_state(gate, gate::watch))
}

fn builder(config: &OipConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD_BYTES as usize);
    let streams = u32::try_from(config.max_requests).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        // Two more, so that its health can be asked for while all inference requests are taken.
        .max_concurrent_streams(streams.saturating_add(2))
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}

/// What takes connections.
struct Accept {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    builder: Arc<Builder<TokioExecutor>>,
}

impl Accept {
    async fn run(self, mut closed: oneshot::Receiver<()>) -> GracefulShutdown {
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let next = async {
                let place = Arc::clone(&room).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                _ = &mut closed => return graceful,
                next = next => next,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = self.connection(stream, graceful.watcher());
                    tokio::spawn(async move {
                        let _place = place;
                        connection.await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(REFUSED_PAUSE).await;
                }
            }
        }
    }

    /// One connection, from its handshake to its end.
    fn connection(
        &self,
        stream: TcpStream,
        watcher: Watcher,
    ) -> impl Future<Output = ()> + Send + use<> {
        let acceptor = self.acceptor.clone();
        let router = self.router.clone();
        let builder = Arc::clone(&self.builder);
        async move {
            // Without it, small answers wait for acknowledgements. Where it fails, they are merely slower.
            let _ = stream.set_nodelay(true);
            let stream = Stall::new(stream, STALL);
            let heard = Arc::new(Notify::new());
            let silent = async {
                if timeout(FIRST_REQUEST, heard.notified()).await.is_ok() {
                    std::future::pending().await
                }
            };
            let answering = async {
                match acceptor {
                    None => answer(stream, router, &builder, watcher, &heard).await,
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => answer(stream, router, &builder, watcher, &heard).await,
                        Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
                    },
                }
            };
            tokio::select! {
                () = answering => {}
                () = silent => tracing::debug!("a connection sent no request that may be answered"),
            }
        }
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    builder: &Builder<TokioExecutor>,
    watcher: Watcher,
    heard: &Arc<Notify>,
) {
    let heard = Heard(Arc::clone(heard));
    let service = router.map_request(move |mut request: Request<_>| {
        request.extensions_mut().insert(heard.clone());
        request
    });
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = pin!(watcher.watch(connection)).await {
        tracing::debug!(error, "a connection broke");
    }
}

fn read_token(path: &Path) -> Result<Vec<u8>, OipError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_TOKEN_FILE + 1).read_to_end(&mut bytes))
        .map_err(|source| OipError::Token {
            path: path.to_owned(),
            source,
        })?;
    let token = bytes.trim_ascii();
    let fits = token.len() >= LEAST_TOKEN_BYTES
        && bytes.len() as u64 <= MAX_TOKEN_FILE
        && token.iter().all(u8::is_ascii_graphic);
    fits.then(|| token.to_vec())
        .ok_or_else(|| OipError::TokenForm(path.to_owned()))
}

fn describe_metrics() {
    metrics::describe_counter!(
        "hotshoe_oip_requests_total",
        "Requests of the Open Inference Protocol, by protocol, call and status."
    );
}
