#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// A file that does what it is told, write by write: take so many bytes, or fail.
struct Told {
    orders: Receiver<io::Result<usize>>,
    took: Sender<Vec<u8>>,
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A pipe that nobody reads: this waits until it is told.
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

struct Bench {
    queue: Queue,
    parts: Supervisor,
    order: Sender<io::Result<usize>>,
    taken: Receiver<Vec<u8>>,
}

fn bench() -> Bench {
    let (order, orders) = channel();
    let (took, taken) = channel();
    let parts = Supervisor::default();
    let limiter = Arc::new(Limiter::new());
    let (queue, _) = Queue::open(Told { orders, took }, limiter, &parts).unwrap();
    Bench {
        queue,
        parts,
        order,
        taken,
    }
}

impl Bench {
    fn takes(&self, most: usize) -> String {
        self.order.send(Ok(most)).unwrap();
        String::from_utf8(self.taken.recv_timeout(DEADLINE).unwrap()).unwrap()
    }
}

#[test]
fn lines_come_in_order_and_a_flush_waits_for_them() {
    let bench = bench();
    for line in ["one\n", "two\n"] {
        bench.queue.add(line.as_bytes());
    }
    assert!(
        !bench.queue.flush(Duration::ZERO),
        "nothing was written yet"
    );
    assert_eq!(bench.takes(100), "one\n");
    assert_eq!(bench.takes(2), "tw");
    assert_eq!(bench.takes(100), "o\n");
    assert!(bench.queue.flush(DEADLINE));
}

#[test]
fn whoever_logs_never_waits_for_a_pipe_that_nobody_reads() {
    let bench = bench();
    let line = vec![b'a'; 1_023];
    // 4 MiB, of which the queue holds one. This test ends at all only if nothing here waits.
    for _ in 0..4_096 {
        bench.queue.add(&line);
    }
    let state = bench.queue.lock();
    assert!(state.bytes <= MAX_WAITING_BYTES);
    assert!(state.lost >= 3_000, "{}", state.lost);
    drop(state);
    assert!(!bench.queue.flush(Duration::ZERO));
}

#[test]
fn a_full_disk_costs_lines_and_the_next_one_stands_by_itself() {
    let bench = bench();
    let full = || Err(io::ErrorKind::StorageFull.into());
    for line in ["one\n", "two\n", "three\n"] {
        bench.queue.add(line.as_bytes());
    }
    // Half of the first is written before the disk is full, and nothing of the second.
    assert_eq!(bench.takes(2), "on");
    bench.order.send(full()).unwrap();
    bench.order.send(full()).unwrap();
    assert_eq!(bench.takes(100), "\n");
    assert_eq!(bench.takes(100), "three\n");
    bench.queue.add(b"four\n");
    assert_eq!(bench.takes(100), "four\n");
    assert!(bench.queue.flush(DEADLINE));
    assert!(bench.parts.list().iter().any(|part| part.name == "log"));
}

#[test]
fn a_file_that_is_busy_is_asked_again() {
    let bench = bench();
    bench.queue.add(b"one\n");
    bench
        .order
        .send(Err(io::ErrorKind::WouldBlock.into()))
        .unwrap();
    bench
        .order
        .send(Err(io::ErrorKind::Interrupted.into()))
        .unwrap();
    assert_eq!(bench.takes(100), "one\n");
}
