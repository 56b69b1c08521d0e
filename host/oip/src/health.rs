//! `grpc.health.v1.Health`, which Kubernetes and load balancers call.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::answer::status;
use crate::error::RequestError;
use crate::proto::grpc_inference_service_server::SERVICE_NAME;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_server::Health as HealthService;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};
use crate::service::Service;

/// The health of the server, and of the inference service.
pub(crate) struct Health(pub(crate) Arc<Service>);

#[tonic::async_trait]
impl HealthService for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !service.is_empty() && service != SERVICE_NAME {
            return Err(status(&RequestError::UnknownService(service)));
        }
        let status = if self.0.ready() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        Ok(Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }
}
