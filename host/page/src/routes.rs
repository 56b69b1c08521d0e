//! The paths of the page.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use hotshoe_base::Clock;
use hotshoe_protocol::status::SlotsStatus;
use hotshoe_sealing::AtRest;
use hotshoe_store::read_release;
use hotshoe_trust::Digest;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::assets;
use crate::error::{PageRequestError, json_response};
use crate::history::{History, Span};
use crate::hub::Hub;
use crate::orders::{MAX_ORDER_BYTES, Order};
use crate::release_diff::diff;

type Answered = Result<Response, PageRequestError>;

/// What the handlers share.
pub(crate) struct Page {
    pub(crate) hub: Arc<Hub>,
    /// `None` if it cannot be kept.
    pub(crate) history: Option<Arc<Mutex<History>>>,
    /// The data folder.
    pub(crate) data: PathBuf,
    /// How its files are kept.
    pub(crate) at_rest: AtRest,
    /// Whether requests have a token, which orders need.
    pub(crate) has_token: Arc<AtomicBool>,
}

/// The page, its data and its orders.
pub(crate) fn router(page: Arc<Page>) -> Router {
    Router::new()
        .route("/api/events", get(events))
        .route("/api/status", get(status))
        .route("/api/history", get(history))
        .route("/api/picture/{number}", get(picture))
        .route("/api/releases", get(releases))
        .route("/api/diff", get(difference))
        .route("/api/rollback", post(roll_back))
        .route("/api/activate", post(activate))
        .fallback(file)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_ORDER_BYTES))
        .with_state(page)
}

async fn file(request: Request) -> Answered {
    assets::answer(request.method(), request.uri().path(), assets::DEVICE)
}

pub(crate) async fn wrong_method(request: Request) -> PageRequestError {
    PageRequestError::Method(request.method().to_string())
}

async fn events(State(page): State<Arc<Page>>) -> Answered {
    page.hub.follow().map(IntoResponse::into_response)
}

async fn status(State(page): State<Arc<Page>>) -> Response {
    json_response(StatusCode::OK, &page.hub.client().status())
}

async fn history(State(page): State<Arc<Page>>, uri: Uri) -> Answered {
    let span = Span::named(parameter(&uri, "span").unwrap_or("hour"));
    let span = span.ok_or(PageRequestError::Span)?;
    let history = page.history.clone().ok_or(PageRequestError::NoHistory)?;
    let now = seconds(page.hub.client().clock());
    // Its lock is also held while the file is written.
    blocking(move || {
        let history = history.lock();
        Ok(json_response(StatusCode::OK, &history.answer(span, now)))
    })
    .await
}

async fn picture(State(page): State<Arc<Page>>, Path(number): Path<String>) -> Answered {
    let number = number
        .parse::<u64>()
        .map_err(|_| PageRequestError::NoPicture)?;
    page.hub.picture(number)
}

/// The documents of the releases in the slots, and whether the page may give orders.
async fn releases(State(page): State<Arc<Page>>) -> Answered {
    let status = page.hub.client().status();
    let may_order = page.has_token.load(Ordering::Relaxed);
    let (status, documents) = blocking(move || {
        let documents: BTreeMap<String, Value> = in_slots(&status.slots)
            .into_iter()
            .map(|release| {
                let document = document(&page, release);
                let shown = document.unwrap_or_else(|error| json!({ "unreadable": error.name() }));
                (release.to_string(), shown)
            })
            .collect();
        Ok((status, documents))
    })
    .await?;
    let body = json!({
        "slots": status.slots,
        "deploy": status.deploy,
        "release": status.release,
        "health": status.health,
        "last_rollback": status.last_rollback,
        "documents": documents,
        "may_order": may_order,
    });
    Ok(json_response(StatusCode::OK, &body))
}

/// What changed between two releases in the slots.
async fn difference(State(page): State<Arc<Page>>, uri: Uri) -> Answered {
    let digest = |name| -> Option<Digest> { parameter(&uri, name)?.parse().ok() };
    let (Some(from), Some(to)) = (digest("from"), digest("to")) else {
        return Err(PageRequestError::Digests);
    };
    let there = in_slots(&page.hub.client().status().slots);
    // Other blobs of the folder are not for the page.
    if let Some(other) = [from, to].into_iter().find(|it| !there.contains(it)) {
        return Err(PageRequestError::NotInSlot(other));
    }
    let found = blocking(move || Ok(diff(&document(&page, from)?, &document(&page, to)?))).await?;
    Ok(json_response(StatusCode::OK, &found))
}

async fn roll_back(State(page): State<Arc<Page>>, body: Bytes) -> Answered {
    order(page, Order::RollBack, &body).await
}

async fn activate(State(page): State<Arc<Page>>, body: Bytes) -> Answered {
    order(page, Order::Activate, &body).await
}

async fn order(page: Arc<Page>, order: Order, body: &[u8]) -> Answered {
    if !page.has_token.load(Ordering::Relaxed) {
        return Err(PageRequestError::NoToken);
    }
    order.check(body, &page.hub.client().status().slots)?;
    tracing::info!(?order, "ordered on the page");
    let data = page.data.clone();
    let answer = blocking(move || order.carry_out(&data)).await?;
    Ok(json_response(StatusCode::OK, &answer))
}

/// Runs what waits for the disk, for the daemon or for the network.
pub(crate) async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, PageRequestError> + Send + 'static,
) -> Result<T, PageRequestError> {
    // It fails when the runtime ends.
    spawn_blocking(run)
        .await
        .unwrap_or(Err(PageRequestError::Ends))
}

/// The releases in the slots.
fn in_slots(slots: &SlotsStatus) -> Vec<Digest> {
    let trial = slots.trial.as_ref().map(|trial| &trial.slot);
    let slots = [&slots.live, &slots.previous, &slots.staged]
        .into_iter()
        .flatten();
    slots.chain(trial).map(|slot| slot.release).collect()
}

fn document(page: &Page, release: Digest) -> Result<Value, PageRequestError> {
    let json = read_release(&page.data, &page.at_rest, release)
        .map_err(|source| PageRequestError::Release { release, source })?;
    serde_json::from_slice(&json).map_err(PageRequestError::Document)
}

/// A value of a query without escapes, such as a name or a digest.
fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query()?.split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// The time of day in seconds since 1970.
pub(crate) fn seconds(clock: &Clock) -> u64 {
    let since = clock.wall().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_by_its_whole_name() {
        let uri = Uri::from_static("/api/diff?xfrom=1&from=sha256:aa&to=");
        assert_eq!(parameter(&uri, "from"), Some("sha256:aa"));
        assert_eq!(parameter(&uri, "to"), Some(""));
        assert_eq!(parameter(&uri, "span"), None);
    }
}
