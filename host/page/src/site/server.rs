//! The server of the page of a site.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{MAX_MESSAGE_BYTES, PageConfig};
use hotshoe_http::{Front, Renewal};
use hotshoe_link::device_list::DeviceList;
use hotshoe_link::{Client, DeviceChanges, Site};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::routes::router;
use super::survey::Survey;
use crate::assets;
use crate::error::PageError;
use crate::server::{PageHandler, bind};

/// The supervised thread that asks the devices.
const THREAD: &str = "site-page";

/// A bound port, ready to serve the page of a site.
pub struct SiteBound {
    bound: hotshoe_http::Bound,
    runtime: Runtime,
}

/// What the page of a site gets its data from.
pub struct SiteSource {
    /// The session of the registry.
    pub site: Site,
    /// The name of the registry.
    pub registry: String,
    /// The public keys of the devices. Without them every answer is claimed.
    pub list: Option<DeviceList>,
    /// The rollouts that the registry knows, as JSON.
    pub rollouts: Box<dyn Fn() -> Value + Send + Sync>,
    /// Where the thread that asks the devices is registered.
    pub supervisor: Supervisor,
}

/// A running server of the page of a site.
pub struct SiteServer {
    runtime: Runtime,
    front: Front,
    survey: Arc<Survey>,
    thread: JoinHandle<()>,
    _changes: DeviceChanges,
}

/// A changed token, certificates, limits and device keys, which can be applied.
#[must_use = "nothing is changed until it is applied"]
pub struct SiteRenewal {
    front: Renewal,
    survey: Arc<Survey>,
    list: Option<DeviceList>,
}

impl SiteRenewal {
    /// Applies them: the token from the next request on, certificates and limits from the next connection on, device keys from the next
    /// question on.
    pub fn apply(self) {
        self.front.apply();
        self.survey.set_list(self.list);
    }
}

impl SiteBound {
    /// Reads the token and the certificates, and binds the port. Does not answer requests yet.
    ///
    /// # Errors
    /// [`PageError`] names what is wrong and what to do.
    pub fn bind(page: &PageConfig) -> Result<Self, PageError> {
        let (runtime, bound) = bind(page, &page.front(None))?;
        Ok(Self { bound, runtime })
    }

    /// Starts to follow the devices and to answer requests.
    ///
    /// # Errors
    /// [`PageError::Link`] and [`PageError::Threads`].
    pub fn serve(self, source: SiteSource) -> Result<SiteServer, PageError> {
        let SiteSource {
            site,
            registry,
            list,
            rollouts,
            supervisor,
        } = source;
        let (wake, woken) = sync_channel(1);
        let client = Client::of(&site, MAX_MESSAGE_BYTES);
        let clock = supervisor.clock().clone();
        let survey = Survey::new(site.name(), &registry, client, clock, wake);
        let survey = Arc::new(survey);
        survey.set_list(list);
        let noted = Arc::clone(&survey);
        let client = Client::of(&site, MAX_MESSAGE_BYTES);
        let changes = client.follow_devices(site.name(), move |device, change| {
            noted.note(device, change)
        })?;
        let asking = Arc::clone(&survey);
        let thread = supervisor
            .restarted(THREAD, move || {
                asking.run(&woken);
                Ok(())
            })
            .map_err(PageError::Threads)?;
        let entered = self.runtime.enter();
        let handler = PageHandler::new(
            router(Arc::clone(&survey), Arc::from(rollouts)),
            assets::SITE,
        );
        let front = self.bound.serve(Arc::new(handler));
        drop(entered);
        tracing::info!(address = front.url(), "serving the page of the site");
        Ok(SiteServer {
            runtime: self.runtime,
            front,
            survey,
            thread,
            _changes: changes,
        })
    }
}

impl SiteServer {
    /// The address that it listens on, with the actual port.
    pub const fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// The URL that it listens on.
    pub fn url(&self) -> String {
        self.front.url()
    }

    /// Reads the token, the certificates and the number of connections from a changed configuration. They take effect, with `list`, by
    /// [`SiteRenewal::apply`]. The rest of `[page]` needs a restart.
    ///
    /// # Errors
    /// [`PageError`] names what is wrong.
    pub fn renew(
        &self,
        config: &PageConfig,
        list: Option<DeviceList>,
    ) -> Result<SiteRenewal, PageError> {
        Ok(SiteRenewal {
            front: self.front.renew(&config.front(None))?,
            survey: Arc::clone(&self.survey),
            list,
        })
    }

    /// Accepts no more connections and requests, ends the streams of open pages, and waits until all requests are answered, at most for
    /// `deadline`. Returns whether they were; others are aborted.
    pub fn join(self, deadline: Duration) -> bool {
        self.survey.close();
        self.front.close();
        let front = self.front;
        let ended = self
            .runtime
            .block_on(async { timeout(deadline, front.join()).await });
        self.runtime.shutdown_background();
        // It ends after the question that it asks.
        let _ = self.thread.join();
        ended.is_ok()
    }
}
