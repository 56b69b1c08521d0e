//! The paths of the page of a site. It changes nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;

use super::survey::Survey;
use crate::assets;
use crate::error::{PageRequestError, json_response};
use crate::routes::{blocking, wrong_method};

/// What says which rollouts there are.
type Rollouts = dyn Fn() -> Value + Send + Sync;

type Answered = Result<Response, PageRequestError>;

/// The page and its data.
pub(super) fn router(survey: Arc<Survey>, rollouts: Arc<Rollouts>) -> Router {
    Router::new()
        .route("/api/events", get(events))
        .route("/api/device/{name}", get(device))
        .route(
            "/api/rollouts",
            get(move || rollouts_now(Arc::clone(&rollouts))),
        )
        .fallback(file)
        .method_not_allowed_fallback(wrong_method)
        .with_state(survey)
}

async fn file(request: Request) -> Answered {
    assets::answer(request.method(), request.uri().path(), assets::SITE)
}

async fn events(State(survey): State<Arc<Survey>>) -> Answered {
    survey.follow().map(IntoResponse::into_response)
}

async fn device(State(survey): State<Arc<Survey>>, Path(name): Path<String>) -> Answered {
    let status = blocking(move || survey.details(&name)).await?;
    Ok(json_response(StatusCode::OK, &status))
}

async fn rollouts_now(rollouts: Arc<Rollouts>) -> Answered {
    let rollouts = blocking(move || Ok(rollouts())).await?;
    Ok(json_response(StatusCode::OK, &rollouts))
}
