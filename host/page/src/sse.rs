//! Server-sent events, as a body that ends with the server.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use http_body::Frame;
use tokio::sync::mpsc::Receiver;

/// One event in the format of `text/event-stream`. `name` has no line ends.
pub(crate) fn event(name: &'static str, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(data.len() + name.len() + 24);
    bytes.put_slice(b"event: ");
    bytes.put_slice(name.as_bytes());
    bytes.put_u8(b'\n');
    // A line end in the data would end the field, and an empty line the event.
    for line in lines(data) {
        bytes.put_slice(b"data: ");
        bytes.put_slice(line);
        bytes.put_u8(b'\n');
    }
    bytes.put_u8(b'\n');
    bytes.freeze()
}

/// The lines of a text, by each line end that the format has: CR LF, CR and LF.
fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let now = rest?;
        let Some(end) = now.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            rest = None;
            return Some(now);
        };
        let (line, left) = now.split_at(end);
        rest = left.strip_prefix(b"\r\n").or_else(|| left.get(1..));
        Some(line)
    })
}

/// The body of a stream of events. It ends when the sender does.
pub(crate) struct EventBody(pub(crate) Receiver<Bytes>);

impl IntoResponse for EventBody {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, "text/event-stream"),
            (CACHE_CONTROL, "no-store"),
        ];
        (StatusCode::OK, headers, Body::new(self)).into_response()
    }
}

impl http_body::Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let received = self.0.poll_recv(context);
        received.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: &str) -> String {
        String::from_utf8_lossy(&event("insight", data.as_bytes())).into_owned()
    }

    #[test]
    fn an_event_has_its_name_and_its_data() {
        assert_eq!(text("{}"), "event: insight\ndata: {}\n\n");
        assert_eq!(text(""), "event: insight\ndata: \n\n");
    }

    #[test]
    fn no_line_end_in_the_data_ends_the_event() {
        assert_eq!(
            text("a\n\nevent: forged\r\ndata: x\ry"),
            "event: insight\ndata: a\ndata: \ndata: event: forged\ndata: data: x\ndata: y\n\n"
        );
    }
}
