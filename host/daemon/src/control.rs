//! The device's local socket, `control.sock` in the data folder: one line of JSON in, one line of JSON out.
//!
//! Whoever may open it is the operator: it belongs to the daemon's user and nobody else may use it.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_http::Quiet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::deploy::{Command, CommandError};

/// The socket's name in the data folder.
pub const SOCKET: &str = "control.sock";
/// Longest line of a command, in bytes.
pub const MAX_COMMAND_BYTES: u64 = 4 << 10;
/// Longest line of an answer, in bytes.
pub const MAX_ANSWER_BYTES: u64 = 8 << 20;
/// Most callers at once. A further one is refused as `busy`.
pub const MAX_CALLERS: usize = 8;
/// How long a whole line may take to come or to go, in seconds.
const LINE_TIMEOUT_S: u64 = 5;
/// How long no caller is taken after the system refused one, for want of file descriptors for example.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// How long a command waits for its answer, in seconds: the daemon may have to load the release that it goes back to.
const ANSWER_TIMEOUT_S: u64 = 120;

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No daemon listens there.
    #[error("no daemon runs with the data folder of {}", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket cannot be used.
    #[error("cannot talk to the daemon at {}; is this its user?", socket.display())]
    Exchange {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What came back is no answer.
    #[error("the answer of {} cannot be read; is it a daemon of the same version?", socket.display())]
    Answer {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The daemon says why not.
    #[error("{message}")]
    Refused {
        /// The stable name of the reason.
        name: String,
        /// The reason.
        message: String,
    },
}

impl ControlError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &str {
        match self {
            Self::NotRunning { .. } => "not_running",
            Self::Exchange { .. } => "io",
            Self::Answer { .. } => "malformed",
            Self::Refused { name, .. } => name,
        }
    }
}

/// One line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Ok(Value),
    Error(Reason),
}

#[derive(Debug, Serialize, Deserialize)]
struct Reason {
    name: String,
    message: String,
}

/// Asks the daemon that uses a data folder.
///
/// # Errors
/// [`ControlError::NotRunning`] where there is none; the other kinds say what to do.
pub fn call(data_folder: &Path, command: &Command) -> Result<Value, ControlError> {
    let socket = data_folder.join(SOCKET);
    let stream = UnixStream::connect(&socket).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::NotRunning {
            socket: socket.clone(),
        },
        _ => ControlError::Exchange {
            socket: socket.clone(),
            source,
        },
    })?;
    let line = exchange(stream, command).map_err(|source| ControlError::Exchange {
        socket: socket.clone(),
        source,
    })?;
    match serde_json::from_slice(&line) {
        Ok(Line::Ok(value)) => Ok(value),
        Ok(Line::Error(Reason { name, message })) => Err(ControlError::Refused { name, message }),
        Err(source) => Err(ControlError::Answer { socket, source }),
    }
}

fn exchange(stream: UnixStream, command: &Command) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    match write_line(&stream, &line, after(LINE_TIMEOUT_S)) {
        // A daemon that has too many callers says so before it reads anything.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    read_line(&stream, MAX_ANSWER_BYTES, after(ANSWER_TIMEOUT_S))
}

fn after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// What is left until a moment, as a timeout for one call. The moment bounds the whole line, however slowly its bytes go.
fn left(until: Instant) -> io::Result<Option<Duration>> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(Some(left))
}

/// A line of at most `most` bytes; a longer one is cut, and does not parse.
fn read_line(mut stream: &UnixStream, most: u64, until: Instant) -> io::Result<Vec<u8>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let (mut line, mut piece) = (Vec::new(), [0; 4096]);
    while line.len() < most && line.last() != Some(&b'\n') {
        stream.set_read_timeout(left(until)?)?;
        let read = match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = piece.get(..read).unwrap_or_default();
        let end = read.iter().position(|&byte| byte == b'\n');
        let end = end.map_or(read.len(), |at| at + 1);
        line.extend_from_slice(read.get(..end).unwrap_or_default());
    }
    line.truncate(most);
    Ok(line)
}

fn write_line(mut stream: &UnixStream, mut line: &[u8], until: Instant) -> io::Result<()> {
    while !line.is_empty() {
        stream.set_write_timeout(left(until)?)?;
        match stream.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The daemon's end. The socket is gone when this is dropped.
#[derive(Debug)]
pub struct Control {
    socket: PathBuf,
    over: Arc<AtomicBool>,
    callers: Arc<Callers>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Listens in a data folder that this process holds, and calls `follow` for each command, for [`MAX_CALLERS`] at once at most.
    ///
    /// # Errors
    /// Where the socket cannot be made, as in a folder whose path is longer than a socket's may be.
    pub fn open(
        data_folder: &Path,
        parts: &Supervisor,
        follow: impl Fn(Command) -> Result<Value, CommandError> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let socket = data_folder.join(SOCKET);
        let new = data_folder.join("control.new");
        // The folder is locked, so whatever stands here was left by a daemon that died.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        // Under its own name only when nobody else may open it.
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        fs::rename(&new, &socket)?;
        let over = Arc::new(AtomicBool::new(false));
        let callers = Arc::new(Callers::default());
        let (ended, taken) = (Arc::clone(&over), Arc::clone(&callers));
        let (follow, crew) = (Arc::new(follow), parts.clone());
        let thread = parts.restarted("control", move || {
            listen(&listener, &ended, &taken, &follow, &crew);
            Ok(())
        })?;
        Ok(Self {
            socket,
            over,
            callers,
            thread: Some(thread),
        })
    }
}

/// How many callers are served.
#[derive(Debug, Default)]
struct Callers {
    count: Mutex<usize>,
    fewer: Condvar,
}

/// One of them.
struct Caller(Arc<Callers>);

impl Callers {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>) -> Option<Caller> {
        let mut count = self.lock();
        (*count < MAX_CALLERS).then(|| {
            *count += 1;
            Caller(Arc::clone(self))
        })
    }

    /// Waits until there are none.
    fn wait_for_none(&self, most: Duration) {
        let waited = self
            .fewer
            .wait_timeout_while(self.lock(), most, |count| *count > 0);
        drop(waited);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.fewer.notify_all();
    }
}

/// Takes callers until it is over. Each has a thread of its own, so that a silent one keeps no other one waiting.
fn listen<F: Fn(Command) -> Result<Value, CommandError> + Send + Sync + 'static>(
    listener: &UnixListener,
    over: &AtomicBool,
    callers: &Arc<Callers>,
    follow: &Arc<F>,
    parts: &Supervisor,
) {
    let mut quiet = Quiet::default();
    let mut trouble = |error: &io::Error| {
        if let Some(left_out) = quiet.due(Instant::now()) {
            tracing::warn!(%error, left_out, "a caller of the control socket could not be taken");
        }
        std::thread::sleep(REFUSED_PAUSE);
    };
    loop {
        let accepted = listener.accept();
        if over.load(Ordering::Acquire) {
            return;
        }
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                trouble(&error);
                continue;
            }
        };
        let Some(caller) = callers.take() else {
            refuse(&stream);
            continue;
        };
        let follow = Arc::clone(follow);
        let started = parts.task("caller", move || {
            let _caller = caller;
            if let Err(error) = serve(&stream, &*follow) {
                tracing::debug!(%error, "a caller of the control socket went away");
            }
        });
        if let Err(error) = started {
            trouble(&error);
        }
    }
}

/// Says that there are too many callers. It fits into the buffer of a socket that nothing was written to.
fn refuse(stream: &UnixStream) {
    let line = Line::Error(Reason {
        name: "busy".to_owned(),
        message: format!("{MAX_CALLERS} callers are being answered already; ask again"),
    });
    let told = stream
        .set_nonblocking(true)
        .and_then(|()| answer(stream, &line));
    if let Err(error) = told {
        tracing::debug!(%error, "a caller of the control socket went away");
    }
}

fn answer(stream: &UnixStream, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    write_line(stream, &text, after(LINE_TIMEOUT_S))
}

impl Drop for Control {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // A call that asks nothing wakes the thread.
        let woken = UnixStream::connect(&self.socket).is_ok();
        if let Err(error) = fs::remove_file(&self.socket) {
            tracing::debug!(%error, "the control socket could not be removed");
        }
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
        // Those that were taken are answered; who is silent has no more than its line's time.
        self.callers
            .wait_for_none(Duration::from_secs(LINE_TIMEOUT_S));
    }
}

fn serve(
    stream: &UnixStream,
    follow: &impl Fn(Command) -> Result<Value, CommandError>,
) -> io::Result<()> {
    let line = read_line(stream, MAX_COMMAND_BYTES, after(LINE_TIMEOUT_S))?;
    let line = match serde_json::from_slice::<Command>(&line) {
        Ok(command) => match follow(command) {
            Ok(value) => Line::Ok(value),
            Err(error) => Line::Error(Reason {
                name: error.name().to_owned(),
                message: crate::deploy::chain(&error),
            }),
        },
        Err(error) => Line::Error(Reason {
            name: "malformed".to_owned(),
            message: format!("not a command: {error}"),
        }),
    };
    answer(stream, &line)
}
