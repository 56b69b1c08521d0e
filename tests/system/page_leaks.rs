//! The page of the device under a data contract: components try to let a text and a picture out through its stream and its paths.

use std::io::{Read, Write};
use std::net::TcpStream;

use hotshoe_vision::{Budget, DecodeLimits, DecodeOptions, decode_with};
use serde_json::json;

use crate::egress::{MARKER, WITHHELD, recipe};
use crate::masks::{self, PUBLIC};
use crate::oip::{free_address, raw};
use crate::support::{DEADLINE, Daemon, Workspace};

/// Samples and insights may be recorded, as far as their class allows.
const OPEN: &str = "[data-contract]\nrecord = [\"sample\", \"insight\"]\n";

/// A contract whose pictures and insights have a class with these keys.
fn people(class: &str) -> String {
    format!(
        "{OPEN}outputs = {{ picture = \"people\", insight = \"people\" }}\n[data-contract.classes.people]\nsensitivity = \"personal\"\n{class}\n"
    )
}

/// What an open page has seen.
struct Viewed {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Viewed {
    /// Opens the stream, and waits until outputs get there.
    fn open(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
            .write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut viewed = Self {
            stream,
            seen: Vec::new(),
        };
        viewed.read_until("event: status\ndata: {", 1);
        viewed
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads until the stream had this text so many times.
    fn read_until(&mut self, text: &str, times: usize) {
        let mut piece = [0; 4096];
        while self.text().matches(text).count() < times {
            let read = self.stream.read(&mut piece).unwrap();
            assert!(read > 0, "the stream ended without {text}: {}", self.text());
            self.seen.extend(&piece[..read]);
        }
    }
}

fn get(address: &str, path: &str) -> String {
    raw(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
    )
}

/// Feeds the marker by these ways, one after the other, as samples of a media type that a page shows. Once they are answered, what the page gets
/// of them waits for it.
fn feed(daemon: &Daemon, ways: &[&str]) {
    let feeder = daemon.feeder(1);
    for way in ways {
        let payload = format!("{way} {MARKER}").into_bytes();
        feeder.send("camera", "image/png", way, payload).unwrap();
        feeder.next(DEADLINE).expect("an answer");
    }
}

/// The bytes of an answer behind its head.
fn body(address: &str, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let mut ends = answer.windows(4);
    let end = ends.position(|it| it == b"\r\n\r\n").unwrap();
    answer.split_off(end + 4)
}

fn run(workspace: &Workspace, contract: &str) -> (Daemon, String) {
    run_recipe(workspace, &recipe(contract))
}

fn run_recipe(workspace: &Workspace, recipe: &str) -> (Daemon, String) {
    let release = workspace.release(recipe);
    let address = free_address();
    let more = format!(
        "[page]\nlisten = \"{address}\"\npictures = true\n[record]\nallow = [\"sample\", \"insight\"]\n"
    );
    (workspace.device("cam", &release, &more).run(), address)
}

#[test]
fn nothing_of_a_class_that_never_leaves_gets_to_the_page() {
    let workspace = Workspace::new();
    let (daemon, address) = run(&workspace, &people("upload = \"never\""));
    let mut viewed = Viewed::open(&address);
    feed(&daemon, &["keep", "fail", "panic", "fail-policy"]);
    // Outputs keep their order: nothing before it is still to come.
    feed(&daemon, &["fail"]);
    viewed.read_until("event: failure\ndata: {", 4);
    viewed.read_until("\"failed\":4", 1);
    let seen = viewed.text();
    for event in ["insight", "action", "picture"] {
        assert!(!seen.contains(&format!("event: {event}\n")), "{seen}");
    }
    assert!(seen.matches(WITHHELD).count() >= 4, "{seen}");
    let kept_back = daemon.status().kept_back;
    let kept_back = &kept_back["people"];
    for output in ["insight", "action", "topic:told"] {
        assert_eq!(kept_back[output], 1, "{output}: {kept_back:?}");
    }
    let paths = ["status", "releases", "history", "picture/0", "picture/1"];
    let answers = paths.map(|path| get(&address, &format!("/api/{path}")));
    assert!(answers[0].starts_with("HTTP/1.1 200"), "{}", answers[0]);
    assert!(answers[3].starts_with("HTTP/1.1 404"), "{}", answers[3]);
    for text in answers.iter().chain([&seen]) {
        assert!(!text.contains(MARKER), "{text}");
    }
}

#[test]
fn a_picture_stays_although_the_insight_may_leave() {
    let workspace = Workspace::new();
    let contract = format!(
        "{OPEN}outputs = {{ picture = \"people\", insight = \"counts\" }}\n[data-contract.classes.people]\nupload = \"never\"\n\
         [data-contract.classes.counts]\nupload = \"yes\"\n"
    );
    let (daemon, address) = run(&workspace, &contract);
    let mut viewed = Viewed::open(&address);
    feed(&daemon, &["keep"]);
    viewed.read_until("event: insight\ndata: {", 1);
    feed(&daemon, &["fail"]);
    viewed.read_until("event: failure\ndata: {", 1);
    let seen = viewed.text();
    assert!(seen.contains(MARKER), "{seen}");
    assert!(!seen.contains("event: picture\n"), "{seen}");
    assert!(get(&address, "/api/picture/0").starts_with("HTTP/1.1 404"));
}

#[test]
fn a_picture_on_the_page_has_no_pixel_under_a_mask() {
    let workspace = Workspace::new();
    let release = masks::recipe("measure", "", &format!("{OPEN}{}", masks::privacy("*")));
    let (daemon, address) = run_recipe(&workspace, &release);
    let mut viewed = Viewed::open(&address);
    let feeder = daemon.feeder(1);
    feeder
        .send("yard", "image/png", "one", masks::png())
        .unwrap();
    assert!(feeder.next(DEADLINE).expect("an answer").result.is_ok());
    viewed.read_until("event: picture\ndata: {", 1);
    let picture = body(&address, "/api/picture/0");
    let (options, limits) = (DecodeOptions::default(), DecodeLimits::default());
    let shown = decode_with(&picture, &options, &limits, &Budget::unlimited()).unwrap();
    assert_eq!(shown.pixels(), [[0; 3], PUBLIC].concat());
}

/// What the other tests would see, if a way were open.
#[test]
fn the_page_shows_what_may_leave() {
    let workspace = Workspace::new();
    let (daemon, address) = run(&workspace, OPEN);
    let mut viewed = Viewed::open(&address);
    feed(&daemon, &["keep"]);
    viewed.read_until("event: insight\ndata: {", 1);
    viewed.read_until("event: action\ndata: {", 1);
    viewed.read_until("event: picture\ndata: {", 1);
    feed(&daemon, &["fail"]);
    viewed.read_until("event: failure\ndata: {", 1);
    let seen = viewed.text();
    // In the insight, the alert and the message of the failure.
    assert!(seen.matches(MARKER).count() >= 3, "{seen}");
    assert!(!seen.contains(WITHHELD), "{seen}");
    let about = json!({ "id": "keep", "number": 0 }).to_string();
    assert!(seen.contains(&about), "no {about} in {seen}");
    let picture = get(&address, "/api/picture/0");
    assert!(picture.contains("content-type: image/png"), "{picture}");
    assert!(picture.contains(&format!("keep {MARKER}")), "{picture}");
}
