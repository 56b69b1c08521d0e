//! What metrics and spans have in common: the resource, the scope, attributes and times.

use std::time::{SystemTime, UNIX_EPOCH};

use hotshoe_protocol::status::Status;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// The semantic conventions that names follow.
pub(crate) const SCHEMA: &str = "https://opentelemetry.io/schemas/1.27.0";
/// The service's and the scope's name.
const NAME: &str = "hotshoe";

/// The device: a service instance, with its site as the namespace.
pub(crate) fn resource(status: &Status) -> Resource {
    Resource {
        attributes: vec![
            text("service.name", NAME),
            text("service.namespace", &status.site),
            text("service.instance.id", &status.device),
            text("service.version", &status.version),
        ],
        ..Resource::default()
    }
}

pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

pub(crate) fn whole(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(int(value)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// OTLP has signed numbers.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Nanoseconds since 1970-01-01T00:00:00Z; 0 for an earlier time.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
