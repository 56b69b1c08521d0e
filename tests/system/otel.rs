//! OpenTelemetry: a real daemon, and a receiver of OTLP in this process.

#[path = "otel/collector.rs"]
mod collector;
#[path = "otel/tls.rs"]
mod tls;

use std::fs;
use std::time::Duration;

use axum::http::StatusCode;
use hotshoe_link::OutputMessage;
use hotshoe_protocol::trace_context::{TraceContext, read_attachment};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use serde_json::Value;

use self::collector::{Collector, Shared, attribute, wait};
use super::site::{Site, light};
use super::support::{DEADLINE, Daemon, Workspace};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";

/// An attachment with a trace context of its sender.
fn traced(id: &str, flags: &str) -> String {
    format!("{id}\ntraceparent: 00-{TRACE}-{SENDER}-{flags}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|it| it.name.as_str()).collect()
}

fn is_failed(span: &Span) -> bool {
    let status = span.status.clone().unwrap_or_default();
    status.code == i32::from(SpanStatus::Error)
}

/// A daemon with a component that fails as its samples say.
fn hostile(workspace: &Workspace, collector: &Collector, sample_one_in: u32) -> Daemon {
    let release = workspace.release(&Workspace::recipe("hostile.toml"));
    let config = collector.config(sample_one_in);
    workspace.device("cam", &release, &config).run()
}

/// The whole number at a place of the status.
fn number(state: &Value, at: &str) -> Option<i64> {
    state.pointer(at).and_then(Value::as_i64)
}

#[test]
fn metrics_arrive_and_equal_the_counts_of_the_status() {
    let (workspace, received) = (Workspace::new(), Shared::default());
    let collector = Collector::start(&received);
    let daemon = hostile(&workspace, &collector, 0);
    daemon.feed(&[
        ("1", b"good".to_vec()),
        ("2", b"trap".to_vec()),
        ("3", b"good".to_vec()),
    ]);
    wait("the metrics have three samples", &received, |received| {
        let number = |metric| received.number(metric, "", "");
        let ended = number("hotshoe.samples.in_flight") == Some(0);
        (ended && number("hotshoe.samples.accepted") == Some(3)).then_some(())
    });
    let state = daemon.state();
    let received = received.lock();
    let compare = |metric: &str, label: &str, value: &str, at: &str| {
        let found = received.number(metric, label, value);
        assert!(found.is_some(), "no {metric} with {label}={value}");
        assert_eq!(found, number(&state, at), "{metric} with {label}={value}");
    };
    for (metric, at) in [
        ("hotshoe.samples.accepted", "/counters/accepted"),
        ("hotshoe.results", "/counters/results"),
        ("hotshoe.unpublished", "/counters/unpublished"),
        ("hotshoe.samples.in_flight", "/counters/in_flight"),
        ("hotshoe.queue.depth", "/queue/len"),
        ("hotshoe.queue.capacity", "/queue/capacity"),
        ("hotshoe.swaps", "/swaps"),
        ("hotshoe.rollbacks", "/rollbacks"),
    ] {
        compare(metric, "", "", at);
    }
    assert_eq!(number(&state, "/counters/results"), Some(2));
    compare(
        "hotshoe.failed",
        "error.type",
        "trap",
        "/counters/faults/trap",
    );
    for (position, stage) in state["stages"].as_array().unwrap().iter().enumerate() {
        let name = stage["name"].as_str().unwrap();
        let at = format!("/stages/{position}/count");
        compare("hotshoe.stage.samples", "stage", name, &at);
    }
    let runs = "/models/0/runs";
    compare("hotshoe.model.runs", "model", "classify-angle", runs);
    // Counts are sums that only grow; the conventions name units.
    let results = received.metric("hotshoe.results").unwrap();
    assert_eq!(results.unit, "{sample}");
    let Some(Data::Sum(sum)) = &results.data else {
        panic!("{results:?}");
    };
    assert!(sum.is_monotonic && sum.data_points[0].start_time_unix_nano > 0);
    let resource = received.resources.last().unwrap();
    for (key, value) in [
        ("service.name", "hotshoe"),
        ("service.namespace", "lab"),
        ("service.instance.id", "cam"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ] {
        let found = attribute(&resource.attributes, key);
        assert_eq!(found.as_deref(), Some(value), "{key}");
    }
    assert!(received.spans.is_empty(), "{:?}", received.spans);
}

#[test]
fn a_sample_of_a_trace_is_a_span_whose_children_are_its_stages() {
    let (workspace, received) = (Workspace::new(), Shared::default());
    let collector = Collector::start(&received);
    let daemon = hostile(&workspace, &collector, 0);
    let answers = daemon.feed(&[
        (&traced("page-7", "01"), b"good".to_vec()),
        ("unnoticed", b"good".to_vec()),
    ]);
    let answer = answers[0].result.as_ref().unwrap();
    assert_eq!(answer["id"], "page-7");
    let root = wait("the sample is traced", &received, |received| {
        received.sample("page-7").cloned()
    });
    assert_eq!(
        (hex(&root.trace_id), hex(&root.parent_span_id)),
        (TRACE.to_owned(), SENDER.to_owned())
    );
    assert_eq!(root.kind, i32::from(SpanKind::Server));
    assert!(!is_failed(&root));
    let of = |key: &str| attribute(&root.attributes, key);
    assert_eq!(of("hotshoe.sample.outcome").as_deref(), Some("result"));
    assert_eq!(of("hotshoe.release.name").as_deref(), Some("hostile"));
    assert_eq!(of("hotshoe.release.generation").as_deref(), Some("1"));
    let spans = received.lock().trace_of(&root);
    let stages = answer["stages"].as_array().unwrap();
    let mut expected = vec!["process", "queue"];
    expected.extend(stages.iter().map(|it| it["name"].as_str().unwrap()));
    assert_eq!(names(&spans), expected);
    assert!(expected.contains(&"hostile") && expected.contains(&"classify-angle"));
    for (span, stage) in spans[2..].iter().zip(stages) {
        assert_eq!(span.parent_span_id, root.span_id);
        let micros = (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000;
        assert_eq!(Some(micros), stage["micros"].as_u64(), "{}", span.name);
    }
    for span in &spans {
        assert!(span.start_time_unix_nano >= root.start_time_unix_nano);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    // No trace begins here.
    assert_eq!(received.lock().samples().len(), 1);
}

#[test]
fn a_sample_that_fails_has_the_name_of_its_fault_and_no_text() {
    let (workspace, received) = (Workspace::new(), Shared::default());
    let collector = Collector::start(&received);
    let daemon = hostile(&workspace, &collector, 0);
    let answers = daemon.feed(&[(&traced("bad", "01"), b"trap".to_vec())]);
    assert!(answers[0].result.is_err());
    let root = wait("the sample is traced", &received, |received| {
        received.sample("bad").cloned()
    });
    let spans = received.lock().trace_of(&root);
    assert_eq!(names(&spans), ["process", "queue", "hostile"]);
    for span in [&spans[0], &spans[2]] {
        assert!(is_failed(span), "{span:?}");
        let fault = attribute(&span.attributes, "error.type");
        assert_eq!(fault.as_deref(), Some("trap"));
        assert_eq!(span.status.clone().unwrap().message, "");
    }
    assert!(!is_failed(&spans[1]));
}

/// The next insight of a sample.
fn insight(outputs: &hotshoe_link::Outputs, id: &str) -> OutputMessage {
    loop {
        let message = outputs.next(DEADLINE).expect("an output");
        if message.key.ends_with("output/insight") && message.body["id"] == id {
            return message;
        }
    }
}

/// The context in the attachment of an output, which has the sample's id as well.
fn context_of(message: &OutputMessage) -> Option<TraceContext> {
    let attachment = message.attachment.as_deref().expect("an attachment");
    let (id, context) = read_attachment(attachment);
    assert_eq!(
        id.map(<[u8]>::to_vec),
        message.body["id"].as_str().map(|it| it.as_bytes().to_vec())
    );
    context
}

#[test]
fn outputs_carry_the_trace_on_and_the_flag_of_the_sender_decides() {
    let (site, received) = (Site::new(), Shared::default());
    let collector = Collector::start(&received);
    let first = site.pack(&light(1, ""));
    // Every trace that begins at the device is recorded.
    let daemon = site.device("cam", &first, &collector.config(1)).run();
    let client = daemon.client();
    let outputs = client.outputs(Some("lab"), Some("cam"), 64).unwrap();
    let put = |attachment: &str| {
        let kind = "application/octet-stream";
        let sent = client.put(
            "lab",
            "cam",
            "test",
            kind,
            Some(attachment),
            b"abc".to_vec(),
        );
        sent.unwrap();
    };
    let state = "vendor=1";
    // A subscription takes a moment to reach the device.
    let sampled = loop {
        put(&format!("{}\ntracestate: {state}", traced("sampled", "01")));
        if let Some(message) = outputs.next(Duration::from_millis(200))
            && message.body["id"] == "sampled"
        {
            break message;
        }
    };
    let root = wait("the sample is traced", &received, |received| {
        received.sample("sampled").cloned()
    });
    assert_eq!(root.kind, i32::from(SpanKind::Consumer));
    assert_eq!(root.trace_state, state);
    let source = "hotshoe/lab/cam/input/test";
    for (key, value) in [
        ("messaging.system", "zenoh"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", source),
        ("messaging.message.id", "sampled"),
    ] {
        let found = attribute(&root.attributes, key);
        assert_eq!(found.as_deref(), Some(value), "{key}");
    }
    let context = context_of(&sampled).unwrap();
    assert_eq!(hex(&context.trace_id), TRACE);
    assert!(context.is_sampled());
    assert_eq!(context.state, state);
    // It is the span of a sample of that name, which was sent until the first output came.
    wait("the output's span", &received, |received| {
        let mut spans = received.spans.iter();
        spans.find(|it| it.span_id == context.span_id).cloned()
    });

    put(&traced("unsampled", "00"));
    let unsampled = context_of(&insight(&outputs, "unsampled")).unwrap();
    assert_eq!(unsampled.to_string(), format!("00-{TRACE}-{SENDER}-00"));
    // One that is not valid is ignored: the device begins a trace of its own.
    put(&traced("malformed", "zz"));
    let malformed = context_of(&insight(&outputs, "malformed")).unwrap();
    assert_ne!(hex(&malformed.trace_id), TRACE);
    let own = wait("a trace begins here", &received, |received| {
        received.sample("malformed").cloned()
    });
    assert_eq!(own.trace_id, malformed.trace_id);
    assert_eq!(own.span_id, malformed.span_id);
    assert!(own.parent_span_id.is_empty());
    // Samples are sent in order, so that it would be there.
    assert!(received.lock().sample("unsampled").is_none());
}

#[test]
fn without_telemetry_a_trace_is_passed_on_as_it_came() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, "").run();
    assert_eq!(daemon.state().get("telemetry"), None);
    let answers = daemon.feed(&[
        (&traced("page-7", "01"), b"abc".to_vec()),
        ("a\nb", b"abc".to_vec()),
    ]);
    assert_eq!(answers[0].result.as_ref().unwrap()["id"], "page-7");
    let refused = super::support::refusal(&answers[1]);
    assert_eq!(refused["fault"], "invalid_sample_id");
}

/// The traces that the status accounts for.
fn accounted(state: &Value) -> u64 {
    let telemetry = &state["telemetry"];
    let dropped = telemetry["traces_dropped"].as_object().unwrap();
    let dropped: u64 = dropped.values().filter_map(Value::as_u64).sum();
    telemetry["traces_sent"].as_u64().unwrap() + dropped
}

#[test]
fn a_collector_that_dies_costs_counted_traces_and_gets_the_rest_when_it_is_back() {
    let (site, received) = (Site::new(), Shared::default());
    let collector = Collector::start(&received);
    let address = collector.address;
    let first = site.pack(&light(1, ""));
    let daemon = site.device("cam", &first, &collector.config(1)).run();
    daemon.feed(&[("before", b"abc".to_vec())]);
    wait("a trace arrives", &received, |received| {
        received.sample("before").cloned()
    });
    drop(collector);
    daemon.wait_until(|state| state["telemetry"]["error"]["name"] == "collector_unreachable");
    // More than wait, with those on their way. All have their results.
    let away = 1_400;
    let feeder = daemon.feeder(16);
    for number in 0..away {
        let (name, kind) = ("test", "application/octet-stream");
        let id = format!("away-{number}");
        feeder.send(name, kind, &id, b"abc".to_vec()).unwrap();
    }
    for _ in 0..away {
        assert!(feeder.next(DEADLINE).unwrap().result.is_ok());
    }
    let state = daemon.state();
    assert_eq!(state["counters"]["results"], away + 1);
    let full = |state: &Value| state["telemetry"]["traces_dropped"]["queue_full"].as_u64();
    assert!(full(&state).is_some_and(|it| it > 0), "{state:#}");

    let _collector = Collector::start_at(address, &received);
    let state = daemon
        .wait_until(|state| accounted(state) == away + 1 && state["telemetry"]["error"].is_null());
    let arrived = received.lock().samples().len() as u64;
    assert_eq!(arrived, away + 1 - full(&state).unwrap());
    // The metrics have what happened meanwhile.
    wait("the metrics are complete", &received, |received| {
        let results = received.number("hotshoe.results", "", "");
        (results == i64::try_from(away + 1).ok()).then_some(())
    });
}

#[test]
fn what_a_collector_refuses_is_dropped_and_headers_come_from_a_file() {
    let (site, received) = (Site::new(), Shared::default());
    let collector = Collector::start(&received);
    let headers = site.workspace.path("headers");
    fs::write(&headers, "# for the collector\nauthorization: Bearer abc\n").unwrap();
    received.lock().refuse_with = Some(StatusCode::UNAUTHORIZED);
    let first = site.pack(&light(1, ""));
    let config = collector.config(1) + "headers-file = \"headers\"\n";
    let daemon = site.device("cam", &first, &config).run();
    daemon.feed(&[("refused", b"abc".to_vec())]);
    let state = daemon.wait_until(|state| state["telemetry"]["traces_dropped"]["refused"] == 1);
    assert_eq!(state["telemetry"]["error"]["name"], "collector_refused");
    received.lock().refuse_with = None;
    daemon.feed(&[("taken", b"abc".to_vec())]);
    wait("a trace arrives", &received, |received| {
        received.sample("taken").cloned()
    });
    // What ends with the daemon is sent before it ends.
    daemon.feed(&[("last", b"abc".to_vec())]);
    assert!(daemon.stop().success());
    let received = received.lock();
    assert!(received.sample("last").is_some());
    assert!(received.sample("refused").is_none());
    assert_eq!(received.number("hotshoe.results", "", ""), Some(3));
    assert!(
        received
            .heads
            .iter()
            .all(|head| head["authorization"] == "Bearer abc")
    );
}

#[test]
fn telemetry_that_cannot_be_sent_ends_the_start() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let config = "[telemetry]\nendpoint = \"http://127.0.0.1:9\"\nheaders-file = \"nothing\"\n";
    let device = site.device("cam", &first, config);
    let path = device.config.display().to_string();
    let error = super::support::failure(["run", "--config", &path]);
    assert!(error.starts_with("telemetry_file: "), "{error}");
    assert!(error.contains("telemetry.headers-file"), "{error}");
    // The doctor finds it before.
    let report = super::support::hotshoe(["doctor", "--config", &path, "--json"]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let found = findings
        .iter()
        .find(|it| it["what"] == "telemetry")
        .unwrap();
    assert_eq!(found["state"], "fail", "{found}");
}
