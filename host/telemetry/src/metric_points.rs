//! The metrics of a status.
//!
//! A collector that translates their names for Prometheus gets those of the Prometheus endpoint: `hotshoe.samples.accepted` becomes
//! `hotshoe_samples_accepted_total`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hotshoe_protocol::alert::AlertStatus;
use hotshoe_protocol::status::{GovernorStatus, OutboxStatus, PartState, Status, TelemetryStatus};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};

use crate::points::{SCHEMA, int, nanos, resource, scope, text};

/// The unit of a ratio.
const ONE: &str = "1";

/// The metrics of a status that was read at `now`. Counting began at `started`.
pub(crate) fn request(
    status: &Status,
    started: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    let mut points = Points {
        started: nanos(started),
        now: nanos(now),
        metrics: Vec::new(),
    };
    points.samples(status);
    points.stages(status);
    points.releases(status);
    points.models(status);
    points.process(status);
    points.alerts(&status.alerts);
    if let Some(outbox) = &status.outbox {
        points.outbox(outbox);
    }
    if let Some(governor) = &status.governor {
        points.governor(governor);
    }
    if let Some(telemetry) = &status.telemetry {
        points.telemetry(telemetry);
    }
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource(status)),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics: points.metrics,
                schema_url: SCHEMA.to_owned(),
            }],
            schema_url: SCHEMA.to_owned(),
        }],
    }
}

/// Metrics that are being collected.
struct Points {
    /// When counting began, in nanoseconds.
    started: u64,
    now: u64,
    metrics: Vec<Metric>,
}

/// One number, with what it is about.
type Labelled = (Vec<KeyValue>, Value);

impl Points {
    fn samples(&mut self, status: &Status) {
        let counters = &status.counters;
        self.count("hotshoe.samples.accepted", "{sample}", counters.accepted);
        self.count("hotshoe.results", "{sample}", counters.results);
        let by = |counts| counted("reason", counts);
        self.counts("hotshoe.skipped", "{sample}", by(&counters.skipped_by));
        self.counts("hotshoe.dropped", "{sample}", by(&counters.dropped));
        // As the conventions name the kind of an error.
        let faults = counted("error.type", &counters.faults);
        self.counts("hotshoe.failed", "{sample}", faults);
        let tolerated = counted("stage", &counters.tolerated);
        self.counts("hotshoe.tolerated", "{failure}", tolerated);
        self.count("hotshoe.unpublished", "{message}", counters.unpublished);
        self.gauge("hotshoe.samples.in_flight", "{sample}", counters.in_flight);
        self.gauge("hotshoe.queue.depth", "{sample}", status.queue.len as u64);
        self.gauge(
            "hotshoe.queue.capacity",
            "{sample}",
            status.queue.capacity as u64,
        );
        let kept_back = status.kept_back.iter().flat_map(|(class, outputs)| {
            outputs.iter().map(move |(output, count)| {
                let labels = vec![text("class", class), text("output", output)];
                (labels, Value::AsInt(int(*count)))
            })
        });
        self.counts("hotshoe.egress.refused", "{output}", kept_back.collect());
    }

    fn stages(&mut self, status: &Status) {
        let stages = &status.stages;
        let counts = stages.iter().map(|stage| {
            let labels = vec![text("stage", &stage.name)];
            (labels, Value::AsInt(int(stage.count)))
        });
        self.counts("hotshoe.stage.samples", "{sample}", counts.collect());
        let latencies = stages.iter().flat_map(|stage| {
            let quantiles = [
                ("0.5", Some(stage.p50_us)),
                ("0.95", Some(stage.p95_us)),
                ("0.99", stage.p99_us),
            ];
            quantiles.into_iter().filter_map(move |(quantile, micros)| {
                let labels = vec![text("stage", &stage.name), text("quantile", quantile)];
                let seconds = Duration::from_micros(micros?).as_secs_f64();
                Some((labels, Value::AsDouble(seconds)))
            })
        });
        self.gauges("hotshoe.stage.latency", "s", latencies.collect());
    }

    fn releases(&mut self, status: &Status) {
        self.count("hotshoe.swaps", "{swap}", status.swaps);
        self.count("hotshoe.rollbacks", "{rollback}", status.rollbacks);
        let refused = counted("reason", &status.refused);
        self.counts("hotshoe.refused", "{release}", refused);
        if let Some(release) = &status.release {
            let labels = vec![
                text("name", &release.name),
                text("digest", &release.digest.to_string()),
                text("generation", &release.generation.to_string()),
            ];
            self.gauges("hotshoe.release.info", "", vec![(labels, Value::AsInt(1))]);
        }
    }

    fn models(&mut self, status: &Status) {
        let of = |count: fn(&hotshoe_protocol::status::ModelStatus) -> u64| {
            let models = status.models.iter();
            models
                .map(|model| {
                    let labels = vec![text("model", &model.name)];
                    (labels, Value::AsInt(int(count(model))))
                })
                .collect()
        };
        self.counts("hotshoe.model.runs", "{run}", of(|it| it.runs));
        self.counts("hotshoe.model.failed", "{run}", of(|it| it.failed));
        let abandoned = of(|it| it.abandoned + it.expired);
        self.counts("hotshoe.model.abandoned", "{run}", abandoned);
    }

    fn process(&mut self, status: &Status) {
        self.gauge("process.uptime", "s", status.uptime_s);
        let resident = status.memory.as_ref().and_then(|it| it.resident_mib);
        if let Some(mib) = resident {
            // It goes down, too.
            let point = (Vec::new(), Value::AsInt(int(mib.saturating_mul(1 << 20))));
            self.sum("process.memory.usage", "By", false, vec![point]);
        }
        let parts = status.parts.iter();
        let dead = parts.filter(|part| part.state == PartState::Dead).count();
        self.gauge("hotshoe.dead_parts", "{part}", dead as u64);
    }

    /// Those that are not silenced, as the Prometheus endpoint has them.
    fn alerts(&mut self, alerts: &[AlertStatus]) {
        let mut counts = BTreeMap::<_, u64>::new();
        for alert in alerts.iter().filter(|it| it.silenced_until.is_none()) {
            let pair = (alert.kind.name(), alert.severity.name());
            *counts.entry(pair).or_default() += 1;
        }
        let points = counts.into_iter().map(|((kind, severity), count)| {
            let labels = vec![text("kind", kind), text("severity", severity)];
            (labels, Value::AsInt(int(count)))
        });
        self.gauges("hotshoe.alerts", "{alert}", points.collect());
    }

    fn outbox(&mut self, outbox: &OutboxStatus) {
        self.gauge("hotshoe.outbox.records", "{record}", outbox.records);
        self.gauge("hotshoe.outbox", "By", outbox.disk_bytes);
        let oldest = outbox.oldest_seconds.unwrap_or(0.0);
        self.real("hotshoe.outbox.oldest", "s", Some(oldest));
        self.count("hotshoe.outbox.delivered", "{record}", outbox.delivered);
        let lost = counted("cause", &outbox.lost);
        self.counts("hotshoe.outbox.lost", "{record}", lost);
    }

    fn governor(&mut self, governor: &GovernorStatus) {
        let sensors = &governor.sensors;
        let zones = sensors.thermal_zones.iter().map(|zone| {
            let labels = vec![text("zone", &zone.zone)];
            (labels, Value::AsDouble(zone.celsius))
        });
        self.gauges("hotshoe.temperature", "Cel", zones.collect());
        self.real("hotshoe.battery.charge", ONE, sensors.charge_ratio);
        self.real("hotshoe.power", "W", sensors.watts);
        self.count("hotshoe.mode.changes", "{change}", governor.changes);
    }

    fn telemetry(&mut self, telemetry: &TelemetryStatus) {
        let sent = telemetry.traces_sent;
        self.count("hotshoe.telemetry.traces.sent", "{trace}", sent);
        let dropped = counted("cause", &telemetry.traces_dropped);
        self.counts("hotshoe.telemetry.traces.dropped", "{trace}", dropped);
        let failed = telemetry.failed;
        self.count("hotshoe.telemetry.failed", "{request}", failed);
    }

    fn count(&mut self, name: &str, unit: &str, value: u64) {
        self.counts(name, unit, vec![(Vec::new(), Value::AsInt(int(value)))]);
    }

    fn gauge(&mut self, name: &str, unit: &str, value: u64) {
        self.gauges(name, unit, vec![(Vec::new(), Value::AsInt(int(value)))]);
    }

    fn real(&mut self, name: &str, unit: &str, value: Option<f64>) {
        let points = value.map(|value| (Vec::new(), Value::AsDouble(value)));
        self.gauges(name, unit, points.into_iter().collect());
    }

    fn counts(&mut self, name: &str, unit: &str, values: Vec<Labelled>) {
        self.sum(name, unit, true, values);
    }

    fn sum(&mut self, name: &str, unit: &str, is_monotonic: bool, values: Vec<Labelled>) {
        let data_points = self.points(self.started, values);
        let sum = Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic,
        };
        self.add(name, unit, Data::Sum(sum));
    }

    fn gauges(&mut self, name: &str, unit: &str, values: Vec<Labelled>) {
        let data_points = self.points(0, values);
        self.add(name, unit, Data::Gauge(Gauge { data_points }));
    }

    fn points(&self, start_time_unix_nano: u64, values: Vec<Labelled>) -> Vec<NumberDataPoint> {
        let values = values.into_iter();
        values
            .map(|(attributes, value)| NumberDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano: self.now,
                value: Some(value),
                ..NumberDataPoint::default()
            })
            .collect()
    }

    /// Adds a metric, unless it has no numbers.
    fn add(&mut self, name: &str, unit: &str, data: Data) {
        let is_empty = match &data {
            Data::Sum(sum) => sum.data_points.is_empty(),
            Data::Gauge(gauge) => gauge.data_points.is_empty(),
            _ => false,
        };
        if !is_empty {
            self.metrics.push(Metric {
                name: name.to_owned(),
                unit: unit.to_owned(),
                data: Some(data),
                ..Metric::default()
            });
        }
    }
}

/// Counts by one label.
fn counted(label: &str, counts: &BTreeMap<String, u64>) -> Vec<Labelled> {
    let counts = counts.iter();
    counts
        .map(|(name, count)| (vec![text(label, name)], Value::AsInt(int(*count))))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[test]
    fn alerts_are_counted_by_kind_and_severity_without_silenced_ones() {
        let alert = |subject: &str, kind: &str, silenced_until: Option<&str>| {
            let alert = json!({
                "kind": kind, "subject": subject, "severity": "warning", "text": "",
                "since": "2026-11-30T00:00:00Z", "count": 1, "silenced_until": silenced_until,
            });
            serde_json::from_value(alert).unwrap()
        };
        let alerts: [AlertStatus; 4] = [
            alert("site", "offline", None),
            alert("outbox", "offline", None),
            alert("device", "heat", None),
            alert("data", "disk", Some("2026-12-01T00:00:00Z")),
        ];
        let mut points = Points {
            started: 0,
            now: 0,
            metrics: Vec::new(),
        };
        points.alerts(&alerts);
        let Some(Data::Gauge(gauge)) = &points.metrics.first().unwrap().data else {
            panic!("{:?}", points.metrics);
        };
        let found = gauge.data_points.iter();
        let found: Vec<_> = found
            .map(|point| (point.attributes.clone(), point.value))
            .collect();
        let of = |kind, count| {
            let labels = vec![text("kind", kind), text("severity", "warning")];
            (labels, Some(Value::AsInt(count)))
        };
        assert_eq!(found, [of("heat", 1), of("offline", 2)]);
        points.metrics.clear();
        points.alerts(&[]);
        assert!(points.metrics.is_empty());
    }
}
