//! The paths of the page of a site. It changes nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::survey::Survey;
use crate::assets;
use crate::error::{PageRequestError, json_response};
use crate::routes::{blocking, wrong_method};

type Answered = Result<Response, PageRequestError>;

/// The page and its data.
pub(super) fn router(survey: Arc<Survey>) -> Router {
    Router::new()
        .route("/api/events", get(events))
        .route("/api/device/{name}", get(device))
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
