//! What others may use up of a door: connections, time, heads and bodies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod door;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use door::{BIG, DEADLINE, Door, SHORT, answer, ask, connect, is_end, rest};
use hotshoe_http::Limits;

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n";

fn connections(connections: usize) -> Limits {
    Limits {
        connections,
        ..Limits::default()
    }
}

/// Limits of time that pass soon.
fn short() -> Limits {
    Limits {
        first_request: SHORT,
        idle: SHORT,
        stall: SHORT,
        ..Limits::default()
    }
}

#[test]
fn idle_connections_keep_nobody_out() {
    let door = Door::with(connections(4));
    let idle: Vec<TcpStream> = (0..200).map(|_| door.connect()).collect();
    // It may take a moment until all of them were taken, and their like ended.
    assert!(door.is_answering());
    assert!(door.front.connections() <= 4);
    // Those that asked before are the last to go.
    let mut known = door.connect();
    ask(&mut known, GET);
    answer(&mut known, "ok");
    let more: Vec<TcpStream> = (0..20).map(|_| door.connect()).collect();
    assert!(door.is_answering());
    ask(&mut known, GET);
    answer(&mut known, "ok");
    drop((idle, more));
    door.close();
}

#[test]
fn while_all_are_busy_a_new_one_waits_and_nobody_is_cut_off() {
    let door = Door::with(connections(2));
    let mut busy = [door.connect(), door.connect()];
    for stream in &mut busy {
        ask(
            stream,
            "GET /wait HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
        );
    }
    door.wait_for(2);
    let mut third = door.connect();
    ask(&mut third, &format!("{GET}Connection: close\r\n"));
    // The place of the first one that is answered is the new one's.
    door.released.notify_one();
    assert!(rest(&mut third).starts_with("HTTP/1.1 200"));
    door.released.notify_one();
    for stream in &mut busy {
        assert!(rest(stream).ends_with("waited"));
    }
    door.close();
}

#[test]
fn what_comes_to_no_request_is_ended() {
    let door = Door::with(short());
    for start in [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: local",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = door.connect();
        stream.write_all(start.as_bytes()).unwrap();
        let said = rest(&mut stream);
        assert!(!said.contains("200"), "{start}: {said}");
    }
    // An open connection that asked once, and no more.
    let mut stream = door.connect();
    ask(&mut stream, GET);
    answer(&mut stream, "ok");
    assert_eq!(rest(&mut stream), "");
    // One that asked once, and never comes to the end of its next head.
    let mut stream = door.connect();
    ask(&mut stream, GET);
    answer(&mut stream, "ok");
    trickle(stream, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ");
    trickle(door.connect(), b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ");
    door.wait_for(0);
    door.close();
}

/// Sends a start, and then a byte now and then, until the other end has enough of it.
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
fn bodies_that_do_not_arrive_and_answers_that_are_not_taken_are_given_up() {
    let door = Door::with(short());
    let mut stalled = door.connect();
    ask(
        &mut stalled,
        "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n",
    );
    stalled.write_all(b"0123456789").unwrap();
    assert!(rest(&mut stalled).starts_with("HTTP/1.1 408"));
    // A body that ends too early is something else.
    let mut broken = door.connect();
    ask(
        &mut broken,
        "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n",
    );
    broken.write_all(b"0123456789").unwrap();
    broken.shutdown(Shutdown::Write).unwrap();
    assert!(!rest(&mut broken).contains("408"));
    // Nobody takes the answer.
    let mut silent = door.connect();
    ask(&mut silent, "GET /big HTTP/1.1\r\nHost: localhost\r\n");
    door.wait_for(1);
    door.wait_for(0);
    assert!(rest(&mut silent).len() < BIG);
    assert!(door.is_answering());
    door.close();
}

#[test]
fn heads_are_bounded_and_requests_in_one_piece_are_answered_one_by_one() {
    let door = Door::with(Limits::default());
    let large = format!("{GET}X: {}\r\n", "x".repeat(100_000));
    let refused = door.get(&large);
    assert!(
        refused.is_empty() || refused.starts_with("HTTP/1.1 431"),
        "{refused}"
    );
    let many = format!("{GET}{}", "X: x\r\n".repeat(101));
    assert!(door.get(&many).starts_with("HTTP/1.1 431"));
    let mut stream = door.connect();
    let one = format!("{GET}\r\n");
    stream.write_all(one.repeat(50).as_bytes()).unwrap();
    for _ in 0..50 {
        assert!(answer(&mut stream, "ok").starts_with("HTTP/1.1 200"));
    }
    assert!(door.is_answering());
    door.close();
}

#[test]
fn no_other_protocol_is_changed_to() {
    let door = Door::with(Limits::default());
    for upgrade in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    ] {
        let mut stream = door.connect();
        ask(&mut stream, &format!("{GET}{upgrade}"));
        assert!(
            answer(&mut stream, "ok").starts_with("HTTP/1.1 200"),
            "{upgrade}"
        );
    }
    let tunnel = door.get("CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n");
    assert!(!tunnel.contains("101"), "{tunnel}");
    assert!(door.is_answering());
    door.close();
}

#[test]
fn a_door_that_closes_lets_go_of_idle_connections_and_answers_the_others() {
    let door = Door::with(Limits::default());
    let mut idle = door.connect();
    ask(&mut idle, GET);
    answer(&mut idle, "ok");
    let mut silent = door.connect();
    let mut busy = door.connect();
    ask(&mut busy, "GET /wait HTTP/1.1\r\nHost: localhost\r\n");
    door.wait_for(3);
    door.front.close();
    assert_eq!(rest(&mut idle), "");
    assert_eq!(rest(&mut silent), "");
    let started = Instant::now();
    while TcpStream::connect(door.front.address()).is_ok() {
        assert!(started.elapsed() < DEADLINE, "it still listens");
    }
    door.released.notify_one();
    assert!(rest(&mut busy).ends_with("waited"));
    door.close();
}

/// Where this is set, the test is the process that has no file descriptors left.
const STARVED: &str = "HOTSHOE_TEST_STARVED";

#[test]
fn a_process_without_file_descriptors_answers_again() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    if std::env::var_os(STARVED).is_some() {
        let door = Door::with(connections(1000));
        let limit = Rlimit {
            current: Some(32),
            maximum: Some(32),
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        println!("\n{}", door.front.address());
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
