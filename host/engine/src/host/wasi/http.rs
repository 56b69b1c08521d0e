//! `wasi:http`: requests to the hosts that are listed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hotshoe_trust::HostPort;
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper::{Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use wasmtime_wasi::runtime::spawn;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::super::Services;
use super::network::{NetworkAccess, may_resolve_to};

/// Most concurrent requests of one instance: each has its own connection.
const MAX_REQUESTS: usize = 16;
/// Default timeout of a connection and of the first byte of a response. The deadline of the call applies in any case.
const PATIENCE: Duration = Duration::from_secs(60);

/// Drives the connection while the body of a response is received.
type ConnectionTask = Box<dyn Future<Output = Result<(), Error>> + Send>;
type SendResult = Result<(Response<WasiBody>, ConnectionTask), Error>;

/// Sends the requests of one instance.
pub(super) struct Hooks {
    services: Arc<Services>,
    network: Arc<NetworkAccess>,
    permits: Arc<Semaphore>,
}

impl Hooks {
    pub(super) fn new(services: &Arc<Services>, network: &Arc<NetworkAccess>) -> Self {
        Self {
            services: Arc::clone(services),
            network: Arc::clone(network),
            permits: Arc::new(Semaphore::new(MAX_REQUESTS)),
        }
    }

    /// The target of a request, if it is allowed.
    fn target(&self, uri: &Uri) -> Result<HostPort, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let port = if is_https(uri) { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(port);
        let target: HostPort = format!("{}:{port}", authority.host())
            .parse()
            .map_err(|_| Error::HttpRequestUriInvalid)?;
        if self.network.lists(&target) {
            return Ok(target);
        }
        self.network
            .log_refusal(&format!("a request to {target}"), &target.to_string());
        Err(Error::HttpRequestDenied)
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = SendResult> + Send> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| Error::ConnectionLimitReached);
        let target = permit.and_then(|permit| Ok((permit, self.target(request.uri())?)));
        let services = Arc::clone(&self.services);
        Box::new(async move {
            let (permit, target) = target?;
            send(
                request,
                options.unwrap_or_default(),
                &target,
                &services,
                permit,
            )
            .await
        })
    }
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&hyper::http::uri::Scheme::HTTPS)
}

/// A connection with or without TLS.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

async fn send(
    mut request: Request<WasiBody>,
    options: RequestOptions,
    target: &HostPort,
    services: &Services,
    permit: OwnedSemaphorePermit,
) -> SendResult {
    let secure = is_https(request.uri());
    let patience = options.connect_timeout.unwrap_or(PATIENCE);
    let wire = timeout(patience, connect(target, secure, services)).await;
    let wire = wire.map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
    let connection = spawn(connection);
    // The scheme and the host are for proxies only.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let patience = options.first_byte_timeout.unwrap_or(PATIENCE);
    let response = timeout(patience, sender.send_request(request)).await;
    let response = response.map_err(|_| Error::ConnectionReadTimeout)??;
    let rest = async move {
        let ended = connection.await;
        drop(permit);
        ended.map_err(Error::from)
    };
    let response = response.map(|body| body.map_err(Error::from).boxed_unsync());
    Ok((response, Box::new(rest)))
}

/// Resolves the name and connects to the checked address, so that it cannot change between the check and the connection.
async fn connect(
    target: &HostPort,
    secure: bool,
    services: &Services,
) -> Result<Box<dyn Transport>, Error> {
    let HostPort { host, port } = target;
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, *port)],
        Err(_) => lookup_host((host.as_str(), *port))
            .await
            .map_err(|_| Error::DnsError {
                rcode: None,
                info_code: None,
            })?
            .filter(|address| may_resolve_to(host, address.ip().to_canonical()))
            .collect(),
    };
    if addresses.is_empty() {
        return Err(Error::DestinationIpProhibited);
    }
    let stream = TcpStream::connect(addresses.as_slice())
        .await
        .map_err(Error::Connect)?;
    if !secure {
        return Ok(Box::new(stream));
    }
    let Some(https) = &services.wasi().https else {
        return Err(Error::ConfigurationError);
    };
    let name = ServerName::try_from(host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let connector = TlsConnector::from(Arc::clone(https));
    let stream = connector.connect(name, stream).await.map_err(Error::Tls)?;
    Ok(Box::new(stream))
}
