//! The Open Inference Protocol, driven by the client that its users have: NVIDIA's from PyPI, over HTTP and gRPC.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hotshoe_infer::{ModelOptions, Models, Options, Tensor};
use hotshoe_trust::Digest;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::python::installed;
use crate::support::{
    DEADLINE, Daemon, Lab, environment, failure, free_endpoint, lines, skipped,
};

/// The client and all that it needs for these calls.
const PACKAGES: [&str; 15] = [
    "tritonclient==2.73.0",
    "numpy==2.4.6",
    "ml_dtypes==0.5.4",
    "python-rapidjson==1.25",
    "urllib3==2.8.0",
    "grpcio==1.85.1",
    "protobuf==6.33.6",
    "packaging==26.3",
    "typing_extensions==4.16.0",
    "geventhttpclient==2.6.1",
    "gevent==26.9.0",
    "greenlet==3.3.2",
    "zope.event==6.2",
    "zope.interface==8.7",
    "brotli==1.2.1",
];
/// The angle classifier's input.
const SHAPE: [usize; 4] = [1, 3, 48, 192];
/// The angle classifier's output.
const OUTPUT: &str = "softmax_11.tmp_0";

/// Calls daemons from Python.
struct Python {
    packages: PathBuf,
}

impl Python {
    fn get(test: &str) -> Option<Self> {
        match installed("tritonclient-2.73.0", &PACKAGES) {
            Ok(packages) => Some(Self { packages }),
            Err(reason) => {
                skipped(test, &reason);
                None
            }
        }
    }

    fn command(&self, scenario: &str, given: &Value) -> Command {
        let mut command = Command::new("python3");
        command
            .arg(environment().root.join("tests/system/oip.py"))
            .args([scenario, &given.to_string()])
            .env("PYTHONPATH", &self.packages)
            .stdin(Stdio::null());
        command
    }

    fn call(&self, scenario: &str, given: &Value) -> Value {
        let output = self.command(scenario, given).output().unwrap();
        assert!(
            output.status.success(),
            "{scenario}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// A daemon that answers the protocol, and where. `oip` is added to `[oip]`, `more` to the rest.
fn serve(lab: &Lab, recipe: &str, oip: &str, more: &str) -> (Daemon, String) {
    let address = free_address();
    let release = lab.release(recipe);
    let config = format!("[oip]\nlisten = \"{address}\"\n{oip}\n{more}");
    let daemon = lab.device("a", &release, &config).run();
    (daemon, address)
}

fn free_address() -> String {
    free_endpoint().trim_start_matches("tcp/").to_owned()
}

fn given(url: &str, more: Value) -> Value {
    let mut given = json!({
        "url": url,
        "model": "classify-angle",
        "shape": SHAPE,
        "output": OUTPUT,
    });
    for (key, value) in more.as_object().unwrap() {
        given[key] = value.clone();
    }
    given
}

/// What the model itself makes of these elements.
fn reference(elements: &[f32]) -> Vec<f32> {
    let bytes = fs::read(environment().model("classify-angle")).unwrap();
    let models = Models::new(Options::default());
    let model = models.load(Digest::of(&bytes), &bytes, &ModelOptions::default());
    let input = Tensor::from_f32(&SHAPE, elements.to_vec()).unwrap();
    let outputs = model.unwrap().run(&[("x", &input)]).unwrap();
    assert_eq!(outputs[0].0, OUTPUT);
    outputs[0].1.as_f32().unwrap().to_vec()
}

#[test]
fn models_and_the_pipeline_are_called_by_tritonclient() {
    let Some(python) = Python::get("models_and_the_pipeline_are_called_by_tritonclient") else {
        return;
    };
    let lab = Lab::new();
    let (daemon, url) = serve(&lab, &Lab::recipe("release.toml"), "", "");

    let found = python.call("describe", &given(&url, json!({ "pipeline": "label-reader" })));
    for form in ["http", "grpc"] {
        let found = &found[form];
        for ready in ["live", "ready", "model_ready", "version_ready"] {
            assert_eq!(found[ready], true, "{form} {ready}");
        }
        assert_eq!(found["other_version_ready"], false, "{form}");
        assert_eq!(found["server"]["name"], "hotshoe");
        assert_eq!(found["server"]["extensions"][0], "binary_tensor_data");
        assert_eq!(found["model"]["versions"], json!(["1"]));
        assert_eq!(found["model"]["inputs"][0]["name"], "x");
        assert_eq!(found["model"]["inputs"][0]["datatype"], "FP32");
        assert_eq!(found["model"]["outputs"][0]["name"], OUTPUT);
        assert_eq!(found["pipeline"]["platform"], "hotshoe_pipeline");
        assert_eq!(found["pipeline"]["inputs"][0]["datatype"], "BYTES");
        let names: Vec<_> = found["index"].as_array().unwrap().iter().collect();
        let names: Vec<_> = names.iter().map(|model| model["name"].clone()).collect();
        assert_eq!(
            names,
            ["classify-angle", "detect", "recognise", "label-reader"]
        );
    }
    // The protocol's JSON has numbers, that of gRPC in Python strings.
    assert_eq!(
        found["http"]["model"]["inputs"][0]["shape"],
        json!([-1, 3, -1, -1])
    );

    every_form_gives_the_same(&python, &url);
    the_pipeline_is_a_model(&python, &url, &daemon);
    refusals_are_in_the_protocols_form(&python, &url);
}

fn every_form_gives_the_same(python: &Python, url: &str) {
    let count: u16 = SHAPE.iter().map(|&size| size as u16).product();
    let elements: Vec<f32> = (0..count).map(|i| (f32::from(i) * 0.01).sin()).collect();
    let wanted = reference(&elements);
    let found = python.call("infer", &given(url, json!({ "elements": elements })));
    assert_eq!(found["id"], "seven");
    for form in [
        "binary",
        "json",
        "binary_to_json",
        "json_to_binary",
        "all_outputs",
        "grpc",
        "grpc_typed",
    ] {
        assert_eq!(found[form], found["binary"], "{form}");
        let values = found[form][OUTPUT].as_array().unwrap();
        assert_eq!(values.len(), wanted.len(), "{form}");
        for (value, wanted) in values.iter().zip(&wanted) {
            let difference = value.as_f64().unwrap() - f64::from(*wanted);
            assert!(difference.abs() < 1e-4, "{form}: {value} {wanted}");
        }
    }
}

fn the_pipeline_is_a_model(python: &Python, url: &str, daemon: &Daemon) {
    let page = environment().picture("page.png");
    let more = json!({ "pipeline": "label-reader", "file": page, "content_type": "image/png" });
    let found = python.call("pipeline", &given(url, more));
    for answer in found["answers"].as_array().unwrap() {
        assert_eq!(lines(&answer["insight"]).len(), 5);
        assert!(!answer["actions"].as_array().unwrap().is_empty());
    }
    assert_eq!(found["one"], json!(["actions"]));
    assert_eq!(found["actions"], found["answers"][0]["actions"]);
    assert_eq!(found["no_picture"]["status"], "400");
    assert_eq!(found["two_samples"]["status"], "400");
    assert_eq!(found["bad_id"]["status"], "400");
    // Each sample that was taken is counted as one that came over Zenoh: three pages, no picture, and a bad id.
    let counters = daemon.status().counters;
    assert_eq!((counters.accepted, counters.results), (5, 3));
    assert_eq!(counters.faults["invalid_sample_id"], 1);
    assert!(counters.add_up());
}

fn refusals_are_in_the_protocols_form(python: &Python, url: &str) {
    let found = python.call("errors", &given(url, json!({})));
    let wanted = [
        ("unknown_model", "404", "NOT_FOUND", "there is no model \"nothing\""),
        ("unknown_version", "404", "NOT_FOUND", "version \"1\" serves"),
        ("wrong_type", "400", "INVALID_ARGUMENT", "takes f32, but the tensor is f64"),
        ("wrong_shape", "400", "INVALID_ARGUMENT", "has shape [?, 3, ?, ?]"),
        ("wrong_bytes", "400", "INVALID_ARGUMENT", "bytes, but there are"),
        ("unknown_input", "400", "INVALID_ARGUMENT", "has no input \"y\""),
        ("unknown_output", "400", "INVALID_ARGUMENT", "there is no output \"y\""),
        ("unknown_type", "400", "INVALID_ARGUMENT", "\"UINT16\" is not handled"),
        ("sample_for_a_model", "400", "INVALID_ARGUMENT", "\"BYTES\" is not handled"),
        ("sequence", "400", "INVALID_ARGUMENT", "sequences are not supported"),
        ("metadata", "404", "NOT_FOUND", "there is no model \"nothing\""),
        ("not_there", "404", "UNIMPLEMENTED", ""),
    ];
    for (case, status, code, message) in wanted {
        for (form, status) in [("http", status.to_owned()), ("grpc", format!("StatusCode.{code}"))] {
            let error = &found[form][case];
            assert_eq!(error["status"], *status, "{form} {case}: {error}");
            let said = error["message"].as_str().unwrap();
            assert!(said.contains(message), "{form} {case}: {said}");
        }
    }
}

#[test]
fn without_the_token_nobody_is_answered() {
    let Some(python) = Python::get("without_the_token_nobody_is_answered") else {
        return;
    };
    let lab = Lab::new();
    fs::write(lab.path("token"), "correct-horse-battery-staple\n").unwrap();
    let recipe = Lab::recipe("classify-angle.toml");
    let (_daemon, url) = serve(&lab, &recipe, "token-file = \"token\"", "");
    for (headers, http, grpc) in [
        (json!(null), "401", "StatusCode.UNAUTHENTICATED"),
        (
            json!({ "authorization": "Bearer correct-horse-battery-stable" }),
            "401",
            "StatusCode.UNAUTHENTICATED",
        ),
        (
            json!({ "authorization": "Bearer correct-horse-battery-staple" }),
            "answered",
            "answered",
        ),
    ] {
        let found = python.call("callers", &given(&url, json!({ "headers": headers })));
        assert_eq!(found["http"]["status"], http, "{found}");
        assert_eq!(found["grpc"]["status"], grpc, "{found}");
    }
}

/// A certificate authority, with what it signed in a folder.
struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self {
            folder: folder.to_owned(),
            issuer,
        }
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[test]
fn with_mutual_tls_only_our_callers_are_answered() {
    let Some(python) = Python::get("with_mutual_tls_only_our_callers_are_answered") else {
        return;
    };
    let lab = Lab::new();
    let (ours, theirs) = (
        Authority::new(&lab.path("ours")),
        Authority::new(&lab.path("theirs")),
    );
    ours.issue("device");
    ours.issue("caller");
    theirs.issue("caller");
    let tls = "[oip.tls]\ncertificate = \"ours/device.pem\"\nkey = \"ours/device.key\"\nclient-ca = \"ours/ca.pem\"";
    let (_daemon, url) = serve(&lab, &Lab::recipe("classify-angle.toml"), tls, "");
    let port = url.rsplit_once(':').unwrap().1;
    let call = |certificate: Option<&Authority>| {
        let mut tls = json!({ "ca": ours.folder.join("ca.pem") });
        if let Some(authority) = certificate {
            tls["certificate"] = json!(authority.folder.join("caller.pem"));
            tls["key"] = json!(authority.folder.join("caller.key"));
        }
        let url = format!("localhost:{port}");
        python.call("callers", &given(&url, json!({ "tls": tls })))
    };
    for form in ["http", "grpc"] {
        assert_eq!(call(Some(&ours))[form]["status"], "answered", "{form}");
        assert_ne!(call(Some(&theirs))[form]["status"], "answered", "{form}");
        assert_ne!(call(None)[form]["status"], "answered", "{form}");
    }
}

#[test]
fn what_is_too_large_too_much_or_too_slow_is_refused() {
    let Some(python) = Python::get("what_is_too_large_too_much_or_too_slow_is_refused") else {
        return;
    };
    let lab = Lab::new();
    let recipe = Lab::recipe("hostile.toml").replace("deadline-ms = 500", "deadline-ms = 4000");
    let oip = "max-body-mib = 1\nmax-requests = 1";
    let (daemon, url) = serve(&lab, &recipe, oip, "[workers]\nthreads = 1");
    let found = python.call("limits", &given(&url, json!({ "pipeline": "hostile" })));
    let wanted = [
        ("large_http", "413", "oip.max-body-mib"),
        ("large_grpc", "StatusCode.OUT_OF_RANGE", ""),
        ("busy_http", "503", "oip.max-requests"),
        ("busy_grpc", "StatusCode.RESOURCE_EXHAUSTED", "oip.max-requests"),
        ("slow", "504", "deadline"),
        ("late_http", "504", "in time"),
        ("late_grpc", "StatusCode.DEADLINE_EXCEEDED", "in time"),
    ];
    for (case, status, message) in wanted {
        let error = &found[case];
        assert_eq!(error["status"], status, "{case}: {found}");
        let said = error["message"].as_str().unwrap();
        assert!(said.contains(message), "{case}: {said}");
    }
    assert_eq!(found["ready_meanwhile"], json!([true, true]));
    // Those that were given up ended all the same, and are counted.
    while daemon.status().counters.in_flight > 0 {}
    let counters = daemon.status().counters;
    assert_eq!(counters.faults["deadline"], 3);
    assert!(counters.add_up());
}

/// Writes bytes to a server and reads what it says until it ends the connection.
fn raw(url: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(url).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A connection that is reset has ended too.
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn web_pages_and_silent_callers_get_nothing() {
    let lab = Lab::new();
    let (_daemon, url) = serve(&lab, &Lab::recipe("classify-angle.toml"), "", "");
    let get = |more: &str| {
        let request = format!("GET /v2/health/live HTTP/1.1\r\n{more}Connection: close\r\n\r\n");
        raw(&url, &request)
    };
    assert!(get("Host: localhost\r\n").starts_with("HTTP/1.1 200"));
    assert!(get("Host: [::1]:8000\r\n").starts_with("HTTP/1.1 200"));
    let refused = get("Host: rebound.example\r\n");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert!(refused.contains("{\"error\":\"without a token"), "{refused}");
    let page = get("Host: localhost\r\nOrigin: https://page.example\r\n");
    assert!(page.starts_with("HTTP/1.1 403"), "{page}");
    let method = "DELETE /v2/models/classify-angle HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(raw(&url, method).starts_with("HTTP/1.1 405"));
    // The daemon ends what does not come to a request.
    assert_eq!(raw(&url, ""), "");
    assert!(!raw(&url, "GET /v2 HTTP/1.1\r\nHost: local").contains("200"));
}

#[test]
fn requests_in_flight_are_answered_before_the_end() {
    let Some(python) = Python::get("requests_in_flight_are_answered_before_the_end") else {
        return;
    };
    let lab = Lab::new();
    let recipe = Lab::recipe("hostile.toml").replace("deadline-ms = 500", "deadline-ms = 3000");
    let more = "[drain]\ndeadline-ms = 60000\n[workers]\nthreads = 1";
    let (daemon, url) = serve(&lab, &recipe, "", more);
    let given = given(&url, json!({ "pipeline": "hostile", "payload": "loop" }));
    let mut caller = python.command("one", &given);
    let caller = caller.stdout(Stdio::piped()).spawn().unwrap();
    while daemon.status().counters.in_flight == 0 {
        assert!(daemon.status().counters.accepted == 0, "the loop ended");
    }
    daemon.signal(Signal::TERM);
    let output = caller.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["status"], "504", "{answer}");
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn beyond_loopback_callers_must_prove_who_they_are() {
    let lab = Lab::new();
    let release = lab.release(&Lab::recipe("classify-angle.toml"));
    let device = lab.device("a", &release, "");
    let config = device.config.display().to_string();
    let text = fs::read_to_string(&device.config).unwrap();
    let refused = |oip: &str| {
        fs::write(&device.config, format!("{text}[oip]\n{oip}\n")).unwrap();
        failure(["run", "--config", &config])
    };
    let open = refused("listen = \"0.0.0.0:8000\"");
    assert!(open.starts_with("invalid_config"), "{open}");
    assert!(open.contains("could run the device's models"), "{open}");
    let readable = refused("listen = \"0.0.0.0:8000\"\ntoken-file = \"token\"");
    assert!(readable.contains("can read the token"), "{readable}");
    let missing = refused("token-file = \"token\"");
    assert!(missing.contains("correct `oip.token-file`"), "{missing}");
    fs::write(lab.path("token"), "short").unwrap();
    let short = refused("token-file = \"token\"");
    assert!(short.contains("openssl rand"), "{short}");
}
