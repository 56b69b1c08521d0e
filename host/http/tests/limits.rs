//! Limits of clients: connections, time, heads and bodies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod server;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use hotshoe_http::Limits;
use server::{BIG, DEADLINE, SHORT, TestServer, answer, ask, connect, is_end, rest};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n";

fn connections(connections: usize) -> Limits {
    Limits {
        connections,
        ..Limits::default()
    }
}

/// Limits with short timeouts.
fn short() -> Limits {
    Limits {
        first_request: SHORT,
        idle: SHORT,
        stall: SHORT,
        ..Limits::default()
    }
}

#[test]
fn idle_connections_do_not_block_others() {
    let server = TestServer::with(connections(4));
    let idle: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    // It may take a moment until all of them are accepted and the oldest are closed.
    assert!(server.is_answering());
    assert!(server.front.connections() <= 4);
    // Connections with earlier requests are closed last.
    let mut known = server.connect();
    ask(&mut known, GET);
    answer(&mut known, "ok");
    let more: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    assert!(server.is_answering());
    ask(&mut known, GET);
    answer(&mut known, "ok");
    drop((idle, more));
    server.close();
}

#[test]
fn while_all_are_busy_a_new_connection_waits_and_none_is_closed() {
    let server = TestServer::with(connections(2));
    let mut busy = [server.connect(), server.connect()];
    for stream in &mut busy {
        ask(
            stream,
            "GET /wait HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
        );
    }
    server.wait_for(2);
    let mut third = server.connect();
    ask(&mut third, &format!("{GET}Connection: close\r\n"));
    // The new one is accepted when the first one is answered.
    server.released.notify_one();
    assert!(rest(&mut third).starts_with("HTTP/1.1 200"));
    server.released.notify_one();
    for stream in &mut busy {
        assert!(rest(stream).ends_with("waited"));
    }
    server.close();
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let server = TestServer::with(short());
    for start in [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: local",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(start.as_bytes()).unwrap();
        let said = rest(&mut stream);
        assert!(!said.contains("200"), "{start}: {said}");
    }
    // A connection with one request and no more.
    let mut stream = server.connect();
    ask(&mut stream, GET);
    answer(&mut stream, "ok");
    assert_eq!(rest(&mut stream), "");
    // A connection with one request, and a second head that never ends.
    let mut stream = server.connect();
    ask(&mut stream, GET);
    answer(&mut stream, "ok");
    trickle(stream, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ");
    trickle(
        server.connect(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
    );
    server.wait_for(0);
    server.close();
}

/// Sends a start, and then single bytes, until the other end closes the connection.
fn trickle(mut stream: TcpStream, start: &[u8]) {
    let started = Instant::now();
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    stream.write_all(start).unwrap();
    let mut buffer = [0; 1024];
    loop {
        assert!(started.elapsed() < DEADLINE, "it is still connected");
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if is_end(&error) => return,
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            ),
        }
        if let Err(error) = stream.write_all(b"x") {
            assert!(is_end(&error), "{error}");
            return;
        }
    }
}

#[test]
fn stalled_bodies_and_unread_answers_time_out() {
    let server = TestServer::with(short());
    let mut stalled = server.connect();
    ask(
        &mut stalled,
        "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n",
    );
    stalled.write_all(b"0123456789").unwrap();
    assert!(rest(&mut stalled).starts_with("HTTP/1.1 408"));
    // A truncated body is a different error.
    let mut broken = server.connect();
    ask(
        &mut broken,
        "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n",
    );
    broken.write_all(b"0123456789").unwrap();
    broken.shutdown(Shutdown::Write).unwrap();
    assert!(!rest(&mut broken).contains("408"));
    // The client does not read the answer.
    let mut silent = server.connect();
    ask(&mut silent, "GET /big HTTP/1.1\r\nHost: localhost\r\n");
    server.wait_for(1);
    server.wait_for(0);
    assert!(rest(&mut silent).len() < BIG);
    assert!(server.is_answering());
    server.close();
}

#[test]
fn heads_are_limited_and_pipelined_requests_are_answered_in_order() {
    let server = TestServer::with(Limits::default());
    let large = format!("{GET}X: {}\r\n", "x".repeat(100_000));
    let refused = server.get(&large);
    assert!(
        refused.is_empty() || refused.starts_with("HTTP/1.1 431"),
        "{refused}"
    );
    let many = format!("{GET}{}", "X: x\r\n".repeat(101));
    assert!(server.get(&many).starts_with("HTTP/1.1 431"));
    let mut stream = server.connect();
    let one = format!("{GET}\r\n");
    stream.write_all(one.repeat(50).as_bytes()).unwrap();
    for _ in 0..50 {
        assert!(answer(&mut stream, "ok").starts_with("HTTP/1.1 200"));
    }
    assert!(server.is_answering());
    server.close();
}

#[test]
fn protocol_upgrades_are_ignored() {
    let server = TestServer::with(Limits::default());
    for upgrade in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    ] {
        let mut stream = server.connect();
        ask(&mut stream, &format!("{GET}{upgrade}"));
        assert!(
            answer(&mut stream, "ok").starts_with("HTTP/1.1 200"),
            "{upgrade}"
        );
    }
    let tunnel = server.get("CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n");
    assert!(!tunnel.contains("101"), "{tunnel}");
    assert!(server.is_answering());
    server.close();
}

#[test]
fn a_closing_server_drops_idle_connections_and_answers_the_others() {
    let server = TestServer::with(Limits::default());
    let mut idle = server.connect();
    ask(&mut idle, GET);
    answer(&mut idle, "ok");
    let mut silent = server.connect();
    let mut busy = server.connect();
    ask(&mut busy, "GET /wait HTTP/1.1\r\nHost: localhost\r\n");
    server.wait_for(3);
    server.wait_for_request();
    server.front.close();
    assert_eq!(rest(&mut idle), "");
    assert_eq!(rest(&mut silent), "");
    let started = Instant::now();
    while TcpStream::connect(server.front.address()).is_ok() {
        assert!(started.elapsed() < DEADLINE, "it still listens");
    }
    server.released.notify_one();
    assert!(rest(&mut busy).ends_with("waited"));
    server.close();
}

/// If this is set, the test is the process without free file descriptors.
const STARVED: &str = "HOTSHOE_TEST_STARVED";

#[test]
fn a_process_without_file_descriptors_answers_again() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    if std::env::var_os(STARVED).is_some() {
        let server = TestServer::with(connections(1000));
        let limit = Rlimit {
            current: Some(32),
            maximum: Some(32),
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        println!("\n{}", server.front.address());
        // The end of standard input is the end of the test.
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_process_without_file_descriptors_answers_again",
            "--nocapture",
        ])
        .env(STARVED, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| line.unwrap().parse().ok()).unwrap();
    let idle: Vec<TcpStream> = (0..100).map(|_| connect(address)).collect();
    let mut stream = connect(address);
    ask(&mut stream, &format!("{GET}Connection: close\r\n"));
    assert!(rest(&mut stream).starts_with("HTTP/1.1 200"));
    drop(idle);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
