//! Hostile HTTP/2 clients, frame by frame.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod server;

use std::io::{Read, Write};
use std::net::TcpStream;

use hotshoe_http::Limits;
use server::{SHORT, TestServer, is_end};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `INITIAL_WINDOW_SIZE = 0`: the server may not send a body.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];
/// The error code ENHANCE_YOUR_CALM.
const ENHANCE_YOUR_CALM: u32 = 11;

struct Peer {
    stream: TcpStream,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Peer {
    fn connect(server: &TestServer, settings: &[u8]) -> Self {
        let mut stream = server.connect();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        let mut peer = Self { stream };
        assert!(peer.send(SETTINGS, 0, 0, settings));
        peer
    }

    /// Sends a frame. Returns false if the connection is closed.
    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        match self.stream.write_all(&frame(kind, flags, stream, payload)) {
            Ok(()) => true,
            Err(error) => {
                assert!(is_end(&error), "{error}");
                false
            }
        }
    }

    /// Sends a GET request on a stream, without a body.
    fn get(&mut self, stream: u32, path: &str) -> bool {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &head(path))
    }

    /// The next frame; none if the connection is closed. Acknowledges pings and settings.
    fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        if let Err(error) = self.stream.read_exact(&mut head) {
            assert!(is_end(&error), "{error}");
            return None;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if self.stream.read_exact(&mut payload).is_err() {
            return None;
        }
        let frame = Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        };
        if frame.flags & ACK == 0 {
            match frame.kind {
                PING => drop(self.send(PING, ACK, 0, &frame.payload)),
                SETTINGS => drop(self.send(SETTINGS, ACK, 0, &[])),
                _ => {}
            }
        }
        Some(frame)
    }

    /// All frames until the connection is closed.
    fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The status of the next answer.
    fn status(&mut self) -> Vec<u8> {
        loop {
            let frame = self.next().expect("an answer");
            if frame.kind == HEADERS {
                return frame.payload;
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The head of a GET request: two fields of the static table, and two that are not indexed.
fn head(path: &str) -> Vec<u8> {
    let mut head = vec![0x82, 0x86];
    for (name, value) in [(4_u8, path), (1, "localhost")] {
        head.push(name);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.as_bytes());
    }
    head
}

fn code(frame: &Frame) -> u32 {
    u32::from_be_bytes(frame.payload[4..8].try_into().unwrap())
}

/// Limits with short timeouts.
fn short() -> Limits {
    Limits {
        first_request: SHORT,
        idle: SHORT,
        stall: SHORT,
        pong: SHORT,
        ..Limits::default()
    }
}

#[test]
fn it_works_with_prior_knowledge() {
    let server = TestServer::with(Limits::default());
    let mut peer = Peer::connect(&server, &[]);
    assert!(peer.get(1, "/"));
    // Status 200 is field 8 of the static table.
    assert_eq!(peer.status()[0], 0x88);
    drop(peer);
    server.close();
}

#[test]
fn an_idle_connection_is_closed_although_it_answers_pings() {
    let server = TestServer::with(short());
    let mut silent = Peer::connect(&server, &[]);
    let mut asked = Peer::connect(&server, &[]);
    assert!(asked.get(1, "/"));
    assert_eq!(asked.status()[0], 0x88);
    silent.rest();
    let frames = asked.rest();
    assert!(frames.iter().any(|frame| frame.kind == GOAWAY));
    server.close();
}

#[test]
fn an_answer_that_is_never_read_closes_its_connection_despite_other_requests() {
    let server = TestServer::with(short());
    let mut peer = Peer::connect(&server, &NO_WINDOW);
    assert!(peer.get(1, "/big"));
    peer.status();
    // It stays busy with answers without a body, and with pings.
    let mut stream = 3;
    while let Some(frame) = peer.next() {
        if frame.kind == PING && !peer.get(stream, "/wait") {
            break;
        }
        stream += 2;
    }
    server.wait_for(0);
    assert!(server.is_answering());
    server.close();
}

#[test]
fn requests_that_are_reset_at_once_close_the_connection() {
    let server = TestServer::with(Limits::default());
    let mut peer = Peer::connect(&server, &[]);
    // In one piece, so that many wait at once.
    let mut all = Vec::new();
    for stream in (1..4001).step_by(2) {
        all.extend(frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &head("/wait"),
        ));
        all.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
    }
    if let Err(error) = peer.stream.write_all(&all) {
        assert!(is_end(&error), "{error}");
    }
    let frames = peer.rest();
    let goaway = frames.iter().find(|frame| frame.kind == GOAWAY);
    assert!(goaway.is_none_or(|frame| code(frame) == ENHANCE_YOUR_CALM));
    server.wait_for(0);
    assert!(server.is_answering());
    server.close();
}

#[test]
fn an_endless_head_closes_the_connection() {
    let server = TestServer::with(Limits::default());
    let mut peer = Peer::connect(&server, &[]);
    assert!(peer.send(HEADERS, END_STREAM, 1, &head("/")));
    // A field of the name `x` that is not indexed, over and over.
    let mut field = vec![0, 1, b'x', 100];
    field.extend([b'y'; 100]);
    let piece = field.repeat(100);
    let mut sent = 0;
    while sent < 10_000 && peer.send(CONTINUATION, 0, 1, &piece) {
        sent += 1;
    }
    assert!(sent < 10_000, "100 MB of a head were accepted");
    server.wait_for(0);
    assert!(server.is_answering());
    server.close();
}

#[test]
fn concurrent_requests_of_a_connection_are_limited() {
    let server = TestServer::with(Limits {
        streams: 2,
        ..Limits::default()
    });
    let mut peer = Peer::connect(&server, &[]);
    // The settings announce the limit.
    while peer.next().unwrap().kind != SETTINGS {}
    for stream in [1, 3, 5] {
        assert!(peer.get(stream, "/wait"));
    }
    let refused = loop {
        let frame = peer.next().expect("a refusal");
        if frame.kind == RESET {
            break frame;
        }
    };
    // REFUSED_STREAM
    assert_eq!((refused.stream, refused.payload), (5, vec![0, 0, 0, 7]));
    server.released.notify_one();
    assert_eq!(peer.status()[0], 0x88);
    assert!(server.is_answering());
    drop(peer);
    server.close();
}

#[test]
fn a_stalled_body_times_out() {
    let server = TestServer::with(short());
    let mut peer = Peer::connect(&server, &[]);
    let mut post = head("/count");
    post[0] = 0x83;
    assert!(peer.send(HEADERS, END_HEADERS, 1, &post));
    assert!(peer.send(DATA, 0, 1, b"0123456789"));
    // Status 408 is not a field of the static table.
    let status = peer.status();
    assert_eq!(status[0] & 0xc0, 0x40);
    drop(peer);
    server.close();
}
