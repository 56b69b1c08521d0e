//! A TCP proxy on loopback that can be cut, also in the middle of a transfer, and that can delay what it carries.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often a cable that is held looks whether it still is.
const HELD: Duration = Duration::from_millis(50);

/// Most pieces of 16 KiB that are under way in one direction.
const PIECES: usize = 64;

/// A cable from its own port to another one.
pub(crate) struct Cable {
    port: u16,
    state: Arc<State>,
}

struct State {
    delay: Duration,
    connected: AtomicBool,
    /// Whether what comes from the far end is left where it is.
    held: AtomicBool,
    /// Bytes that may still come from the far end before the cable cuts itself.
    allowance: AtomicU64,
    carried: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

impl Cable {
    /// A cable to `127.0.0.1:far`.
    pub(crate) fn to(far: u16) -> Self {
        Self::delayed(far, Duration::ZERO)
    }

    /// The same, which delivers everything so much later, in both directions.
    pub(crate) fn delayed(far: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            delay,
            connected: AtomicBool::new(true),
            held: AtomicBool::new(false),
            allowance: AtomicU64::new(u64::MAX),
            carried: AtomicU64::new(0),
            streams: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                shared.join(near, far);
            }
        });
        Self { port, state }
    }

    /// Where to connect to, as a Zenoh endpoint.
    pub(crate) fn endpoint(&self) -> String {
        format!("tcp/127.0.0.1:{}", self.port)
    }

    /// Bytes that came from the far end so far.
    pub(crate) fn carried(&self) -> u64 {
        self.state.carried.load(Ordering::SeqCst)
    }

    /// Cuts all connections after so many bytes more from the far end, and lets no new ones through until [`Cable::mend`].
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.state.allowance.store(bytes, Ordering::SeqCst);
    }

    /// Takes nothing more from the far end; what the near end says still gets there.
    pub(crate) fn hold(&self) {
        self.state.held.store(true, Ordering::SeqCst);
    }

    /// Whether it is whole.
    pub(crate) fn is_connected(&self) -> bool {
        self.state.connected.load(Ordering::SeqCst)
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.state.allowance.store(u64::MAX, Ordering::SeqCst);
        self.state.connected.store(true, Ordering::SeqCst);
    }
}

impl State {
    fn cut(&self) {
        self.connected.store(false, Ordering::SeqCst);
        let mut streams = self.streams.lock();
        for stream in streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn join(self: &Arc<Self>, near: TcpStream, far: u16) {
        if !self.connected.load(Ordering::SeqCst) {
            return;
        }
        let Ok(far) = TcpStream::connect(("127.0.0.1", far)) else {
            return;
        };
        let clones = (near.try_clone(), far.try_clone());
        let (Ok(near_end), Ok(far_end)) = clones else {
            return;
        };
        let mut streams = self.streams.lock();
        streams.extend([near.try_clone(), far.try_clone()].into_iter().flatten());
        drop(streams);
        let delay = self.delay;
        thread::spawn(move || carry(near_end, far_end, delay, |_| true));
        let state = Arc::clone(self);
        thread::spawn(move || carry(far, near, delay, |bytes| state.count(bytes)));
    }

    /// Whether `bytes` more may pass.
    fn count(&self, bytes: u64) -> bool {
        let pay = |left: u64| match left {
            u64::MAX => Some(left),
            left => left.checked_sub(bytes),
        };
        while self.held.load(Ordering::SeqCst) && self.connected.load(Ordering::SeqCst) {
            thread::park_timeout(HELD);
        }
        let paid = self
            .allowance
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, pay);
        if paid.is_err() {
            self.cut();
            return false;
        }
        self.carried.fetch_add(bytes, Ordering::SeqCst);
        true
    }
}

fn carry(mut from: TcpStream, to: TcpStream, delay: Duration, may_pass: impl Fn(u64) -> bool) {
    let (sender, under_way) = sync_channel(PIECES);
    let writer = thread::spawn(move || deliver(to, &under_way));
    let mut piece = [0; 16 << 10];
    while let Ok(read) = from.read(&mut piece) {
        let due = Instant::now() + delay;
        let passes = read > 0 && may_pass(read as u64);
        if !passes || sender.send((due, piece[..read].to_vec())).is_err() {
            break;
        }
    }
    drop(sender);
    let _ = writer.join();
    let _ = from.shutdown(Shutdown::Both);
}

/// Writes each piece when it is due.
fn deliver(mut to: TcpStream, under_way: &Receiver<(Instant, Vec<u8>)>) {
    for (due, piece) in under_way {
        while let Some(left) = due.checked_duration_since(Instant::now())
            && !left.is_zero()
        {
            thread::park_timeout(left);
        }
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
