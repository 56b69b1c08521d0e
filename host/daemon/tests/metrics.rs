//! The Prometheus endpoint and its errors. A process can have one recorder, so this is one test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_daemon::metrics::{MetricsError, serve};
use hotshoe_daemon::serving::answer::ReplyTo;
use hotshoe_daemon::serving::latency::Latency;
use hotshoe_daemon::serving::tally::{DropReason, Settlement, Tally};

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn counts_and_latencies_are_served() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = serve(address, &Supervisor::default()).unwrap_err();
    assert!(matches!(error, MetricsError::Listen { .. }), "{error}");
    assert!(error.to_string().contains("metrics.listen"), "{error}");
    drop(taken);

    let endpoint = serve(address, &Supervisor::default()).unwrap();
    let tally = Tally::default();
    for settlement in [
        Settlement::Result,
        Settlement::Dropped(DropReason::BlockTimeout),
        Settlement::Failed {
            stage: "page",
            fault: "trap",
        },
    ] {
        tally.accept(ReplyTo::None).settle(settlement);
    }
    Latency::default().record("page", 1_500);
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
    let starting = get(address, "/readyz");
    assert!(starting.starts_with("HTTP/1.1 503"), "{starting}");
    let reason = Arc::new(Mutex::new(Some("no release serves".to_owned())));
    let asked = Arc::clone(&reason);
    endpoint.ask_readiness(move || asked.lock().unwrap().clone());
    let empty = get(address, "/readyz");
    assert!(empty.starts_with("HTTP/1.1 503"), "{empty}");
    assert!(empty.contains("no release serves"), "{empty}");
    *reason.lock().unwrap() = None;
    assert!(get(address, "/readyz").starts_with("HTTP/1.1 200"));
    let text = get(address, "/metrics");
    for line in [
        "hotshoe_samples_accepted_total 3",
        "hotshoe_results_total 1",
        "hotshoe_dropped_total{reason=\"block_timeout\"} 1",
        "hotshoe_failed_total{fault=\"trap\",stage=\"page\"} 1",
        "hotshoe_stage_seconds_bucket{stage=\"page\",le=\"0.001\"} 0",
        "hotshoe_stage_seconds_bucket{stage=\"page\",le=\"0.0025\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    drop(endpoint);
}
