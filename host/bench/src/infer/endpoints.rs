//! The same model called over the Open Inference Protocol, at a daemon on this machine.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_config::{Config, ZenohConfig};
use hotshoe_infer::{BackendChoice, OrtOptions};
use hotshoe_trust::Time;
use serde_json::{Value, json};

use super::call_paths::{MODEL, STEP, subject};
use super::http::Connection;
use super::peer::Peer;
use super::sides::{Times, Turn, load, run_model, take_turns};
use super::subject::BenchModel;
use crate::report::{Row, Unit};
use crate::setup::{BenchSetup, TRUST};
use hotshoe_release::daemon_process::{DaemonProcess, free_endpoint};
use hotshoe_release::device::Identity;
use hotshoe_release::install;
use hotshoe_release::terminal::Terminal;

/// The side that the endpoints are compared with.
const DIRECT: &str = "the model called directly";

/// All rows.
pub(super) fn endpoints(
    setup: &BenchSetup<'_>,
    subjects: &[BenchModel],
    peer: Option<&mut Peer>,
    rounds: usize,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Row>> {
    let subject = subject(subjects)?;
    let (daemon, address) = start(setup)?;
    let rows = measure(subject, address, peer, rounds, terminal);
    daemon.stop()?;
    rows
}

/// A device on this machine that serves the Open Inference Protocol and runs its models as the other side does.
fn start(setup: &BenchSetup<'_>) -> anyhow::Result<(DaemonProcess, SocketAddr)> {
    let folder = setup.folder().join("door");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let endpoint = free_endpoint()?;
    let address = TcpListener::bind("127.0.0.1:0")
        .context("cannot find a free port")?
        .local_addr()?;
    let path = folder.join("hotshoe.toml");
    let text = format!(
        "site = \"bench\"\ndevice = \"door\"\ntrust = \"../{TRUST}\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n[governor]\nenabled = false\n\
         [inference]\nbackend = \"tract\"\n[oip]\nlisten = \"{address}\"\n"
    );
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let config = Config::load(&path).context("cannot load the bench's configuration")?;
    let identity = Identity::of(setup.trust().clone(), &config);
    install::install(&setup.release(STEP)?, &config.data, &identity, Time::now())?;
    let mut daemon = DaemonProcess::start(&path, &folder.join("daemon.log"))?;
    let zenoh = ZenohConfig {
        connect: vec![endpoint],
        ..ZenohConfig::default()
    };
    daemon.ready(&zenoh)?.0.close();
    Ok((daemon, address))
}

fn measure(
    subject: &BenchModel,
    address: SocketAddr,
    mut peer: Option<&mut Peer>,
    rounds: usize,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Row>> {
    let model = load(subject, BackendChoice::Tract, 1, &OrtOptions::default())?;
    let requests = [json_request(subject)?, binary_request(subject)?];
    let mut connections = [Connection::open(address)?, Connection::open(address)?];
    let mut names = vec![
        "door: HTTP, JSON".to_owned(),
        "door: HTTP, binary tensors".to_owned(),
    ];
    let mut turns: Vec<Turn<'_>> = vec![Box::new(|times| {
        run_model(&model, &subject.borrowed(), times)
    })];
    for (connection, request) in connections.iter_mut().zip(&requests) {
        turns.push(Box::new(|times| post(connection, request, times)));
    }
    let mut rows = rows(&names, &take_turns(&mut turns, rounds)?);
    drop(turns);
    let Some(peer) = peer.take() else {
        return Ok(rows);
    };
    // Alternates with the model called directly, one client at a time: both use the same Python process.
    for (door, name) in [("http", "HTTP, binary"), ("grpc", "gRPC")] {
        let (address, inputs) = (address.to_string(), oip_inputs(subject)?);
        if peer.call(door, &address, MODEL, &inputs, 1)?.is_none() {
            terminal.note("left out: tritonclient, which this Python cannot import; run `pip install 'tritonclient[http,grpc]'`");
            break;
        }
        names = vec![format!("door: {name}, by tritonclient in Python")];
        let mut turns: [Turn<'_>; 2] = [
            Box::new(|times| run_model(&model, &subject.borrowed(), times)),
            Box::new(|times| {
                let times = peer.call(door, &address, MODEL, &inputs, times)?;
                Ok(times.unwrap_or_default())
            }),
        ];
        rows.extend(self::rows(&names, &take_turns(&mut turns, rounds)?));
    }
    Ok(rows)
}

/// The first element of `times` belongs to the model called directly.
fn rows(names: &[String], times: &[Times]) -> Vec<Row> {
    let Some((direct, endpoints)) = times.split_first() else {
        return Vec::new();
    };
    let rows = names.iter().zip(endpoints);
    rows.map(|(name, times)| {
        let against = (DIRECT, direct.median());
        Row::compared(name, Unit::Millis, times.median(), against, None).with_p95(times.p95())
    })
    .collect()
}

/// Additional headers and a body.
type Request = (String, Vec<u8>);

fn post(
    connection: &mut Connection,
    (headers, body): &Request,
    times: usize,
) -> anyhow::Result<Vec<Duration>> {
    let path = format!("/v2/models/{MODEL}/infer");
    connection.post(&path, headers, body)?;
    (0..times)
        .map(|_| {
            let started = Instant::now();
            connection.post(&path, headers, body)?;
            Ok(started.elapsed())
        })
        .collect()
}

/// A request with the elements as JSON numbers.
fn json_request(subject: &BenchModel) -> anyhow::Result<Request> {
    let mut inputs = Vec::new();
    for (name, tensor) in &subject.inputs {
        inputs.push(json!({
            "name": name, "datatype": "FP32", "shape": tensor.shape(), "data": tensor.as_f32()?,
        }));
    }
    let body = serde_json::to_vec(&json!({"inputs": inputs}))?;
    Ok(("Content-Type: application/json\r\n".to_owned(), body))
}

/// A request with the elements as bytes after the JSON, in both directions (the binary tensor data extension).
fn binary_request(subject: &BenchModel) -> anyhow::Result<Request> {
    let (mut inputs, mut bytes) = (Vec::new(), Vec::new());
    for (name, tensor) in &subject.inputs {
        inputs.push(json!({
            "name": name, "datatype": "FP32", "shape": tensor.shape(),
            "parameters": {"binary_data_size": tensor.byte_len()},
        }));
        bytes.extend_from_slice(tensor.bytes());
    }
    let request = json!({"inputs": inputs, "parameters": {"binary_data_output": true}});
    let mut body = serde_json::to_vec(&request)?;
    let headers = format!(
        "Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {}\r\n",
        body.len()
    );
    body.append(&mut bytes);
    Ok((headers, body))
}

/// The inputs in the form of the Python client.
fn oip_inputs(subject: &BenchModel) -> anyhow::Result<Vec<Value>> {
    let mut inputs = subject.for_python();
    for input in &mut inputs {
        let input = input.as_object_mut().context("an input is an object")?;
        input.insert("datatype".to_owned(), json!("FP32"));
    }
    Ok(inputs)
}
