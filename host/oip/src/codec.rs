//! Serves `ModelInfer` with the generated service, but checks messages before they are decoded.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Buf;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder};
use tonic::codegen::BoxFuture;
use tonic::server::UnaryService;
use tonic_prost::{ProstDecoder, ProstEncoder};

use crate::admission::MODEL_INFER;
use crate::answer;
use crate::grpc::Grpc;
use crate::limits::MAX_ENTRIES;
use crate::proto::grpc_inference_service_server::GrpcInferenceService;
use crate::proto::{ModelInferRequest, ModelInferResponse};
use crate::wire::{self, Limits};

/// The route of `ModelInfer`. A message, and the numbers in it, have at most `max_body` bytes.
pub(crate) fn routes(grpc: Arc<Grpc>, max_body: usize) -> Router {
    let infer = Infer { grpc, max_body };
    Router::new()
        .route(MODEL_INFER, post(answer))
        .with_state(infer)
}

/// Largest answer that is compressed, in bytes: 1 MiB. It is compressed on a thread that serves other connections too.
const MAX_COMPRESSED_BYTES: usize = 1 << 20;
/// The compressions of messages.
const ENCODINGS: [(&str, CompressionEncoding); 2] = [
    ("gzip", CompressionEncoding::Gzip),
    ("deflate", CompressionEncoding::Deflate),
];

#[derive(Clone)]
struct Infer {
    grpc: Arc<Grpc>,
    max_body: usize,
}

async fn answer(State(infer): State<Infer>, request: Request) -> Response {
    let codec = InferCodec(Limits {
        fields: MAX_ENTRIES,
        list_bytes: infer.max_body,
    });
    let mut server = tonic::server::Grpc::new(codec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .max_decoding_message_size(infer.max_body)
        .max_encoding_message_size(usize::MAX);
    // Every client accepts gzip, so an answer is compressed as its request is.
    for (name, encoding) in ENCODINGS {
        let requested = request.headers().get("grpc-encoding");
        if requested.is_some_and(|requested| requested == name) {
            server = server.send_compressed(encoding);
        }
    }
    server.unary(infer, request).await.map(Body::new)
}

impl UnaryService<ModelInferRequest> for Infer {
    type Response = ModelInferResponse;
    type Future = BoxFuture<tonic::Response<ModelInferResponse>, Status>;

    fn call(&mut self, request: tonic::Request<ModelInferRequest>) -> Self::Future {
        let grpc = Arc::clone(&self.grpc);
        Box::pin(async move {
            let mut answer = grpc.model_infer(request).await?;
            if answer.get_ref().encoded_len() > MAX_COMPRESSED_BYTES {
                answer.disable_compression();
            }
            Ok(answer)
        })
    }
}

struct InferCodec(Limits);

impl Codec for InferCodec {
    type Encode = ModelInferResponse;
    type Decode = ModelInferRequest;
    type Encoder = ProstEncoder<ModelInferResponse>;
    type Decoder = LimitedDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        LimitedDecoder {
            limits: self.0,
            inner: ProstDecoder::default(),
        }
    }
}

/// Decodes messages within the limits.
struct LimitedDecoder {
    limits: Limits,
    inner: ProstDecoder<ModelInferRequest>,
}

impl Decoder for LimitedDecoder {
    type Item = ModelInferRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let message = buffer.chunk();
        // tonic buffers a message in one piece before it is decoded.
        if message.len() != buffer.remaining() {
            return Err(Status::internal("the message is not in one piece"));
        }
        wire::check(message, self.limits).map_err(|error| answer::status(&error.into()))?;
        self.inner.decode(buffer)
    }
}
