//! An open page: it reads the stream of the device, as a browser does.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long a read waits before the end of the soak is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Keeps the stream open until `over`, and returns the number of bytes that it brought.
pub(super) fn keep_open(address: &str, over: &AtomicBool) -> u64 {
    let mut bytes = 0;
    while !over.load(Ordering::Acquire) {
        if let Ok(stream) = open(address) {
            bytes += drain(stream, over);
        }
        thread::sleep(LOOK);
    }
    bytes
}

fn open(address: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LOOK))?;
    let request =
        format!("GET /api/events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

/// Reads until the stream ends.
fn drain(mut stream: TcpStream, over: &AtomicBool) -> u64 {
    let (mut bytes, mut piece) = (0, vec![0; 1 << 14]);
    while !over.load(Ordering::Acquire) {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => bytes += read as u64,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    bytes
}
