//! The server of the page.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, Method, StatusCode};
use hotshoe_base::chain;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_config::{Config, PageConfig};
use hotshoe_daemon::LocalClient;
use hotshoe_http::{Answer, Body, BoxError, Front, FrontError, Handler, Refusal, Renewal};
use hotshoe_sealing::AtRest;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tower::ServiceExt;

use crate::assets;
use crate::error::{PageError, json_response};
use crate::history::{History, HistoryFile, SAMPLE_EVERY_S};
use crate::hub::Hub;
use crate::routes::{Page, router, seconds};

/// The section of the configuration, for errors and logs.
const SECTION: &str = "page";
/// The file of the history in the data folder.
const HISTORY_FILE: &str = "page-history";
/// How often pages get the status.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Threads that wait for the disk or for the daemon.
const BLOCKING_THREADS: usize = 4;

/// A bound port, ready to serve.
pub struct Bound {
    config: PageConfig,
    data: PathBuf,
    at_rest: AtRest,
    bound: hotshoe_http::Bound,
    runtime: Runtime,
}

/// Reads the token and the certificates, and binds the port, for a runtime of its own.
pub(crate) fn bind(
    page: &PageConfig,
    front: &hotshoe_http::Options,
) -> Result<(Runtime, hotshoe_http::Bound), PageError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("hotshoe-page")
        .enable_all()
        .build()
        .map_err(PageError::Threads)?;
    let bound = hotshoe_http::Bound::bind(SECTION, page.listen, front);
    let bound = runtime.block_on(bound)?;
    Ok((runtime, bound))
}

/// The options of the front of a device's page.
fn front(config: &Config, page: &PageConfig) -> Result<hotshoe_http::Options, FrontError> {
    let token_secret = config.named_secret(page.token_secret.as_deref())?;
    Ok(page.front(token_secret))
}

/// A running server.
pub struct Server {
    runtime: Runtime,
    front: Front,
    hub: Arc<Hub>,
    history: Option<Arc<Mutex<History>>>,
    has_token: Arc<AtomicBool>,
}

/// A changed token, certificates and limits, which can be applied.
#[must_use = "nothing is changed until it is applied"]
pub struct PageRenewal {
    front: Renewal,
    has_token: Arc<AtomicBool>,
    will_have_token: bool,
}

impl PageRenewal {
    /// Applies them: the token from the next request on, certificates and limits from the next connection on.
    pub fn apply(self) {
        if !self.will_have_token {
            // First, so that no order comes in between without a token.
            self.has_token.store(false, Ordering::SeqCst);
        }
        self.front.apply();
        self.has_token.store(self.will_have_token, Ordering::SeqCst);
    }
}

impl Bound {
    /// Reads the token and the certificates, and binds the port. `None` without `[page]`. Does not answer requests yet.
    ///
    /// # Errors
    /// [`PageError`] names what is wrong and what to do.
    pub fn bind(config: &Config) -> Result<Option<Self>, PageError> {
        let Some(page) = &config.page else {
            return Ok(None);
        };
        let (runtime, bound) = bind(page, &front(config, page)?)?;
        Ok(Some(Self {
            config: page.clone(),
            data: config.data.clone(),
            // The daemon itself reports a key that is missing.
            at_rest: config.encryption.open().unwrap_or_default(),
            bound,
            runtime,
        }))
    }

    /// Starts to answer requests, and to keep the history.
    pub fn serve(self, client: LocalClient) -> Server {
        let hub = Hub::new(client, self.config.pictures);
        let history = open_history(&self.data);
        let has_token = Arc::new(AtomicBool::new(self.config.has_token()));
        let page = Arc::new(Page {
            hub: Arc::clone(&hub),
            history: history.clone(),
            data: self.data,
            at_rest: self.at_rest,
            has_token: Arc::clone(&has_token),
        });
        let entered = self.runtime.enter();
        let front = self
            .bound
            .serve(Arc::new(PageHandler::new(router(page), assets::DEVICE)));
        tokio::spawn(follow(Arc::clone(&hub), history.clone()));
        drop(entered);
        tracing::info!(address = front.url(), "serving the page");
        Server {
            runtime: self.runtime,
            front,
            hub,
            history,
            has_token,
        }
    }
}

impl Server {
    /// The address that it listens on, with the actual port.
    pub const fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// Reads the token, the certificates and the number of connections from a changed configuration, if it has `[page]`. They take effect with
    /// [`PageRenewal::apply`]. The rest of `[page]` needs a restart.
    ///
    /// # Errors
    /// [`PageError`] names what is wrong.
    pub fn renew(&self, config: &Config) -> Result<Option<PageRenewal>, PageError> {
        let Some(page) = &config.page else {
            return Ok(None);
        };
        Ok(Some(PageRenewal {
            front: self.front.renew(&front(config, page)?)?,
            has_token: Arc::clone(&self.has_token),
            will_have_token: page.has_token(),
        }))
    }

    /// Accepts no more connections and requests, and ends the streams of open pages.
    pub fn close(&self) {
        self.hub.streams().close();
        self.front.close();
    }

    /// Waits until all requests are answered, at most for `deadline`, and writes the history. Returns whether they were; others are
    /// aborted.
    pub fn join(self, deadline: Duration) -> bool {
        self.close();
        let until = Instant::now() + deadline;
        let front = self.front;
        let ended = self
            .runtime
            .block_on(async { timeout(deadline, front.join()).await });
        if let Some(history) = &self.history {
            write(history, seconds(self.hub.client().clock()), true);
        }
        self.runtime
            .shutdown_timeout(until.saturating_duration_since(Instant::now()));
        ended.is_ok()
    }
}

/// Opens the history. Without it the page serves all the same.
fn open_history(data: &Path) -> Option<Arc<Mutex<History>>> {
    let path = data.join(HISTORY_FILE);
    let file = HistoryFile::open(&path, Disk::new(Faults::never()));
    let file = file.inspect_err(|error| {
        tracing::warn!(
            name = error.name(),
            cause = chain(error),
            "the page keeps no history"
        );
    });
    Some(Arc::new(Mutex::new(History::new(file.ok()?))))
}

/// Sends the status to open pages, and adds it to the history, until the hub is closed.
async fn follow(hub: Arc<Hub>, history: Option<Arc<Mutex<History>>>) {
    let started = hub.client().clock().now();
    let mut ticks = interval(STATUS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seconds_left = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = hub.streams().closed() => return,
        }
        hub.expire_pictures();
        let is_sampled = history.is_some() && seconds_left == 0;
        seconds_left = if seconds_left == 0 {
            SAMPLE_EVERY_S - 1
        } else {
            seconds_left - 1
        };
        if !is_sampled && !hub.is_followed() {
            continue;
        }
        let status = hub.client().status();
        if hub.is_followed() {
            hub.send_status(&status);
        }
        if let (Some(history), true) = (&history, is_sampled) {
            let clock = hub.client().clock();
            let (now, uptime) = (seconds(clock), clock.elapsed(started));
            let uptime_ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
            history.lock().add(&status, now, uptime_ms);
            let history = Arc::clone(history);
            // It fails when the runtime ends, and the history is written then.
            let _ = spawn_blocking(move || write(&history, now, false)).await;
        }
    }
}

fn write(history: &Mutex<History>, now: u64, at_end: bool) {
    if let Err(error) = history.lock().flush(now, at_end) {
        tracing::warn!(
            name = error.name(),
            cause = chain(&error),
            "the history of the page is not written; it is tried again"
        );
    }
}

/// A page behind the front.
pub(crate) struct PageHandler {
    router: Router,
    /// The file at the root.
    index: &'static str,
}

impl PageHandler {
    pub(crate) const fn new(router: Router, index: &'static str) -> Self {
        Self { router, index }
    }
}

impl Handler for PageHandler {
    fn answer(&self, request: axum::http::Request<Body>) -> Answer {
        let router = self.router.clone();
        Box::pin(async move {
            let answered = router.oneshot(request.map(AxumBody::new)).await;
            let response = match answered {
                Ok(response) => response,
                Err(never) => match never {},
            };
            assets::guarded(response).map(boxed)
        })
    }

    /// The files of a page need no token: they have nothing of a device, and ask for the token.
    fn refuse(
        &self,
        refusal: Refusal,
        head: &axum::http::Request<()>,
    ) -> axum::http::Response<Body> {
        let is_read = matches!(*head.method(), Method::GET | Method::HEAD);
        if refusal == Refusal::Unauthenticated
            && is_read
            && let Some(file) = assets::find(head.uri().path(), self.index)
        {
            return file.map(boxed);
        }
        let (status, name) = match refusal {
            Refusal::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Refusal::Foreign => (StatusCode::FORBIDDEN, "foreign_host"),
            Refusal::WebPage => (StatusCode::FORBIDDEN, "foreign_page"),
        };
        let body = json!({ "name": name, "error": refusal.to_string() });
        let mut response = json_response(status, &body);
        if refusal == Refusal::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        assets::guarded(response).map(boxed)
    }
}

fn boxed(body: AxumBody) -> Body {
    body.map_err(BoxError::from).boxed_unsync()
}
