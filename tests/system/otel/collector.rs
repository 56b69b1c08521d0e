//! A receiver of OTLP in the test's own process.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hotshoe_tests::until;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::oneshot;

/// What a collector has received, also across its restarts.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// The last metrics.
    pub metrics: Option<ExportMetricsServiceRequest>,
    pub resources: Vec<Resource>,
    pub spans: Vec<Span>,
    pub heads: Vec<HeaderMap>,
    /// Refused with this status, if there is one.
    pub refuse_with: Option<StatusCode>,
}

pub(super) type Shared = Arc<Mutex<Received>>;

/// A collector that listens. It ends when it is dropped, with all of its connections.
pub(super) struct Collector {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Listens on a port of its own.
    pub(super) fn start(received: &Shared) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), received)
    }

    pub(super) fn start_at(address: SocketAddr, received: &Shared) -> Self {
        let app = Router::new()
            .route("/v1/metrics", post(take_metrics))
            .route("/v1/traces", post(take_traces))
            .with_state(Arc::clone(received));
        let (stop, stopped) = oneshot::channel();
        let (sender, bound) = channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind(address).await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    ended = axum::serve(listener, app).into_future() => ended.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: bound.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// The lines of a configuration that send to it, each second.
    pub(super) fn config(&self, sample_one_in: u32) -> String {
        format!(
            "[telemetry]\nendpoint = \"http://{}\"\ninterval-s = 1\nsample-one-in = {sample_one_in}\n",
            self.address
        )
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }
}

async fn take_metrics(
    State(received): State<Shared>,
    head: HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    let mut received = received.lock();
    received.take(head, |received| {
        let request = ExportMetricsServiceRequest::decode(body).unwrap();
        let resources = request.resource_metrics.iter();
        let resources = resources.filter_map(|it| it.resource.clone());
        received.resources.extend(resources);
        received.metrics = Some(request);
    })
}

async fn take_traces(
    State(received): State<Shared>,
    head: HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    let mut received = received.lock();
    received.take(head, |received| {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        for of_resource in request.resource_spans {
            received.resources.extend(of_resource.resource);
            let spans = of_resource.scope_spans.into_iter();
            received.spans.extend(spans.flat_map(|it| it.spans));
        }
    })
}

impl Received {
    fn take(&mut self, head: HeaderMap, read: impl FnOnce(&mut Self)) -> (StatusCode, Vec<u8>) {
        assert_eq!(head[CONTENT_TYPE], "application/x-protobuf");
        self.heads.push(head);
        match self.refuse_with {
            Some(status) => (status, Vec::new()),
            None => {
                read(self);
                // An empty message: everything was taken.
                (StatusCode::OK, Vec::new())
            }
        }
    }

    /// The last metric of this name.
    pub(super) fn metric(&self, name: &str) -> Option<&Metric> {
        let all = self.metrics.as_ref()?.resource_metrics.iter();
        let mut all = all
            .flat_map(|it| &it.scope_metrics)
            .flat_map(|it| &it.metrics);
        all.find(|metric| metric.name == name)
    }

    fn points(&self, name: &str) -> &[NumberDataPoint] {
        match self.metric(name).and_then(|metric| metric.data.as_ref()) {
            Some(Data::Sum(sum)) => &sum.data_points,
            Some(Data::Gauge(gauge)) => &gauge.data_points,
            _ => &[],
        }
    }

    /// The whole number of a metric whose label has this value; of one without labels for an empty label.
    pub(super) fn number(&self, name: &str, label: &str, value: &str) -> Option<i64> {
        let mut points = self.points(name).iter();
        let point = points.find(|point| {
            label.is_empty() || attribute(&point.attributes, label).as_deref() == Some(value)
        })?;
        match point.value {
            Some(Number::AsInt(number)) => Some(number),
            _ => None,
        }
    }

    /// The span of a sample with this id.
    pub(super) fn sample(&self, id: &str) -> Option<&Span> {
        let mut spans = self.spans.iter();
        spans.find(|it| attribute(&it.attributes, "hotshoe.sample.id").as_deref() == Some(id))
    }

    /// The ids of all samples.
    pub(super) fn samples(&self) -> BTreeSet<String> {
        let spans = self.spans.iter();
        spans
            .filter_map(|it| attribute(&it.attributes, "hotshoe.sample.id"))
            .collect()
    }

    /// All spans of the trace of a span, in order.
    pub(super) fn trace_of(&self, span: &Span) -> Vec<Span> {
        let spans = self.spans.iter();
        spans
            .filter(|it| it.trace_id == span.trace_id)
            .cloned()
            .collect()
    }
}

/// The text of an attribute; a number as its digits.
pub(super) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == key)?;
    match found.value.clone()?.value? {
        Any::StringValue(text) => Some(text),
        Any::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

/// Waits until what was received is as wanted, and returns what is made of it.
pub(super) fn wait<T>(
    what: &str,
    received: &Shared,
    mut wanted: impl FnMut(&Received) -> Option<T>,
) -> T {
    let mut found = None;
    until(what, || {
        found = wanted(&received.lock());
        found.is_some()
    });
    found.unwrap()
}
