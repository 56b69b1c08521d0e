#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Longest wait.
const DEADLINE: Duration = Duration::from_secs(60);

/// A file with a script of results: each write takes this many bytes, or fails.
struct ScriptedFile {
    orders: Receiver<io::Result<usize>>,
    took: Sender<Vec<u8>>,
}

impl Write for ScriptedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A pipe without a reader: this blocks until the next result.
        let most = self
            .orders
            .recv()
            .unwrap_or(Err(io::ErrorKind::BrokenPipe.into()))?;
        let taken = bytes.get(..most.min(bytes.len())).unwrap();
        self.took.send(taken.to_vec()).unwrap();
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Fixture {
    queue: Queue,
    supervisor: Supervisor,
    order: Sender<io::Result<usize>>,
    taken: Receiver<Vec<u8>>,
}

fn fixture() -> Fixture {
    let (order, orders) = channel();
    let (took, taken) = channel();
    let supervisor = Supervisor::default();
    let limiter = Arc::new(Limiter::new());
    let (queue, _) = Queue::open(ScriptedFile { orders, took }, limiter, &supervisor).unwrap();
    Fixture {
        queue,
        supervisor,
        order,
        taken,
    }
}

impl Fixture {
    fn takes(&self, most: usize) -> String {
        self.order.send(Ok(most)).unwrap();
        String::from_utf8(self.taken.recv_timeout(DEADLINE).unwrap()).unwrap()
    }
}

#[test]
fn lines_come_in_order_and_a_flush_waits_for_them() {
    let fixture = fixture();
    for line in ["one\n", "two\n"] {
        fixture.queue.add(line.as_bytes());
    }
    assert!(
        !fixture.queue.flush(Duration::ZERO),
        "nothing was written yet"
    );
    assert_eq!(fixture.takes(100), "one\n");
    assert_eq!(fixture.takes(2), "tw");
    assert_eq!(fixture.takes(100), "o\n");
    assert!(fixture.queue.flush(DEADLINE));
}

#[test]
fn logging_never_waits_for_a_pipe_without_a_reader() {
    let fixture = fixture();
    let line = vec![b'a'; 1_023];
    // 4 MiB, of which the queue holds one. This test ends at all only if nothing here waits.
    for _ in 0..4_096 {
        fixture.queue.add(&line);
    }
    let state = fixture.queue.lock();
    assert!(state.bytes <= MAX_WAITING_BYTES);
    assert!(state.lost >= 3_000, "{}", state.lost);
    drop(state);
    assert!(!fixture.queue.flush(Duration::ZERO));
}

#[test]
fn a_full_disk_costs_lines_and_the_next_one_stands_by_itself() {
    let fixture = fixture();
    let full = || Err(io::ErrorKind::StorageFull.into());
    for line in ["one\n", "two\n", "three\n"] {
        fixture.queue.add(line.as_bytes());
    }
    // Half of the first is written before the disk is full, and nothing of the second.
    assert_eq!(fixture.takes(2), "on");
    fixture.order.send(full()).unwrap();
    fixture.order.send(full()).unwrap();
    assert_eq!(fixture.takes(100), "\n");
    assert_eq!(fixture.takes(100), "three\n");
    fixture.queue.add(b"four\n");
    assert_eq!(fixture.takes(100), "four\n");
    assert!(fixture.queue.flush(DEADLINE));
    assert!(
        fixture
            .supervisor
            .list()
            .iter()
            .any(|part| part.name == "log")
    );
}

#[test]
fn a_file_that_is_busy_is_asked_again() {
    let fixture = fixture();
    fixture.queue.add(b"one\n");
    fixture
        .order
        .send(Err(io::ErrorKind::WouldBlock.into()))
        .unwrap();
    fixture
        .order
        .send(Err(io::ErrorKind::Interrupted.into()))
        .unwrap();
    assert_eq!(fixture.takes(100), "one\n");
}
