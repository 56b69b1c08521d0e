//! A test server with a small service, and byte-level clients.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hotshoe_http::{
    Answer, Body, Bound, Front, Handler, Limits, Options, Refusal, TlsFiles, is_stalled,
};
pub(crate) use hotshoe_tests::{Authority, DEADLINE};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// The timeouts in these tests.
pub(crate) const SHORT: Duration = Duration::from_millis(1500);
/// More bytes than fit into the buffers of a local connection.
pub(crate) const BIG: usize = 32 << 20;

/// `/` answers `ok`, `/big` sends a large body, `/wait` answers when released, `/count` answers with the length of the body.
struct Service {
    released: Arc<Notify>,
    /// Requests for `/wait` that have arrived.
    arrived: Arc<AtomicUsize>,
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}

impl Handler for Service {
    fn answer(&self, request: Request<Body>) -> Answer {
        let (released, arrived) = (Arc::clone(&self.released), Arc::clone(&self.arrived));
        Box::pin(async move {
            match request.uri().path() {
                "/big" => text(StatusCode::OK, vec![b'x'; BIG]),
                "/wait" => {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    released.notified().await;
                    text(StatusCode::OK, "waited")
                }
                "/count" => match request.into_body().collect().await {
                    Ok(body) => text(StatusCode::OK, body.to_bytes().len().to_string()),
                    Err(error) if is_stalled(&*error) => {
                        text(StatusCode::REQUEST_TIMEOUT, "stalled")
                    }
                    Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
                },
                _ => text(StatusCode::OK, "ok"),
            }
        })
    }

    fn refuse(&self, refusal: Refusal, _: &Request<()>) -> Response<Body> {
        let status = match refusal {
            Refusal::Unauthenticated => StatusCode::UNAUTHORIZED,
            Refusal::Foreign | Refusal::WebPage => StatusCode::FORBIDDEN,
        };
        text(status, refusal.to_string())
    }
}

/// A running server.
pub(crate) struct TestServer {
    pub front: Front,
    pub released: Arc<Notify>,
    arrived: Arc<AtomicUsize>,
    runtime: Runtime,
}

impl TestServer {
    pub(crate) fn open(options: &Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let released = Arc::new(Notify::new());
        let arrived = Arc::new(AtomicUsize::new(0));
        let service = Arc::new(Service {
            released: Arc::clone(&released),
            arrived: Arc::clone(&arrived),
        });
        let front = runtime.block_on(async {
            let listen = SocketAddr::from(([127, 0, 0, 1], 0));
            let bound = Bound::bind("test", listen, options).await.unwrap();
            bound.serve(service)
        });
        Self {
            front,
            released,
            arrived,
            runtime,
        }
    }

    /// A server with these limits and without authentication.
    pub(crate) fn with(limits: Limits) -> Self {
        Self::open(&Options {
            limits,
            ..Options::default()
        })
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.front.address())
    }

    /// The whole answer to one request on a new connection.
    pub(crate) fn get(&self, head: &str) -> String {
        let mut stream = self.connect();
        ask(&mut stream, &format!("{head}Connection: close\r\n"));
        rest(&mut stream)
    }

    pub(crate) fn is_answering(&self) -> bool {
        self.get("GET / HTTP/1.1\r\nHost: localhost\r\n")
            .starts_with("HTTP/1.1 200")
    }

    /// Waits until a request for `/wait` has arrived.
    pub(crate) fn wait_for_request(&self) {
        let started = Instant::now();
        while self.arrived.load(Ordering::SeqCst) == 0 {
            assert!(started.elapsed() < DEADLINE, "no request");
            std::thread::yield_now();
        }
    }

    /// Waits for this number of connections.
    pub(crate) fn wait_for(&self, connections: usize) {
        let started = Instant::now();
        while self.front.connections() != connections {
            assert!(
                started.elapsed() < DEADLINE,
                "{} connections",
                self.front.connections()
            );
            std::thread::yield_now();
        }
    }

    pub(crate) fn close(self) {
        self.runtime
            .block_on(async { tokio::time::timeout(DEADLINE, self.front.join()).await })
            .unwrap();
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Writes a head. Ignores a closed connection, because reading fails then.
pub(crate) fn ask(stream: &mut impl Write, head: &str) {
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
}

/// Whether the error means that the other end closed the connection.
pub(crate) fn is_end(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        ConnectionReset | BrokenPipe | ConnectionAborted | UnexpectedEof
    )
}

/// Reads to the end of the connection.
pub(crate) fn rest(stream: &mut impl Read) -> String {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert!(is_end(&error), "{error}");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads one answer on a persistent connection, up to `end`.
pub(crate) fn answer(stream: &mut impl Read, end: &str) -> String {
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(end.as_bytes()) {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

/// The files of a party that `authority` knows.
pub(crate) fn issue(authority: &Authority, name: &str) -> TlsFiles {
    let issued = authority.issue(name);
    TlsFiles {
        certificate: issued.certificate,
        key: issued.key,
        client_ca: None,
    }
}
