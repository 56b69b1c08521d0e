//! The protocol over HTTP.

mod describe;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use std::vec;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::json;
use tokio::time::timeout_at;

use crate::admitted::Admitted;
use crate::answer::{self, refuse, reply};
use crate::catalogue::CallTarget;
use crate::compression::Coding;
use crate::error::RequestError;
use crate::service::{EXTENSIONS, SERVER, Service, VERSION};
use crate::{json, raw, unserved};

/// The header with the length of the JSON at the start of a body, if bytes follow it.
const HEADER_LENGTH: &str = "inference-header-content-length";

/// The state of the handlers.
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) service: Arc<Service>,
    pub(crate) max_body: usize,
}

/// The model and version in a path.
#[derive(serde::Deserialize)]
struct ModelPath {
    model: String,
    version: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for ModelPath {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let path = Path::from_request_parts(parts, state).await;
        // No model has a name that is not UTF-8.
        let refused = |_| refuse(&RequestError::NoPath(parts.uri.path().to_owned()));
        path.map(|Path(path)| path).map_err(refused)
    }
}

/// The routes of the protocol.
pub(crate) fn routes(http: Http) -> Router {
    let model = "/v2/models/{model}";
    let version = "/v2/models/{model}/versions/{version}";
    let mut router = Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/repository/index", post(index))
        .route("/v2/models/stats", get(all_statistics));
    for path in [model, version] {
        router = router
            .route(path, get(metadata))
            .route(&format!("{path}/config"), get(config))
            .route(&format!("{path}/stats"), get(statistics))
            .route(&format!("{path}/ready"), get(model_ready))
            .route(&format!("{path}/infer"), post(infer));
    }
    router.with_state(http)
}

/// The fallback for unknown paths, over HTTP or gRPC.
pub(crate) async fn nothing(request: Request) -> Response {
    let over_grpc = answer::is_grpc(request.headers());
    let path = request.uri().path();
    let error = if over_grpc {
        unserved::over_grpc(path)
    } else {
        unserved::over_http(path)
    };
    answer::error(&error, over_grpc)
}

/// The fallback for wrong methods.
pub(crate) async fn wrong_method(request: Request) -> Response {
    refuse(&RequestError::Method(request.uri().path().to_owned()))
}

async fn server() -> Response {
    let body = json!({ "name": SERVER, "version": VERSION, "extensions": EXTENSIONS });
    reply(StatusCode::OK, &body)
}

async fn live() -> Response {
    reply(StatusCode::OK, &json!({ "live": true }))
}

async fn ready(State(http): State<Http>) -> Response {
    let ready = http.service.ready();
    reply(is_ready(ready), &json!({ "ready": ready }))
}

async fn model_ready(State(http): State<Http>, path: ModelPath) -> Response {
    match http.find(&path) {
        Ok(target) => {
            let ready = http.service.ready();
            reply(
                is_ready(ready),
                &json!({ "name": target.name, "ready": ready }),
            )
        }
        Err(error) => refuse(&error),
    }
}

const fn is_ready(ready: bool) -> StatusCode {
    if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

async fn metadata(State(http): State<Http>, path: ModelPath) -> Response {
    described(http.find(&path).map(|target| describe::metadata(&target)))
}

async fn config(State(http): State<Http>, path: ModelPath) -> Response {
    described(http.find(&path).map(|target| describe::config(&target)))
}

async fn statistics(State(http): State<Http>, path: ModelPath) -> Response {
    let counted = http
        .service
        .statistics(&path.model, path.version.as_deref());
    described(counted.map(|counted| describe::statistics(&counted)))
}

async fn all_statistics(State(http): State<Http>) -> Response {
    let counted = http.service.statistics("", None);
    described(counted.map(|counted| describe::statistics(&counted)))
}

fn described(described: Result<serde_json::Value, RequestError>) -> Response {
    match described {
        Ok(body) => reply(StatusCode::OK, &body),
        Err(error) => refuse(&error),
    }
}

async fn index(State(http): State<Http>) -> Response {
    let index = http.service.catalogue().index().into_iter();
    let models = index.map(|(name, version)| {
        json!({ "name": name, "version": version, "state": "READY", "reason": "" })
    });
    reply(StatusCode::OK, &models.collect::<Vec<_>>())
}

async fn infer(
    State(http): State<Http>,
    path: ModelPath,
    Extension(admitted): Extension<Admitted>,
    request: Request,
) -> Response {
    match http.infer(&path, &admitted, request).await {
        Ok(body) => body.into_response(),
        Err(error) => refuse(&error),
    }
}

impl Http {
    fn find(&self, path: &ModelPath) -> Result<CallTarget, RequestError> {
        let catalogue = self.service.catalogue();
        catalogue.find(&path.model, path.version.as_deref())
    }

    async fn infer(
        &self,
        path: &ModelPath,
        admitted: &Admitted,
        request: Request,
    ) -> Result<json::Body, RequestError> {
        let headers = request.headers();
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let coding = Coding::parse(header(CONTENT_ENCODING))?;
        let media_type = header(CONTENT_TYPE).map(str::to_owned);
        let accepted = header(ACCEPT_ENCODING).map(str::to_owned);
        let length = headers.get(HEADER_LENGTH).cloned();
        let limit = self.max_body;
        let body = read(request.into_body(), limit, admitted.deadline).await?;
        // After the body, because a client that still sends does not read the answer.
        let target = self.find(path)?;
        let work = move |service: &Service, deadline| {
            let read = || {
                let body = match coding {
                    Some(coding) => coding.decompress(&body, limit)?,
                    None => body,
                };
                let length = header_length(length.as_ref(), body.len())?;
                let media_type = media_type.as_deref();
                if raw::is_raw(length, media_type, &body) {
                    return raw::read(&target, media_type, body);
                }
                json::read(&body, length)
            };
            service.infer(&target, deadline, read, |response, form| {
                let body = json::write(&response, &form.outputs, form.binary)?;
                Ok(compressed(body, accepted.as_deref()))
            })
        };
        self.service.blocking(admitted, work).await
    }
}

/// Compresses an answer if the client accepts it and it becomes shorter.
fn compressed(body: json::Body, accepted: Option<&str>) -> json::Body {
    let length = body.pieces.iter().map(Bytes::len).sum();
    let coding = Coding::accepted(accepted, length);
    let packed = coding.and_then(|coding| coding.compress(&body.pieces).ok());
    match packed.filter(|packed| packed.len() < length) {
        Some(packed) => json::Body {
            pieces: vec![packed.into()],
            header_length: body.header_length,
            coding: coding.map(Coding::as_header),
        },
        None => body,
    }
}

async fn read(body: Body, limit: usize, deadline: Instant) -> Result<Bytes, RequestError> {
    let read = Limited::new(body, limit).collect();
    match timeout_at(deadline.into(), read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(RequestError::TooLarge { limit }),
        Ok(Err(error)) if hotshoe_http::is_stalled(&*error) => Err(RequestError::Slow),
        Ok(Err(_)) => Err(RequestError::Broken),
        Err(_) => Err(RequestError::Slow),
    }
}

fn header_length(value: Option<&HeaderValue>, body: usize) -> Result<Option<usize>, RequestError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or(RequestError::HeaderLength { body })
}

impl IntoResponse for json::Body {
    fn into_response(self) -> Response {
        let kind = match self.header_length {
            Some(_) => "application/octet-stream",
            None => "application/json",
        };
        let (header_length, coding) = (self.header_length, self.coding);
        let mut response = Response::new(Body::new(PiecewiseBody::new(self.pieces)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(length) = header_length {
            headers.insert(HEADER_LENGTH, HeaderValue::from(length));
        }
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        response
    }
}

/// A body of known length in several pieces, without copies.
struct PiecewiseBody {
    pieces: vec::IntoIter<Bytes>,
    left: u64,
}

impl PiecewiseBody {
    fn new(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self {
            pieces: pieces.into_iter(),
            left,
        }
    }
}

impl http_body::Body for PiecewiseBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.pieces.next();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
