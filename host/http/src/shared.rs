//! State that the connections of a front share.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::Handler;
use crate::access::Access;
use crate::error::FrontError;
use crate::options::{Limits, Options, exposure};
use crate::tls;

/// The settings from the options.
pub(crate) struct Settings {
    pub(crate) acceptor: Option<TlsAcceptor>,
    pub(crate) access: Access,
    pub(crate) limits: Limits,
}

impl Settings {
    pub(crate) fn read(
        section: &'static str,
        listen: SocketAddr,
        options: &Options,
    ) -> Result<Self, FrontError> {
        if let Some(exposure) = exposure(listen, options.has_token(), options) {
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

/// The state that all connections of a front share.
pub(crate) struct Shared {
    pub(crate) section: &'static str,
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) handler: Arc<dyn Handler>,
}

/// Tells a connection that the front is closing.
#[derive(Clone)]
pub(crate) struct Closing(pub(crate) watch::Receiver<bool>);

impl Closing {
    /// Waits for it.
    pub(crate) async fn wait(&mut self) {
        // A dropped front is closed too.
        let _ = self.0.wait_for(|closed| *closed).await;
    }
}
