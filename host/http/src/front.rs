//! The listener, which accepts and limits connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::Handler;
use crate::connection::Connection;
use crate::connections::{Admission, ConnectionGuard, Connections};
use crate::error::FrontError;
use crate::log_throttle::LogThrottle;
use crate::options::{Limits, Options};
use crate::shared::{Closing, Settings, Shared};

/// The first pause after `accept` failed, for example for lack of file descriptors.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause after repeated failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The answer to a refused connection without TLS.
const ADDRESS_FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 38\r\nretry-after: 10\r\nconnection: close\r\n\r\ntoo many connections from this address";

/// A bound port. Requests are not answered yet.
pub struct Bound {
    section: &'static str,
    settings: Settings,
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Reads the token and the certificates, and binds the port. `section` is the section in the configuration, for errors and logs. Must
    /// be called within a tokio runtime.
    ///
    /// # Errors
    /// [`FrontError`] names what is wrong and what to do.
    pub async fn bind(
        section: &'static str,
        listen: SocketAddr,
        options: &Options,
    ) -> Result<Self, FrontError> {
        let settings = Settings::read(section, listen, options)?;
        let failed = |source| FrontError::Listen {
            section,
            listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            section,
            settings,
            listener,
            address,
        })
    }

    /// The address that it listens on, with the actual port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer requests. Must be called within a tokio runtime.
    pub fn serve(self, handler: Arc<dyn Handler>) -> Front {
        let shared = Arc::new(Shared {
            section: self.section,
            settings: ArcSwap::from_pointee(self.settings),
            handler,
        });
        let connections = Arc::new(Connections::default());
        let (close, closing) = watch::channel(false);
        let ended = Arc::new(Notify::new());
        let accept = Acceptor {
            listener: self.listener,
            shared: Arc::clone(&shared),
            connections: Arc::clone(&connections),
            closing: Closing(closing),
            _ended: NotifyOnDrop(Arc::clone(&ended)),
            pause: FIRST_PAUSE,
            refused: LogThrottle::default(),
            address_full: LogThrottle::default(),
            full: LogThrottle::default(),
        };
        tokio::spawn(accept.run());
        Front {
            shared,
            connections,
            address: self.address,
            close,
            ended,
        }
    }
}

/// A running front. Dropping it has the effect of [`Front::close`].
pub struct Front {
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    address: SocketAddr,
    close: watch::Sender<bool>,
    ended: Arc<Notify>,
}

impl Front {
    /// The address that it listens on, with the actual port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that it listens on.
    pub fn url(&self) -> String {
        let tls = self.shared.settings.load().acceptor.is_some();
        let scheme = if tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The number of connections.
    pub fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Waits until it accepts no more connections, for whatever reason.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Reads new options while it serves. They take effect with [`Renewal::apply`].
    ///
    /// # Errors
    /// [`FrontError`] names what is wrong.
    pub fn renew(&self, options: &Options) -> Result<Renewal, FrontError> {
        let settings = Settings::read(self.shared.section, self.address, options)?;
        Ok(Renewal {
            shared: Arc::clone(&self.shared),
            settings: Arc::new(settings),
        })
    }

    /// Accepts no more connections and requests. Active requests continue.
    pub fn close(&self) {
        self.close.send_replace(true);
    }

    /// Closes the front, and waits until all connections have ended.
    pub async fn join(self) {
        self.close();
        self.close.closed().await;
    }
}

/// New options that can be applied.
#[must_use = "nothing is changed until it is applied"]
pub struct Renewal {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
}

impl Renewal {
    /// Applies the options: the token from the next request on, certificates and limits from the next connection on.
    pub fn apply(self) {
        self.shared.settings.store(self.settings);
    }
}

/// Notifies on drop that no more connections are accepted, also after a panic.
struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Accepts connections.
struct Acceptor {
    listener: TcpListener,
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    closing: Closing,
    _ended: NotifyOnDrop,
    pause: Duration,
    refused: LogThrottle,
    address_full: LogThrottle,
    full: LogThrottle,
}

impl Acceptor {
    async fn run(mut self) {
        let mut closing = self.closing.clone();
        tokio::select! {
            () = closing.wait() => {}
            () = self.take() => {}
        }
    }

    async fn take(&mut self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.pause = FIRST_PAUSE;
                    self.enter(stream, peer).await;
                }
                Err(error) => self.back_off(&error).await,
            }
        }
    }

    /// Admits a connection. Without capacity, waits until there is some, and accepts no others meanwhile.
    async fn enter(&mut self, stream: TcpStream, peer: SocketAddr) {
        loop {
            let limits = self.shared.settings.load().limits;
            match self.connections.enter(peer.ip(), &limits) {
                Admission::Admitted(guard) => return self.start(stream, guard),
                Admission::AddressFull => return self.refuse(&stream, peer, &limits),
                Admission::Full => {
                    if let Some(left_out) = self.full.due(now()) {
                        tracing::warn!(
                            listener = self.shared.section,
                            max_connections = limits.connections,
                            left_out,
                            "the connection limit is reached: idle connections are closed, new ones wait"
                        );
                    }
                    self.connections.capacity.notified().await;
                }
            }
        }
    }

    fn start(&self, stream: TcpStream, guard: ConnectionGuard) {
        let connection = Connection {
            shared: Arc::clone(&self.shared),
            guard,
            closing: self.closing.clone(),
        };
        tokio::spawn(connection.run(stream));
    }

    fn refuse(&mut self, stream: &TcpStream, peer: SocketAddr, limits: &Limits) {
        if let Some(left_out) = self.address_full.due(now()) {
            tracing::warn!(
                listener = self.shared.section,
                %peer,
                max_connections_per_address = limits.connections_per_address,
                left_out,
                "connection refused: too many from its address"
            );
        }
        if self.shared.settings.load().acceptor.is_none() {
            // It fits into the empty send buffer; if not, closing the connection is enough.
            let _ = stream.try_write(ADDRESS_FULL);
        }
    }

    /// Pauses after an error, and frees file descriptors if the system lacks them.
    async fn back_off(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionReset | Interrupted
        ) {
            // The client has already gone.
            return;
        }
        if let Some(left_out) = self.refused.due(now()) {
            tracing::warn!(
                listener = self.shared.section,
                %error,
                left_out,
                "cannot accept a connection; pausing for up to a second"
            );
        }
        if matches!(
            Errno::from_io_error(error),
            Some(Errno::MFILE | Errno::NFILE)
        ) {
            self.connections.shed();
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
