//! What the pages that are open get: the status each second, and outputs as they leave the device.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hotshoe_daemon::{LocalClient, Output, OutputKind, Viewer};
use hotshoe_protocol::status::Status;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};

use crate::error::PageRequestError;
use crate::output_gate::OutputGate;
use crate::sse::{EventBody, event};
use crate::streams::Streams;

/// Most outputs that a page gets in a second. Further ones are counted.
const OUTPUTS_PER_S: u32 = 10;
/// Most pictures that a page gets in a second. Each takes a copy of a sample, and makes a worker keep what it saw.
const PICTURES_PER_S: u32 = 1;
/// Largest output that a page gets, in bytes. Of a larger one it gets the size.
const MAX_OUTPUT_BYTES: usize = 1_280 << 10;
/// Most outputs that wait for a slow page.
const WAITING_OUTPUTS: usize = 8;
/// Most pictures that are kept.
const MAX_PICTURES: usize = 4;
/// Largest picture that is kept, in bytes.
const MAX_PICTURE_BYTES: usize = 4 << 20;
/// The media types of pictures that a browser shows.
const PICTURE_TYPES: [&str; 3] = ["image/jpeg", "image/png", "image/bmp"];

struct Picture {
    number: u64,
    content_type: &'static str,
    bytes: Bytes,
}

/// The source of all streams.
pub(crate) struct Hub {
    client: LocalClient,
    /// The event of the last status.
    statuses: watch::Sender<Bytes>,
    outputs: broadcast::Sender<Bytes>,
    output_gate: OutputGate,
    picture_gate: OutputGate,
    pictures: Mutex<VecDeque<Picture>>,
    picture_number: AtomicU64,
    left_out: AtomicU64,
    streams: Streams,
}

impl Hub {
    /// A hub that gets the outputs of `client` from now on.
    pub(crate) fn new(client: LocalClient, with_pictures: bool) -> Arc<Self> {
        let hub = Arc::new(Self {
            client,
            statuses: watch::Sender::new(Bytes::new()),
            outputs: broadcast::Sender::new(WAITING_OUTPUTS),
            output_gate: OutputGate::new(OUTPUTS_PER_S),
            picture_gate: OutputGate::new(PICTURES_PER_S),
            pictures: Mutex::default(),
            picture_number: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            streams: Streams::new(),
        });
        // Weak, since the daemon keeps the viewer, and the hub the daemon's service.
        let (asked, shown) = (Arc::downgrade(&hub), Arc::downgrade(&hub));
        hub.client.view(Viewer {
            wants_picture: Box::new(move || {
                with_pictures && asked.upgrade().is_some_and(|hub| hub.wants_picture())
            }),
            show: Box::new(move |output| {
                if let Some(hub) = shown.upgrade() {
                    hub.show(output);
                }
            }),
        });
        hub
    }

    pub(crate) fn client(&self) -> &LocalClient {
        &self.client
    }

    /// The streams of open pages.
    pub(crate) const fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Whether any page is open.
    pub(crate) fn is_followed(&self) -> bool {
        self.statuses.receiver_count() > 0
    }

    /// Sends a status to all pages.
    pub(crate) fn send_status(&self, status: &Status) {
        self.statuses.send_replace(self.status_event(status));
    }

    fn status_event(&self, status: &Status) -> Bytes {
        let shown = json!({
            "status": status,
            "left_out": self.left_out.load(Ordering::Relaxed),
        });
        event("status", &serde_json::to_vec(&shown).unwrap_or_default())
    }

    fn wants_picture(&self) -> bool {
        self.outputs.receiver_count() > 0 && self.picture_gate.passes(self.client.clock().now())
    }

    fn show(&self, output: Output<'_>) {
        if self.outputs.receiver_count() == 0 {
            return;
        }
        let bytes = output.egress.bytes();
        if output.kind == OutputKind::Picture {
            return self.show_picture(output.id, output.content_type, bytes);
        }
        if !self.output_gate.passes(self.client.clock().now()) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let name = match output.kind {
            OutputKind::Action => "action",
            OutputKind::Error => "failure",
            OutputKind::Insight | OutputKind::Picture => "insight",
        };
        let event = if bytes.len() > MAX_OUTPUT_BYTES {
            let size = json!({ "id": output.id, "too_large_bytes": bytes.len() });
            event(name, &serde_json::to_vec(&size).unwrap_or_default())
        } else {
            event(name, bytes)
        };
        // It fails without receivers.
        let _ = self.outputs.send(event);
    }

    fn show_picture(&self, id: &str, content_type: &str, bytes: &[u8]) {
        let mut shown = PICTURE_TYPES.into_iter();
        let shown = shown.find(|it| *it == content_type);
        let Some(content_type) = shown.filter(|_| bytes.len() <= MAX_PICTURE_BYTES) else {
            return;
        };
        let number = self.picture_number.fetch_add(1, Ordering::Relaxed);
        let mut pictures = self.pictures.lock();
        if pictures.len() >= MAX_PICTURES {
            pictures.pop_front();
        }
        pictures.push_back(Picture {
            number,
            content_type,
            bytes: Bytes::copy_from_slice(bytes),
        });
        drop(pictures);
        let about = json!({ "id": id, "number": number });
        let about = serde_json::to_vec(&about).unwrap_or_default();
        let _ = self.outputs.send(event("picture", &about));
    }

    /// A picture of the last ones.
    pub(crate) fn picture(&self, number: u64) -> Result<Response, PageRequestError> {
        let pictures = self.pictures.lock();
        let found = pictures.iter().find(|picture| picture.number == number);
        let picture = found.ok_or(PageRequestError::NoPicture)?;
        let headers = [
            (CONTENT_TYPE, picture.content_type),
            (CACHE_CONTROL, "no-store"),
        ];
        Ok((StatusCode::OK, headers, picture.bytes.clone()).into_response())
    }

    /// A stream for one more page.
    pub(crate) fn follow(self: &Arc<Self>) -> Result<EventBody, PageRequestError> {
        let hub = Arc::clone(self);
        self.streams
            .open(|sender| async move { hub.send_all(&sender).await })
    }

    async fn send_all(&self, sender: &mpsc::Sender<Bytes>) {
        let (mut statuses, mut outputs) = (self.statuses.subscribe(), self.outputs.subscribe());
        let mut next = self.status_event(&self.client.status());
        while sender.send(next).await.is_ok() {
            next = tokio::select! {
                changed = statuses.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    statuses.borrow_and_update().clone()
                }
                output = outputs.recv() => match output {
                    Ok(output) => output,
                    Err(RecvError::Lagged(missed)) => {
                        event("missed", missed.to_string().as_bytes())
                    }
                    Err(RecvError::Closed) => return,
                },
            };
        }
    }
}
