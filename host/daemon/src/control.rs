//! The device's local socket, `control.sock` in the data folder: one line of JSON in, one line of JSON out.
//!
//! Only the daemon's user can open it, so its clients count as the operator.

mod places;
mod socket_path;

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_base::{Clock, chain};
use hotshoe_http::LogThrottle;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::command::{Command, CommandError};
use places::{CallerPermit, Places};
use socket_path::SocketPath;

pub use socket_path::MAX_SOCKET_PATH;

/// The socket's name in the data folder.
pub const SOCKET: &str = "control.sock";
/// Longest line of a command, in bytes: one with the largest shared value.
pub const MAX_COMMAND_BYTES: u64 = 68 << 10;
/// Longest line of an answer, in bytes: one with the largest shared values.
pub const MAX_ANSWER_BYTES: u64 = 20 << 20;
/// Most commands that run at once. A further one is refused as `busy`, except [`Command::Status`], which is answered at once.
pub const MAX_CALLERS: usize = 8;
/// Most clients at once whose command has not arrived, so that silent ones do not take the places of others. A further one is refused as
/// `busy`.
pub const MAX_SILENT: usize = 8;
/// Timeout for a client to send its command, in seconds. Clients of this program send it with the connection.
const COMMAND_TIMEOUT_S: u64 = 1;
/// Pause before a command that only reads is sent again, because the daemon was busy.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Timeout to write a whole line, in seconds.
const LINE_TIMEOUT_S: u64 = 5;
/// The name of a refusal because all places are taken.
const BUSY: &str = "busy";
/// Pause after an error of `accept`, such as a lack of file descriptors.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// Timeout of a command, in seconds.
const ANSWER_TIMEOUT_S: u64 = 120;

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No daemon listens there.
    #[error("no daemon uses the data folder of {}; start one with `hotshoe run`", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket cannot be used.
    #[error("cannot use the daemon's socket {}; run the command as the daemon's user", socket.display())]
    Exchange {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The daemon does not answer.
    #[error(
        "the daemon at {} does not answer within {} s; it hangs, or its machine is overloaded: see its log, and restart it",
        socket.display(), timeout.as_secs_f32()
    )]
    NoAnswer {
        /// The socket.
        socket: PathBuf,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The answer cannot be parsed.
    #[error("cannot read the answer from {}; check that the daemon has the same version as this program", socket.display())]
    Answer {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The daemon refused the command.
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
            Self::NoAnswer { .. } => "no_answer",
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

/// Sends a command to the daemon that uses a data folder. The timeout is long: a rollback may have to load a release.
///
/// # Errors
/// [`ControlError::NotRunning`] if there is none; the others say what to do.
pub fn call(data_folder: &Path, command: &Command) -> Result<Value, ControlError> {
    call_within(data_folder, command, Duration::from_secs(ANSWER_TIMEOUT_S))
}

/// Like [`call`], with a timeout for the whole exchange.
///
/// # Errors
/// [`ControlError::NoAnswer`] after the timeout, and those of [`call`].
pub fn call_within(
    data_folder: &Path,
    command: &Command,
    timeout: Duration,
) -> Result<Value, ControlError> {
    let socket = data_folder.join(SOCKET);
    let until = Instant::now() + timeout;
    let only_reads = matches!(command, Command::Status | Command::History);
    loop {
        let line = connect(data_folder, until)
            .and_then(|stream| exchange(&stream, command, until))
            .map_err(|source| failed(&socket, timeout, source))?;
        let Reason { name, message } = match serde_json::from_slice(&line) {
            Ok(Line::Ok(value)) => return Ok(value),
            Ok(Line::Error(reason)) => reason,
            Err(source) => return Err(ControlError::Answer { socket, source }),
        };
        // Silent clients leave after their timeout.
        if name != BUSY || !only_reads || Instant::now() + BUSY_PAUSE >= until {
            return Err(ControlError::Refused { name, message });
        }
        thread::sleep(BUSY_PAUSE);
    }
}

fn failed(socket: &Path, timeout: Duration, source: io::Error) -> ControlError {
    let socket = socket.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ControlError::NotRunning { socket }
        }
        // The timeouts of sockets are `WouldBlock`.
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            ControlError::NoAnswer { socket, timeout }
        }
        _ => ControlError::Exchange { socket, source },
    }
}

/// Connects to the socket in a data folder. A daemon that hangs may have a full queue of connections, so this has a deadline too.
fn connect(data_folder: &Path, until: Instant) -> io::Result<UnixStream> {
    let place = SocketPath::of(data_folder, SOCKET)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(left(until)?)?;
    socket.connect(&SockAddr::unix(&place.path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

fn exchange(stream: &UnixStream, command: &Command, until: Instant) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    match write_line(stream, &line, until) {
        // A busy daemon replies and closes the connection before it reads.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    read_line(stream, MAX_ANSWER_BYTES, until)
}

fn after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// The time left until a deadline, as the timeout of one call. The deadline applies to the whole line.
fn left(until: Instant) -> io::Result<Option<Duration>> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(Some(left))
}

/// Reads a line of at most `most` bytes. A longer one is truncated, and fails to parse.
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

/// The daemon's side. The socket is removed on drop.
#[derive(Debug)]
pub struct Control {
    folder: PathBuf,
    over: Arc<AtomicBool>,
    places: Arc<Places>,
    clock: Clock,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Listens in a data folder that this process has locked, and calls `follow` for each command, at most [`MAX_CALLERS`] at once.
    ///
    /// # Errors
    /// If the socket cannot be created.
    pub fn open(
        data_folder: &Path,
        supervisor: &Supervisor,
        follow: impl Fn(Command) -> Result<Value, CommandError> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let socket = data_folder.join(SOCKET);
        let new = data_folder.join("control.new");
        // The folder is locked, so an existing file is a leftover of a daemon that died.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&SocketPath::of(data_folder, "control.new")?.path)?;
        // It gets its final name only after its permissions are set.
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        fs::rename(&new, &socket)?;
        let over = Arc::new(AtomicBool::new(false));
        let places = Arc::new(Places::default());
        let (ended, taken) = (Arc::clone(&over), Arc::clone(&places));
        let (follow, task_supervisor) = (Arc::new(follow), supervisor.clone());
        let thread = supervisor.restarted("control", move || {
            listen(&listener, &ended, &taken, &follow, &task_supervisor);
            Ok(())
        })?;
        Ok(Self {
            folder: data_folder.to_owned(),
            over,
            places,
            clock: supervisor.clock().clone(),
            thread: Some(thread),
        })
    }
}

/// Accepts clients until it is stopped. Each has its own thread, so that a silent one does not block others.
fn listen<F: Fn(Command) -> Result<Value, CommandError> + Send + Sync + 'static>(
    listener: &UnixListener,
    over: &AtomicBool,
    places: &Arc<Places>,
    follow: &Arc<F>,
    supervisor: &Supervisor,
) {
    let mut throttle = LogThrottle::default();
    let mut warn_and_pause = |error: &io::Error| {
        if let Some(left_out) = throttle.due(supervisor.clock().now()) {
            tracing::warn!(%error, left_out, "a caller of the control socket could not be accepted");
        }
        supervisor.clock().sleep(REFUSED_PAUSE);
    };
    loop {
        let accepted = listener.accept();
        if over.load(Ordering::Acquire) {
            return;
        }
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn_and_pause(&error);
                continue;
            }
        };
        let Some(silent) = places.silent.take(MAX_SILENT) else {
            refuse(&stream);
            continue;
        };
        let (follow, places) = (Arc::clone(follow), Arc::clone(places));
        let started = supervisor.task("caller", move || {
            if let Err(error) = serve(&stream, silent, &places, &*follow) {
                tracing::debug!(%error, "a client of the control socket closed its connection");
            }
        });
        if let Err(error) = started {
            warn_and_pause(&error);
        }
    }
}

/// Replies `busy` without blocking: the reply fits into the empty buffer of the socket.
fn refuse(stream: &UnixStream) {
    let line = busy(&format!(
        "{MAX_SILENT} clients are connected and have sent no command; try again"
    ));
    let told = stream
        .set_nonblocking(true)
        .and_then(|()| answer(stream, &line));
    if let Err(error) = told {
        tracing::debug!(%error, "a client of the control socket closed its connection");
    }
}

fn busy(message: &str) -> Line {
    Line::Error(Reason {
        name: BUSY.to_owned(),
        message: message.to_owned(),
    })
}

fn answer(stream: &UnixStream, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    write_line(stream, &text, after(LINE_TIMEOUT_S))
}

impl Drop for Control {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // A connection wakes the thread out of `accept`.
        let woken = connect(&self.folder, after(LINE_TIMEOUT_S)).is_ok();
        if let Err(error) = fs::remove_file(self.folder.join(SOCKET)) {
            tracing::debug!(%error, "cannot remove the control socket");
        }
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
        // Accepted clients get their answers; a silent one delays the end by its timeout at most.
        for (callers, seconds) in [
            (&self.places.silent, COMMAND_TIMEOUT_S),
            (&self.places.running, LINE_TIMEOUT_S),
        ] {
            callers.wait_for_none(Duration::from_secs(seconds), &self.clock);
        }
    }
}

fn serve(
    stream: &UnixStream,
    silent: CallerPermit,
    places: &Places,
    follow: &impl Fn(Command) -> Result<Value, CommandError>,
) -> io::Result<()> {
    let line = read_line(stream, MAX_COMMAND_BYTES, after(COMMAND_TIMEOUT_S))?;
    let command = serde_json::from_slice::<Command>(&line);
    let running = match command {
        // It waits for nothing, so that it needs no place.
        Ok(Command::Status) | Err(_) => None,
        Ok(_) => match places.running.take(MAX_CALLERS) {
            Some(place) => Some(place),
            None => {
                let message = format!("{MAX_CALLERS} commands are running already; try again");
                return answer(stream, &busy(&message));
            }
        },
    };
    // Only now, so that the end of the daemon waits for the answer.
    let _place = running.unwrap_or(silent);
    let line = match command {
        Ok(command) => match follow(command) {
            Ok(value) => Line::Ok(value),
            Err(error) => Line::Error(Reason {
                name: error.name().to_owned(),
                message: chain(&error),
            }),
        },
        Err(error) => Line::Error(Reason {
            name: "malformed".to_owned(),
            message: format!("not a command: {error}"),
        }),
    };
    answer(stream, &line)
}
