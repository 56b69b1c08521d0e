//! Standard output and standard error of a component, as lines of the log.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::super::Services;
use super::super::bindings::hotshoe::pipeline::log::Level;

/// Longest line in bytes; longer lines are split.
const MAX_LINE_BYTES: usize = 4096;
/// Most bytes of one write.
const MAX_WRITE_BYTES: usize = 64 << 10;

/// One of the two outputs of an instance. Its lines count against `log-lines`, with those of the import `log`.
#[derive(Clone)]
pub(super) struct LogLines(Arc<Output>);

struct Output {
    services: Arc<Services>,
    level: Level,
    /// The incomplete line.
    begun: Mutex<Vec<u8>>,
}

impl LogLines {
    pub(super) fn new(services: &Arc<Services>, level: Level) -> Self {
        Self(Arc::new(Output {
            services: Arc::clone(services),
            level,
            begun: Mutex::default(),
        }))
    }
}

impl Output {
    fn take(&self, bytes: &[u8]) {
        let mut begun = self.begun.lock();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(MAX_LINE_BYTES) {
                if begun.len() + part.len() > MAX_LINE_BYTES {
                    self.write(&mut begun);
                }
                begun.extend_from_slice(part);
            }
            if begun.ends_with(b"\n") {
                self.write(&mut begun);
            }
        }
    }

    fn write(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\r', '\n']);
        if !text.is_empty() {
            self.services.write_log(self.level, text.to_owned());
        }
        line.clear();
    }
}

impl Drop for Output {
    /// Writes the last line, which may have no line end.
    fn drop(&mut self) {
        let mut begun = std::mem::take(self.begun.get_mut());
        self.write(&mut begun);
    }
}

impl IsTerminal for LogLines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogLines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogLines {
    async fn ready(&mut self) {}
}

impl OutputStream for LogLines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}

impl AsyncWrite for LogLines {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.0.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
