//! Conversion between the generated types and our own.

use crate::fault::{ErrorCode, Failure, Fault};
use crate::host::bindings::hotshoe::pipeline::types as wit;
use crate::insight::{
    Action, Class, Detection, DeviceContext, Insight, Point, Rect, Scalar, Severity, TextLine,
};
use crate::insight_defect::defect;
use crate::message::clip;

/// Most actions that one policy may decide on for one insight.
const MAX_ACTIONS: usize = 64;

pub(crate) fn failure_from_guest(error: wit::Error) -> Failure {
    Failure::new(Fault::Guest(error.code.into()), clip(error.message))
}

type WitQuad = (wit::Point, wit::Point, wit::Point, wit::Point);

const fn point_from(point: wit::Point) -> Point {
    Point {
        x: point.x,
        y: point.y,
    }
}

const fn point_to(point: Point) -> wit::Point {
    wit::Point {
        x: point.x,
        y: point.y,
    }
}

const fn quad_from((a, b, c, d): WitQuad) -> [Point; 4] {
    [point_from(a), point_from(b), point_from(c), point_from(d)]
}

const fn quad_to([a, b, c, d]: [Point; 4]) -> WitQuad {
    (point_to(a), point_to(b), point_to(c), point_to(d))
}

/// Converts and checks an insight of a component.
pub(crate) fn insight_from_guest(insight: wit::Insight) -> Result<Insight, wit::Error> {
    let insight = take_insight(insight);
    match defect(&insight) {
        None => Ok(insight),
        Some(message) => Err(wit::Error {
            code: wit::ErrorCode::Internal,
            message,
        }),
    }
}

fn take_insight(insight: wit::Insight) -> Insight {
    match insight {
        wit::Insight::Classes(classes) => Insight::Classes {
            classes: classes
                .into_iter()
                .map(|class| Class {
                    label: class.label,
                    index: class.index,
                    score: class.score,
                })
                .collect(),
        },
        wit::Insight::Detections(detections) => Insight::Detections {
            detections: detections
                .into_iter()
                .map(|detection| Detection {
                    label: detection.label,
                    score: detection.score,
                    bounds: Rect {
                        x: detection.bounds.x,
                        y: detection.bounds.y,
                        width: detection.bounds.width,
                        height: detection.bounds.height,
                    },
                    outline: detection.outline.map(quad_from),
                })
                .collect(),
        },
        wit::Insight::Text(lines) => Insight::Text {
            lines: lines
                .into_iter()
                .map(|line| TextLine {
                    text: line.text,
                    score: line.score,
                    outline: quad_from(line.outline),
                })
                .collect(),
        },
        wit::Insight::Embedding(values) => Insight::Embedding { values },
        wit::Insight::Scalars(scalars) => Insight::Scalars {
            scalars: scalars
                .into_iter()
                .map(|scalar| Scalar {
                    name: scalar.name,
                    value: scalar.value,
                    unit: scalar.unit,
                })
                .collect(),
        },
        wit::Insight::Mask(mask) => Insight::Mask {
            width: mask.width,
            height: mask.height,
            pixels: mask.pixels,
            labels: mask.labels,
        },
        wit::Insight::Custom(custom) => Insight::Custom {
            content_type: custom.content_type,
            payload: custom.payload,
        },
    }
}

pub(crate) fn insight_to_guest(insight: &Insight) -> wit::Insight {
    match insight {
        Insight::Classes { classes } => wit::Insight::Classes(
            classes
                .iter()
                .map(|class| wit::Class {
                    label: class.label.clone(),
                    index: class.index,
                    score: class.score,
                })
                .collect(),
        ),
        Insight::Detections { detections } => wit::Insight::Detections(
            detections
                .iter()
                .map(|detection| wit::Detection {
                    label: detection.label.clone(),
                    score: detection.score,
                    bounds: wit::Rect {
                        x: detection.bounds.x,
                        y: detection.bounds.y,
                        width: detection.bounds.width,
                        height: detection.bounds.height,
                    },
                    outline: detection.outline.map(quad_to),
                })
                .collect(),
        ),
        Insight::Text { lines } => wit::Insight::Text(
            lines
                .iter()
                .map(|line| wit::TextLine {
                    text: line.text.clone(),
                    score: line.score,
                    outline: quad_to(line.outline),
                })
                .collect(),
        ),
        Insight::Embedding { values } => wit::Insight::Embedding(values.clone()),
        Insight::Scalars { scalars } => wit::Insight::Scalars(
            scalars
                .iter()
                .map(|scalar| wit::Scalar {
                    name: scalar.name.clone(),
                    value: scalar.value,
                    unit: scalar.unit.clone(),
                })
                .collect(),
        ),
        Insight::Mask {
            width,
            height,
            pixels,
            labels,
        } => wit::Insight::Mask(wit::Mask {
            width: *width,
            height: *height,
            pixels: pixels.clone(),
            labels: labels.clone(),
        }),
        Insight::Custom {
            content_type,
            payload,
        } => wit::Insight::Custom(wit::CustomInsight {
            content_type: content_type.clone(),
            payload: payload.clone(),
        }),
    }
}

pub(crate) fn device_to_guest(device: &DeviceContext) -> wit::DeviceContext {
    wit::DeviceContext {
        site: device.site.clone(),
        device: device.device.clone(),
        labels: device.labels.clone(),
        generation: device.generation,
        sample_time: device.sample_time_us,
    }
}

/// Converts the actions of a policy, at most [`MAX_ACTIONS`].
pub(crate) fn actions_from_guest(actions: Vec<wit::Action>) -> Result<Vec<Action>, wit::Error> {
    if actions.len() > MAX_ACTIONS {
        return Err(wit::Error {
            code: wit::ErrorCode::LimitExceeded,
            message: format!(
                "the policy returned {} actions; at most {MAX_ACTIONS} are allowed",
                actions.len()
            ),
        });
    }
    Ok(actions.into_iter().map(action_from_guest).collect())
}

fn action_from_guest(action: wit::Action) -> Action {
    match action {
        wit::Action::Publish => Action::Publish,
        wit::Action::Drop(reason) => Action::Drop {
            reason: clip(reason),
        },
        wit::Action::Alert(alert) => Action::Alert {
            severity: match alert.severity {
                wit::Severity::Info => Severity::Info,
                wit::Severity::Warning => Severity::Warning,
                wit::Severity::Critical => Severity::Critical,
            },
            message: clip(alert.message),
        },
        wit::Action::Send(message) => Action::Send {
            topic: message.topic,
            content_type: message.content_type,
            payload: message.payload,
        },
    }
}

impl From<wit::ErrorCode> for ErrorCode {
    fn from(code: wit::ErrorCode) -> Self {
        match code {
            wit::ErrorCode::InvalidInput => Self::InvalidInput,
            wit::ErrorCode::Unsupported => Self::Unsupported,
            wit::ErrorCode::NotFound => Self::NotFound,
            wit::ErrorCode::Denied => Self::Denied,
            wit::ErrorCode::LimitExceeded => Self::LimitExceeded,
            wit::ErrorCode::Internal => Self::Internal,
        }
    }
}
