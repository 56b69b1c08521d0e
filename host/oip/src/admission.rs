//! Limits the number and the time of requests, before their bodies are read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use hotshoe_http::{Refusal, discard};
use http_body_util::{BodyExt, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;
use tonic::{Code, Status};

use crate::admitted::Admitted;
use crate::answer::{self, NAME_KEY, is_grpc};
use crate::compression::Coding;
use crate::error::RequestError;
use crate::slot_body::SlotBody;
use crate::unserved;
use crate::wire::WireError;

/// The maximum body of a gRPC request other than inference, in bytes: it contains only names. The number of these requests is not
/// limited.
pub(crate) const MAX_SMALL_BYTES: usize = 64 << 10;
/// The error of a longer one.
const TOO_LARGE_FOR_METHOD: RequestError = RequestError::TooLargeForMethod {
    limit: MAX_SMALL_BYTES,
};
/// The end of the path of an inference request over HTTP.
const INFER: &str = "/infer";
/// The path of an inference request over gRPC.
pub(crate) const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// The limits of requests.
pub(crate) struct AdmissionControl {
    slots: Arc<Semaphore>,
    max_requests: usize,
    max_body: usize,
    timeout: Duration,
}

impl AdmissionControl {
    pub(crate) fn new(config: &hotshoe_config::OipConfig) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(config.max_requests)),
            max_requests: config.max_requests,
            max_body: config.max_body_bytes(),
            timeout: config.timeout(),
        }
    }

    fn admit(&self, request: &Request) -> Result<Admitted, RequestError> {
        let headers = request.headers();
        Coding::parse(text(headers.get(CONTENT_ENCODING)))?;
        let length = text(headers.get(CONTENT_LENGTH)).and_then(|l| l.parse::<usize>().ok());
        if length.is_some_and(|length| length > self.max_body) {
            return Err(RequestError::TooLarge {
                limit: self.max_body,
            });
        }
        let asked = text(headers.get("grpc-timeout")).and_then(parse_timeout);
        let timeout = asked.map_or(self.timeout, |asked| asked.min(self.timeout));
        Ok(Admitted {
            deadline: Instant::now() + timeout,
            slot: is_inference(request).then(|| self.slot()).transpose()?,
        })
    }

    fn slot(&self) -> Result<Arc<OwnedSemaphorePermit>, RequestError> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        slot.map(Arc::new).map_err(|_| RequestError::Busy {
            limit: self.max_requests,
        })
    }
}

/// The outermost layer. It answers refused and late requests in the protocol's form, and counts all requests.
pub(crate) async fn watch(
    State(admission): State<Arc<AdmissionControl>>,
    request: Request,
    next: Next,
) -> Response {
    let over_grpc = is_grpc(request.headers());
    let inference = is_inference(&request);
    let path = request.uri().path().to_owned();
    let response = match admission.admit(&request) {
        Ok(admitted) => {
            let small = over_grpc && !inference;
            let request = if small {
                request.map(small_body)
            } else {
                request
            };
            let slot = admitted.slot.clone();
            let response = serve(admitted, request, next, over_grpc).await;
            let response = if over_grpc {
                let too_large = if small {
                    TOO_LARGE_FOR_METHOD
                } else {
                    let limit = admission.max_body;
                    RequestError::TooLarge { limit }
                };
                explained(response, &path, &too_large)
            } else {
                response
            };
            match slot {
                Some(slot) => response.map(|body| Body::new(SlotBody::new(body, slot))),
                None => response,
            }
        }
        Err(error) => {
            if !over_grpc {
                discard(request.into_body()).await;
            }
            answer::error(&error, over_grpc)
        }
    };
    count(&response, over_grpc, inference);
    response
}

/// The answer to a request that the front refuses.
pub(crate) fn refuse(refusal: Refusal, head: &axum::http::Request<()>) -> Response {
    let over_grpc = is_grpc(head.headers());
    let mut response = answer::error(&refusal.into(), over_grpc);
    if !over_grpc && refusal == Refusal::Unauthenticated {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    count(&response, over_grpc, is_inference(head));
    response
}

async fn serve(admitted: Admitted, mut request: Request, next: Next, over_grpc: bool) -> Response {
    let deadline = admitted.deadline.into();
    request.extensions_mut().insert(admitted);
    let service = timeout_at(deadline, next.run(request)).await;
    service.unwrap_or_else(|_| answer::error(&RequestError::Deadline, over_grpc))
}

/// Gives each status of the gRPC library a message and a stable name, as the service's own ones have.
fn explained(response: Response, path: &str, too_large: &RequestError) -> Response {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if status.code() == Code::Ok || status.metadata().contains_key(NAME_KEY) {
        return response;
    }
    match status.code() {
        // A message that is too long, and one that is once it is decompressed.
        Code::OutOfRange | Code::ResourceExhausted => answer::error(too_large, true),
        Code::Unimplemented if status.message().is_empty() => {
            answer::error(&unserved::over_grpc(path), true)
        }
        // A message that is not one, or a compression that is not known.
        code => {
            let name = RequestError::Wire(WireError::Malformed);
            let message = format!("{}: {}", name.name(), status.message());
            let mut status = Status::with_metadata(code, message, status.metadata().clone());
            if let Ok(value) = name.name().parse() {
                status.metadata_mut().insert(NAME_KEY, value);
            }
            status.into_http()
        }
    }
}

fn small_body(body: Body) -> Body {
    let too_long = |_| answer::status(&TOO_LARGE_FOR_METHOD);
    Body::new(Limited::new(body, MAX_SMALL_BYTES).map_err(too_long))
}

fn is_inference<B>(request: &axum::http::Request<B>) -> bool {
    let path = request.uri().path();
    request.method() == Method::POST && (path == MODEL_INFER || path.ends_with(INFER))
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

/// Parses `grpc-timeout`: at most 8 digits and a unit.
fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

fn count(response: &Response, over_grpc: bool, inference: bool) {
    let status = if over_grpc {
        let status = text(response.headers().get("grpc-status"));
        status.unwrap_or("0").to_owned()
    } else {
        response.status().as_str().to_owned()
    };
    let labels = [
        (
            "protocol",
            if over_grpc { "grpc" } else { "http" }.to_owned(),
        ),
        ("call", if inference { "infer" } else { "other" }.to_owned()),
        ("status", status),
    ];
    metrics::counter!("hotshoe_oip_requests_total", &labels).increment(1);
}
