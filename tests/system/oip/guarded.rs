//! Who is let in, how much, how many and for how long.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::thread;

use hotshoe_tests::{Authority, Issued, until};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Python, given, serve};
use crate::support::{DEADLINE, Workspace, failure};

#[test]
fn without_the_token_nobody_is_answered() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    fs::write(workspace.path("token"), "correct-horse-battery-staple\n").unwrap();
    let recipe = Workspace::recipe("classify-angle.toml");
    let (_daemon, url) = serve(&workspace, &recipe, "token-file = \"token\"", "");
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

#[test]
fn with_mutual_tls_only_our_callers_are_answered() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    let (ours, theirs) = (
        Authority::new(&workspace.path("ours")),
        Authority::new(&workspace.path("theirs")),
    );
    ours.issue("device");
    let (known, unknown) = (ours.issue("caller"), theirs.issue("caller"));
    let tls = "[oip.tls]\ncertificate = \"ours/device.pem\"\nkey = \"ours/device.key\"\nclient-ca = \"ours/ca.pem\"";
    let (_daemon, url) = serve(
        &workspace,
        &Workspace::recipe("classify-angle.toml"),
        tls,
        "",
    );
    let port = url.rsplit_once(':').unwrap().1;
    let call = |caller: Option<&Issued>| {
        let mut tls = json!({ "ca": ours.ca() });
        if let Some(issued) = caller {
            tls["certificate"] = json!(issued.certificate);
            tls["key"] = json!(issued.key);
        }
        let url = format!("localhost:{port}");
        python.call("callers", &given(&url, json!({ "tls": tls })))
    };
    for form in ["http", "grpc"] {
        assert_eq!(call(Some(&known))[form]["status"], "answered", "{form}");
        assert_ne!(call(Some(&unknown))[form]["status"], "answered", "{form}");
        assert_ne!(call(None)[form]["status"], "answered", "{form}");
    }
}

#[test]
fn what_is_too_large_too_much_or_too_slow_is_refused() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    let recipe =
        Workspace::recipe("hostile.toml").replace("deadline-ms = 500", "deadline-ms = 4000");
    let oip = "max-body-mib = 1\nmax-requests = 1";
    let (daemon, url) = serve(&workspace, &recipe, oip, "[workers]\nthreads = 1");
    let found = python.call("limits", &given(&url, json!({ "pipeline": "hostile" })));
    let wanted = [
        ("large_http", "413", "oip.max-body-mib"),
        (
            "large_grpc",
            "StatusCode.RESOURCE_EXHAUSTED",
            "oip.max-body-mib",
        ),
        (
            "large_name",
            "StatusCode.RESOURCE_EXHAUSTED",
            "too large for this method",
        ),
        ("busy_http", "503", "oip.max-requests"),
        (
            "busy_grpc",
            "StatusCode.RESOURCE_EXHAUSTED",
            "oip.max-requests",
        ),
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
    until("nothing is in flight", || {
        daemon.status().counters.in_flight == 0
    });
    let counters = daemon.status().counters;
    assert_eq!(counters.faults["deadline"], 4);
    assert!(counters.add_up());
}

/// Writes bytes to a server and reads what it says until it ends the connection.
pub(crate) fn raw(url: &str, request: &str) -> String {
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
    let workspace = Workspace::new();
    let (_daemon, url) = serve(
        &workspace,
        &Workspace::recipe("classify-angle.toml"),
        "",
        "",
    );
    let get = |more: &str| {
        let request = format!("GET /v2/health/live HTTP/1.1\r\n{more}Connection: close\r\n\r\n");
        raw(&url, &request)
    };
    assert!(get("Host: localhost\r\n").starts_with("HTTP/1.1 200"));
    assert!(get("Host: [::1]:8000\r\n").starts_with("HTTP/1.1 200"));
    let refused = get("Host: rebound.example\r\n");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert!(
        refused.contains("{\"error\":\"without a token"),
        "{refused}"
    );
    let page = get("Host: localhost\r\nOrigin: https://page.example\r\n");
    assert!(page.starts_with("HTTP/1.1 403"), "{page}");
    let method =
        "DELETE /v2/models/classify-angle HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(raw(&url, method).starts_with("HTTP/1.1 405"));
    let name = "GET /v2/models/%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let nothing = raw(&url, name);
    assert!(nothing.starts_with("HTTP/1.1 404"), "{nothing}");
    assert!(nothing.contains("{\"error\":"), "{nothing}");
    // The daemon ends what does not come to a request, in both protocols.
    let unfinished = ["", "GET /v2 HTTP/1.1\r\nHost: local", "PRI * HTTP/2.0\r\n"];
    let answers = unfinished.map(|start| {
        let url = url.clone();
        thread::spawn(move || raw(&url, start))
    });
    for answer in answers {
        let answer = answer.join().unwrap();
        assert!(!answer.contains("200"), "{answer}");
    }
}

#[test]
fn requests_in_flight_are_answered_before_the_end() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    let recipe =
        Workspace::recipe("hostile.toml").replace("deadline-ms = 500", "deadline-ms = 3000");
    let more = "[drain]\ndeadline-ms = 60000\n[workers]\nthreads = 1";
    let (daemon, url) = serve(&workspace, &recipe, "", more);
    let given = given(&url, json!({ "pipeline": "hostile", "payload": "loop" }));
    let mut caller = python.command("one", &given);
    let caller = caller.stdout(Stdio::piped()).spawn().unwrap();
    loop {
        let counters = daemon.status().counters;
        if counters.in_flight > 0 {
            break;
        }
        assert_eq!(counters.accepted, 0, "the loop ended");
    }
    daemon.signal(Signal::TERM);
    let output = caller.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["status"], "504", "{answer}");
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn beyond_loopback_callers_must_prove_who_they_are() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let device = workspace.device("a", &release, "");
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
    fs::write(workspace.path("token"), "short").unwrap();
    let short = refused("token-file = \"token\"");
    assert!(short.contains("openssl rand"), "{short}");
}
