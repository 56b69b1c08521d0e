//! The page of a real daemon, by its requests: what it shows to whom, its stream, and its orders.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::oip::{free_address, raw};
use super::site::{Site, light, recipe, settled_on};
use super::support::DEADLINE;

const TOKEN: &str = "correct-horse-battery-staple";

/// A request with these lines in its head.
fn ask(address: &str, method: &str, path: &str, head: &str, body: &str) -> String {
    let length = body.len();
    raw(
        address,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    )
}

pub(crate) fn get(address: &str, path: &str, head: &str) -> String {
    ask(address, "GET", path, head, "")
}

fn with_token() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

pub(crate) fn status_of(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

pub(crate) fn json_of(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Reads the stream until it has this text.
fn read_until(stream: &mut TcpStream, seen: &mut String, text: &str) {
    let mut piece = [0; 4096];
    while !seen.contains(text) {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the stream ended without {text}: {seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
}

#[test]
fn the_files_of_the_page_need_no_token_and_its_data_does() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    fs::write(site.workspace.path("token"), TOKEN).unwrap();
    let address = free_address();
    let config = format!("[page]\nlisten = \"{address}\"\ntoken-file = \"token\"");
    let _daemon = site.device("cam", &installed, &config).run();
    for path in ["/", "/app.js", "/page.css"] {
        let file = get(&address, path, "");
        assert_eq!(status_of(&file), "200", "{path}: {file}");
        assert!(file.contains("content-security-policy: default-src 'none'"));
    }
    for path in [
        "/api/status",
        "/api/events",
        "/api/history",
        "/api/releases",
    ] {
        let refused = get(&address, path, "");
        assert_eq!(status_of(&refused), "401", "{path}: {refused}");
        assert_eq!(json_of(&refused)["name"], "unauthenticated");
    }
    let shown = json_of(&get(&address, "/api/status", &with_token()));
    assert_eq!(shown["device"], "cam");
    assert_eq!(shown["release"]["generation"], 1);
}

#[test]
fn without_a_token_the_page_shows_and_gives_no_orders() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let address = free_address();
    let config = format!("[page]\nlisten = \"{address}\"");
    let daemon = site.device("cam", &installed, &config).run();
    let answer = |method: &str, path: &str, body: &str| {
        let answer = ask(&address, method, path, "", body);
        (status_of(&answer).to_owned(), json_of(&answer))
    };
    let (code, releases) = answer("GET", "/api/releases", "");
    assert_eq!(
        (code.as_str(), &releases["may_order"]),
        ("200", &json!(false))
    );
    let live = releases["slots"]["live"]["release"].as_str().unwrap();
    assert_eq!(releases["documents"][live]["name"], "light");

    let order = json!({ "release": live }).to_string();
    let other = format!("sha256:{}", "0".repeat(64));
    for (method, path, body, code, name) in [
        (
            "POST",
            "/api/rollback",
            order.as_str(),
            "403",
            "token_required",
        ),
        (
            "POST",
            "/api/activate",
            order.as_str(),
            "403",
            "token_required",
        ),
        ("GET", "/api/rollback", "", "405", "wrong_method"),
        ("GET", "/api/nothing", "", "404", "not_found"),
        ("GET", "/api/history?span=year", "", "400", "unknown_span"),
        ("GET", "/api/diff?from=x&to=y", "", "400", "no_digests"),
        ("GET", "/api/picture/0", "", "404", "no_picture"),
    ] {
        let (found, body) = answer(method, path, body);
        assert_eq!(
            (found.as_str(), &body["name"]),
            (code, &json!(name)),
            "{path}"
        );
    }
    let (code, body) = answer("GET", &format!("/api/diff?from={live}&to={other}"), "");
    assert_eq!(
        (code.as_str(), &body["name"]),
        ("404", &json!("not_in_slot"))
    );
    let (_, same) = answer("GET", &format!("/api/diff?from={live}&to={live}"), "");
    assert_eq!(same, json!({ "changes": [], "left_out": 0 }));
    let (code, history) = answer("GET", "/api/history?span=day", "");
    assert_eq!((code.as_str(), &history["slot_s"]), ("200", &json!(300)));
    // A page of another host, with a name that leads here, sees nothing.
    let foreign = get(
        &address,
        "/api/status",
        "Origin: http://rebound.example\r\n",
    );
    assert_eq!(status_of(&foreign), "403", "{foreign}");
    assert!(daemon.stop().success());
    let history = fs::metadata(site.workspace.path("cam-data/page-history")).unwrap();
    assert_eq!(history.len(), 185_024);
}

#[test]
fn the_status_and_outputs_come_over_one_stream_that_ends_with_the_daemon() {
    let site = Site::new();
    let installed = site.pack(&light(1, ""));
    let address = free_address();
    let config = format!("[page]\nlisten = \"{address}\"");
    let daemon = site.device("cam", &installed, &config).run();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
        .write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "event: status\ndata: {");
    assert!(seen.contains("content-type: text/event-stream"), "{seen}");
    daemon.feed(&[("seen", b"123".to_vec())]);
    read_until(&mut stream, &mut seen, "event: insight\ndata: {");
    read_until(&mut stream, &mut seen, "\"results\":1");
    assert!(daemon.stop().success());
    while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
}

#[test]
fn an_order_is_carried_out_if_its_user_saw_the_release_and_is_audited() {
    let mut site = Site::new();
    let installed = site.pack(&light(1, ""));
    fs::write(site.workspace.path("token"), TOKEN).unwrap();
    let address = free_address();
    let config = format!("[page]\nlisten = \"{address}\"\ntoken-file = \"token\"");
    let device = site.device("cam", &installed, &config);
    let daemon = device.run();
    let second = site.pack(&light(2, ""));
    site.publish(&second);
    let state = daemon.feed_until(settled_on(2));
    let digest = |place: &str| {
        state["slots"][place]["release"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (live, previous) = (digest("live"), digest("previous"));
    let changes = format!("/api/diff?from={previous}&to={live}");
    let changes = json_of(&get(&address, &changes, &with_token()));
    let mut paths = changes["changes"].as_array().unwrap().iter();
    assert!(
        paths.any(|change| change["path"] == json!(["generation"])),
        "{changes}"
    );

    let roll_back = |release: &str, head: &str| {
        let body = json!({ "release": release }).to_string();
        ask(&address, "POST", "/api/rollback", head, &body)
    };
    assert_eq!(status_of(&roll_back(&live, "")), "401");
    let stale = roll_back(&previous, &with_token());
    assert_eq!(json_of(&stale)["name"], "slots_changed");
    assert_eq!(daemon.status().release.unwrap().generation, 2);
    let done = roll_back(&live, &with_token());
    assert_eq!(status_of(&done), "200", "{done}");
    assert_eq!(json_of(&done)["now"]["generation"], 1, "{done}");
    daemon.wait_until(settled_on(1));
    let again = roll_back(&previous, &with_token());
    assert_eq!(status_of(&again), "409", "{again}");
}

#[test]
fn the_releases_of_a_trial_have_its_signers_and_the_progress_of_its_gate() {
    let mut site = Site::new();
    let installed = site.pack(&light(1, ""));
    let address = free_address();
    let config = format!("[page]\nlisten = \"{address}\"");
    let daemon = site.device("cam", &installed, &config).run();
    let gate = "min-samples = 1000\nmin-seconds = 0\nmax-latency-p95-ms = 60000\n";
    let second = site.pack(&recipe(2, gate, &[], ""));
    site.publish(&second);
    daemon.feed_until(|state| state["slots"]["trial"]["samples"].as_u64() >= Some(2));
    let releases = json_of(&get(&address, "/api/releases", ""));
    let trial = &releases["slots"]["trial"];
    assert_eq!(trial["wanted_samples"], 1000);
    assert_eq!(trial["slot"]["signers"], json!(["alice"]));
    assert_eq!(releases["slots"]["live"]["signers"], json!(["alice"]));
    assert_eq!(releases["health"]["samples"], trial["samples"]);
    assert_eq!(releases["health"]["errors"], 0);
    let document = &releases["documents"][trial["slot"]["release"].as_str().unwrap()];
    assert_eq!(document["health"]["max-latency-p95-ms"], 60_000);
    assert_eq!(document["health"]["max-error-rate"], 0.05);
}
