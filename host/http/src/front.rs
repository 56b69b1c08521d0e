//! The port, and who is taken in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;

use crate::Handler;
use crate::access::Access;
use crate::connection::Connection;
use crate::error::FrontError;
use crate::options::{Limits, Options, exposure};
use crate::connections::{Admission, ConnectionGuard, Connections};
use crate::log_throttle::LogThrottle;
use crate::tls;

/// How long no connection is taken after the system refused one, for want of file descriptors for example.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long at most, when it refuses again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What a refused connection is told where it is not TLS.
const ADDRESS_FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 38\r\nretry-after: 10\r\nconnection: close\r\n\r\ntoo many connections from this address";

/// What the options come to.
pub(crate) struct Settings {
    pub(crate) acceptor: Option<TlsAcceptor>,
    pub(crate) access: Access,
    pub(crate) limits: Limits,
}

impl Settings {
    fn read(section: &'static str, listen: SocketAddr, options: &Options) -> Result<Self, FrontError> {
        if let Some(exposure) = exposure(listen, options) {
            return Err(FrontError::Exposed {
                section,
                listen,
                exposure,
            });
        }
        let acceptor = options.tls.as_ref().map(tls::acceptor).transpose();
        Ok(Self {
            acceptor: acceptor.map_err(|source| FrontError::Tls { section, source })?,
            access: Access::read(section, listen, options)?,
            limits: options.limits,
        })
    }
}

/// What all connections of a front know.
pub(crate) struct Shared {
    pub(crate) section: &'static str,
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) handler: Arc<dyn Handler>,
}

/// Tells a connection that the front takes nothing more.
#[derive(Clone)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Waits for it.
    pub(crate) async fn wait(&mut self) {
        // A front that is gone has closed as well.
        let _ = self.0.wait_for(|closed| *closed).await;
    }
}

/// A port that is held. Nobody is answered yet.
pub struct Bound {
    section: &'static str,
    settings: Settings,
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Reads the token and the certificates, and takes the port. `section` is its section in the configuration, for errors and logs. It
    /// is to be called within a tokio runtime.
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

    /// Where it listens, with the port that it was given.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer. It is to be called within a tokio runtime.
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

/// A front that answers. When it is dropped, no more connections are taken, and those that are there end as after
/// [`Front::close`].
pub struct Front {
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    address: SocketAddr,
    close: watch::Sender<bool>,
    ended: Arc<Notify>,
}

impl Front {
    /// Where it listens, with the port that it was given.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a browser would be told.
    pub fn url(&self) -> String {
        let tls = self.shared.settings.load().acceptor.is_some();
        let scheme = if tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// How many are connected.
    pub fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Waits until it takes no more connections, for whatever reason.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Reads other options, while it serves. They are in effect after [`Renewal::apply`].
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

    /// Takes no more connections and no more requests. Those that are being answered go on.
    pub fn close(&self) {
        self.close.send_replace(true);
    }

    /// Closes it, and waits until all connections have ended.
    pub async fn join(self) {
        self.close();
        self.close.closed().await;
    }
}

/// Options that were read, and can be in effect.
#[must_use = "nothing is changed until it is applied"]
pub struct Renewal {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
}

impl Renewal {
    /// Puts them in effect: the token from the next request on, certificates and limits from the next connection on.
    pub fn apply(self) {
        self.shared.settings.store(self.settings);
    }
}

/// Says that no more connections are taken, also where that ends by a panic.
struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// What takes connections.
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

    /// Gives a connection its guard. Where there is none, no further one is taken until there is.
    async fn enter(&mut self, stream: TcpStream, peer: SocketAddr) {
        loop {
            let limits = self.shared.settings.load().limits;
            match self.connections.enter(peer.ip(), &limits) {
                Admission::Admitted(guard) => return self.start(stream, guard),
                Admission::AddressFull => return self.refuse(&stream, peer, &limits),
                Admission::Full => {
                    if let Some(left_out) = self.full.due(now()) {
                        tracing::warn!(
                            door = self.shared.section,
                            max_connections = limits.connections,
                            left_out,
                            "all connections of this section are taken: idle ones make capacity, others wait"
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
                door = self.shared.section,
                %peer,
                max_connections_per_address = limits.connections_per_address,
                left_out,
                "a connection was refused: its address has too many"
            );
        }
        if self.shared.settings.load().acceptor.is_none() {
            // It fits into the buffer of a connection that nothing was written to. Where it does not, the end says it all.
            let _ = stream.try_write(ADDRESS_FULL);
        }
    }

    /// Leaves the system alone for a while, and gives a file descriptor back where those are what it lacks.
    async fn back_off(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionReset | Interrupted
        ) {
            // The other end has gone already.
            return;
        }
        if let Some(left_out) = self.refused.due(now()) {
            tracing::warn!(
                door = self.shared.section,
                %error,
                left_out,
                "a connection could not be taken; none is for up to a second each time"
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
