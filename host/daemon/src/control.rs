//! The device's local socket, `control.sock` in the data folder: one line of JSON in, one line of JSON out.
//!
//! Whoever may open it is the operator: it belongs to the daemon's user and nobody else may use it.

use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::parts::Parts;

pub use crate::deploy::{Command, CommandError};

/// The socket's name in the data folder.
pub const SOCKET: &str = "control.sock";
/// Longest line of a command, in bytes.
pub const MAX_COMMAND_BYTES: u64 = 4 << 10;
/// Longest line of an answer, in bytes.
pub const MAX_ANSWER_BYTES: u64 = 8 << 20;
/// How long one end waits for the other's line to come or go, in seconds.
const LINE_TIMEOUT_S: u64 = 5;
/// How long a command waits for its answer, in seconds: the daemon may have to load the release that it goes back to.
const ANSWER_TIMEOUT_S: u64 = 120;
/// How long nobody is taken after the system refused somebody.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

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

fn exchange(mut stream: UnixStream, command: &Command) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(Duration::from_secs(LINE_TIMEOUT_S)))?;
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_TIMEOUT_S)))?;
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    read_line(&stream, MAX_ANSWER_BYTES)
}

/// A line of at most `most` bytes; a longer one is cut, and does not parse.
fn read_line(stream: &UnixStream, most: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(stream.take(most)).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// The daemon's end. The socket is gone when this is dropped.
#[derive(Debug)]
pub struct Control {
    socket: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Listens in a data folder that this process holds, and calls `follow` for one command after the other.
    ///
    /// # Errors
    /// Where the socket cannot be made, as in a folder whose path is longer than a socket's may be.
    pub fn open(
        data_folder: &Path,
        parts: &Parts,
        follow: impl Fn(Command) -> Result<Value, CommandError> + Send + 'static,
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
        let ended = Arc::clone(&over);
        let thread = parts.restarted("control", move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    break;
                }
                match stream {
                    Ok(stream) => {
                        if let Err(error) = serve(&stream, &follow) {
                            tracing::debug!(%error, "a caller of the control socket went away");
                        }
                    }
                    // There is no file descriptor left, for example: asked again at once, the system says so again.
                    Err(error) => {
                        tracing::warn!(%error, "a caller of the control socket could not be taken");
                        std::thread::sleep(REFUSED_PAUSE);
                    }
                }
            }
            Ok(())
        })?;
        Ok(Self {
            socket,
            over,
            thread: Some(thread),
        })
    }
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
    }
}

fn serve(
    mut stream: &UnixStream,
    follow: &impl Fn(Command) -> Result<Value, CommandError>,
) -> io::Result<()> {
    let timeout = Some(Duration::from_secs(LINE_TIMEOUT_S));
    stream.set_read_timeout(timeout)?;
    stream.set_write_timeout(timeout)?;
    let line = read_line(stream, MAX_COMMAND_BYTES)?;
    let answer = match serde_json::from_slice::<Command>(&line) {
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
    let mut answer = serde_json::to_vec(&answer)?;
    answer.push(b'\n');
    stream.write_all(&answer)
}
