//! The protocol over HTTP.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use std::vec;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use hotshoe_base::chain;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout_at;

use crate::admission::{self, Admitted};
use crate::catalogue::{CallTarget, TensorDescription};
use crate::error::RequestError;
use crate::json;
use crate::service::{EXTENSIONS, SERVER, Service, VERSION};

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
        .route("/v2/repository/index", post(index));
    for path in [model, version] {
        router = router
            .route(path, get(metadata))
            .route(&format!("{path}/ready"), get(model_ready))
            .route(&format!("{path}/infer"), post(infer));
    }
    router.with_state(http)
}

/// The fallback for unknown paths, over HTTP or gRPC.
pub(crate) async fn nothing(request: Request) -> Response {
    let over_grpc = admission::is_grpc(request.headers());
    let path = request.uri().path().to_owned();
    let error = if over_grpc {
        RequestError::Method(path)
    } else {
        RequestError::NoPath(path)
    };
    admission::answer(&error, over_grpc)
}

/// The fallback for wrong methods.
pub(crate) async fn wrong_method(request: Request) -> Response {
    refuse(&RequestError::Method(request.uri().path().to_owned()))
}

/// An error in the protocol's form.
pub(crate) fn refuse(error: &RequestError) -> Response {
    let status = error.kind().http();
    let message = chain(error);
    if status.is_server_error() {
        tracing::debug!(%status, message, "request failed");
    }
    reply(status, &json!({ "error": message }))
}

fn reply(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let kind = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, kind)], body).into_response()
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
    match http.find(&path) {
        Ok(target) => reply(StatusCode::OK, &describe(&target)),
        Err(error) => refuse(&error),
    }
}

fn describe(target: &CallTarget) -> serde_json::Value {
    let tensors = |described: Vec<TensorDescription>| -> Vec<serde_json::Value> {
        let tensors = described.into_iter();
        tensors
            .map(|t| json!({ "name": t.name, "datatype": t.datatype, "shape": t.shape }))
            .collect()
    };
    json!({
        "name": target.name,
        "versions": [target.version],
        "platform": target.platform(),
        "inputs": tensors(target.inputs()),
        "outputs": tensors(target.outputs()),
    })
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
        let length = request.headers().get(HEADER_LENGTH).cloned();
        let body = read(request.into_body(), self.max_body, admitted.deadline).await?;
        // After the body, because a client that still sends does not read the answer.
        let target = self.find(path)?;
        let work = move |service: &Service, deadline| {
            let length = header_length(length.as_ref(), body.len())?;
            let request = json::read(&body, length)?;
            drop(body);
            let (requested, binary) = (request.outputs.clone(), request.parameters.binary_output);
            let response = service.infer(&target, request, deadline)?;
            json::write(&response, &requested, binary)
        };
        self.service.blocking(admitted, work).await
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
        let header_length = self.header_length;
        let mut response = Response::new(Body::new(PiecewiseBody::new(self.pieces)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(length) = header_length {
            headers.insert(HEADER_LENGTH, HeaderValue::from(length));
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
