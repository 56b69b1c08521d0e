//! The spans of a sample: one for it, and below it one for its time in the queue and one for each stage.

use std::time::{Duration, SystemTime};

use hotshoe_daemon::{Arrival, TracedSample, new_span_id};
use hotshoe_protocol::trace_context::TraceContext;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};

use crate::points::{SCHEMA, nanos, scope, text, whole};

/// The name of the span of a sample: what the device does with it. Its source is an attribute, since there may be many.
const PROCESS: &str = "process";
/// The name of the span of the time before the first stage.
const QUEUE: &str = "queue";

/// The request for some samples.
pub(crate) fn request(resource: Resource, samples: &[TracedSample]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope()),
                spans: samples.iter().flat_map(spans).collect(),
                schema_url: SCHEMA.to_owned(),
            }],
            schema_url: SCHEMA.to_owned(),
        }],
    }
}

fn spans(sample: &TracedSample) -> Vec<Span> {
    let mut all = vec![root(sample)];
    let Some(queued) = sample.queued else {
        return all;
    };
    let context = &sample.context;
    let (own, arrived) = (&context.span_id, sample.arrived);
    all.push(child(context, own, QUEUE, arrived, queued));
    let mut next = arrived + queued;
    // The models that a component ran come after it, and are parts of its time.
    let mut component: Option<([u8; 8], String)> = None;
    let mut next_model = next;
    for stage in &sample.stages {
        let time = Duration::from_micros(stage.micros);
        let within = component.as_ref().filter(|(_, prefix)| {
            let rest = stage.name.strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| rest.starts_with('/'))
        });
        let mut span = match within {
            Some((parent, _)) => {
                let span = child(context, parent, &stage.name, next_model, time);
                next_model += time;
                span
            }
            None => {
                let id = new_span_id();
                let mut span = child(context, own, &stage.name, next, time);
                span.span_id = id.to_vec();
                component = Some((id, stage.name.clone()));
                next_model = next;
                next += time;
                span
            }
        };
        span.attributes.push(text("hotshoe.stage", &stage.name));
        if sample.end.stage.as_deref() == Some(stage.name.as_str()) {
            fail(&mut span, sample.end.reason.as_deref());
        }
        all.push(span);
    }
    all
}

fn root(sample: &TracedSample) -> Span {
    let context = &sample.context;
    let kind = match sample.arrival {
        Arrival::Message => SpanKind::Consumer,
        Arrival::Request => SpanKind::Server,
        Arrival::File => SpanKind::Internal,
    };
    let parent = sample.parent;
    let no_parent: &[u8] = &[];
    let parent_id = parent.as_ref().map_or(no_parent, <[u8; 8]>::as_slice);
    let mut span = child(context, parent_id, PROCESS, sample.arrived, sample.total);
    span.span_id = context.span_id.to_vec();
    span.kind = kind.into();
    span.flags |= bits(SpanFlags::ContextHasIsRemoteMask);
    if parent.is_some() {
        span.flags |= bits(SpanFlags::ContextIsRemoteMask);
    }
    span.attributes = attributes(sample);
    if matches!(sample.end.outcome, "failed" | "dropped") {
        fail(&mut span, sample.end.reason.as_deref());
    }
    span
}

fn attributes(sample: &TracedSample) -> Vec<KeyValue> {
    let mut all = vec![
        text("hotshoe.sample.id", &sample.id),
        text("hotshoe.sample.source", &sample.source),
        text("hotshoe.sample.outcome", sample.end.outcome),
    ];
    if sample.arrival == Arrival::Message {
        all.extend([
            text("messaging.system", "zenoh"),
            text("messaging.operation.type", "process"),
            text("messaging.operation.name", PROCESS),
            text("messaging.destination.name", &sample.source),
            text("messaging.message.id", &sample.id),
        ]);
    }
    if let Some((name, generation)) = &sample.release {
        all.push(text("hotshoe.release.name", name));
        all.push(whole("hotshoe.release.generation", *generation));
    }
    if let Some(reason) = &sample.end.reason {
        all.push(text("hotshoe.sample.reason", reason));
    }
    if let Some(stage) = &sample.end.stage {
        all.push(text("hotshoe.stage", stage));
    }
    all
}

fn child(
    context: &TraceContext,
    parent: &[u8],
    name: &str,
    begun: SystemTime,
    time: Duration,
) -> Span {
    Span {
        trace_id: context.trace_id.to_vec(),
        span_id: new_span_id().to_vec(),
        trace_state: context.state.clone(),
        parent_span_id: parent.to_vec(),
        flags: u32::from(context.flags),
        name: name.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: nanos(begun),
        end_time_unix_nano: nanos(begun + time),
        ..Span::default()
    }
}

/// Marks a span as failed. It has no message, which may be a component's.
fn fail(span: &mut Span, reason: Option<&str>) {
    span.status = Some(Status {
        code: StatusCode::Error.into(),
        ..Status::default()
    });
    span.attributes
        .extend(reason.map(|reason| text("error.type", reason)));
}

const fn bits(flags: SpanFlags) -> u32 {
    (flags as i32).cast_unsigned()
}

#[cfg(test)]
#[path = "spans_tests.rs"]
mod tests;
