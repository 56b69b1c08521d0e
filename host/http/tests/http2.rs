//! HTTP/2 as it is spoken by those who mean no good, frame by frame.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod door;

use std::io::{Read, Write};
use std::net::TcpStream;

use door::{Door, SHORT, is_end};
use hotshoe_http::Limits;

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

/// `INITIAL_WINDOW_SIZE = 0`: no answer's body may be sent.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];
/// The error code of a peer that is told to calm down.
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
    fn connect(door: &Door, settings: &[u8]) -> Self {
        let mut stream = door.connect();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        let mut peer = Self { stream };
        assert!(peer.send(SETTINGS, 0, 0, settings));
        peer
    }

    /// Whether it could be sent.
    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        match self.stream.write_all(&frame(kind, flags, stream, payload)) {
            Ok(()) => true,
            Err(error) => {
                assert!(is_end(&error), "{error}");
                false
            }
        }
    }

    /// Asks for a path on a stream, with nothing after the head.
    fn get(&mut self, stream: u32, path: &str) -> bool {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &head(path))
    }

    /// The next frame, or none where the other end has ended the connection. Answers what keeps a connection alive.
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

    /// All that comes until the other end has ended the connection.
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

/// Limits of time that pass soon.
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
fn it_is_spoken_without_a_word_before() {
    let door = Door::with(Limits::default());
    let mut peer = Peer::connect(&door, &[]);
    assert!(peer.get(1, "/"));
    // Status 200 is field 8 of the static table.
    assert_eq!(peer.status()[0], 0x88);
    drop(peer);
    door.close();
}

#[test]
fn an_idle_connection_is_told_to_go_although_it_answers_pings() {
    let door = Door::with(short());
    let mut silent = Peer::connect(&door, &[]);
    let mut asked = Peer::connect(&door, &[]);
    assert!(asked.get(1, "/"));
    assert_eq!(asked.status()[0], 0x88);
    silent.rest();
    let frames = asked.rest();
    assert!(frames.iter().any(|frame| frame.kind == GOAWAY));
    door.close();
}

#[test]
fn an_answer_that_is_never_taken_ends_its_connection_whatever_else_is_asked() {
    let door = Door::with(short());
    let mut peer = Peer::connect(&door, &NO_WINDOW);
    assert!(peer.get(1, "/big"));
    peer.status();
    // It stays busy with answers that have no body to be taken, and with pings.
    let mut stream = 3;
    while let Some(frame) = peer.next() {
        if frame.kind == PING && !peer.get(stream, "/wait") {
            break;
        }
        stream += 2;
    }
    door.wait_for(0);
    assert!(door.is_answering());
    door.close();
}

#[test]
fn requests_that_are_taken_back_at_once_end_the_connection() {
    let door = Door::with(Limits::default());
    let mut peer = Peer::connect(&door, &[]);
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
    let told = frames.iter().find(|frame| frame.kind == GOAWAY);
    assert!(told.is_none_or(|frame| code(frame) == ENHANCE_YOUR_CALM));
    door.wait_for(0);
    assert!(door.is_answering());
    door.close();
}

#[test]
fn a_head_without_end_ends_the_connection() {
    let door = Door::with(Limits::default());
    let mut peer = Peer::connect(&door, &[]);
    assert!(peer.send(HEADERS, END_STREAM, 1, &head("/")));
    // A field of the name `x` that is not indexed, over and over.
    let mut field = vec![0, 1, b'x', 100];
    field.extend([b'y'; 100]);
    let piece = field.repeat(100);
    let mut sent = 0;
    while sent < 10_000 && peer.send(CONTINUATION, 0, 1, &piece) {
        sent += 1;
    }
    assert!(sent < 10_000, "100 MB of a head were taken");
    door.wait_for(0);
    assert!(door.is_answering());
    door.close();
}

#[test]
fn a_connection_has_so_many_requests_at_once_and_no_more() {
    let door = Door::with(Limits {
        streams: 2,
        ..Limits::default()
    });
    let mut peer = Peer::connect(&door, &[]);
    // The settings say how many there may be.
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
    door.released.notify_one();
    assert_eq!(peer.status()[0], 0x88);
    assert!(door.is_answering());
    drop(peer);
    door.close();
}

#[test]
fn a_body_that_does_not_arrive_is_given_up() {
    let door = Door::with(short());
    let mut peer = Peer::connect(&door, &[]);
    let mut post = head("/count");
    post[0] = 0x83;
    assert!(peer.send(HEADERS, END_HEADERS, 1, &post));
    assert!(peer.send(DATA, 0, 1, b"0123456789"));
    // Status 408 is no field of the static table.
    let status = peer.status();
    assert_eq!(status[0] & 0xc0, 0x40);
    drop(peer);
    door.close();
}
