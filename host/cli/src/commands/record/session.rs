//! The recorder's side of the recording protocol.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use hotshoe_config::MESSAGE_OVERHEAD;
use hotshoe_daemon::recording::{Counts, FileHead, Next, NextItem, Opened, Request};
use hotshoe_link::Client;
use hotshoe_link::OrderError;
use hotshoe_store::{MAX_RECORDED_BYTES, RecordedPart};
use hotshoe_trust::Blob;
use serde::de::DeserializeOwned;

use super::RecordError;

/// The timeout of one answer; the device answers within half a second.
const ANSWER: Duration = Duration::from_secs(10);
/// The number of attempts per request.
const TRIES: usize = 3;
/// The most files of one sample: one per model, and a few more.
pub(super) const MAX_FILES: usize = 128;

/// One recording of one device.
pub(super) struct Session<'a> {
    client: &'a Client,
    site: &'a str,
    device: &'a str,
    /// The most bytes of one answer.
    most: u64,
    id: String,
    /// The number of the last sample that was written.
    after: u64,
    /// The latest counts of the device.
    pub counts: Counts,
}

impl<'a> Session<'a> {
    /// Starts a recording by [`Request::Open`].
    pub(super) fn open(
        client: &'a Client,
        site: &'a str,
        device: &'a str,
        max_message: usize,
        request: &Request,
    ) -> anyhow::Result<(Self, Opened)> {
        let mut session = Self {
            client,
            site,
            device,
            most: max_message.saturating_sub(MESSAGE_OVERHEAD) as u64,
            id: String::new(),
            after: 0,
            counts: Counts::default(),
        };
        let opened: Opened = session.ask(request)?;
        session.id.clone_from(&opened.session);
        Ok((session, opened))
    }

    /// Ends the recording.
    pub(super) fn end(&self) -> anyhow::Result<()> {
        let session = self.id.clone();
        self.bytes(&Request::End { session }).map(drop)
    }

    /// The next message of the device.
    pub(super) fn next(&mut self) -> anyhow::Result<NextItem> {
        let Next { what, counts } = self.ask(&Request::Next {
            session: self.id.clone(),
            after: self.after,
        })?;
        self.counts = counts;
        Ok(what)
    }

    /// Acknowledges a sample that is written, so that the device can drop it.
    pub(super) const fn arrived(&mut self, number: u64) {
        self.after = number;
    }

    /// Fetches the files of a sample and checks their digests.
    pub(super) fn files(
        &self,
        number: u64,
        heads: Vec<FileHead>,
    ) -> anyhow::Result<Vec<(RecordedPart, Vec<u8>)>> {
        ensure!(
            heads.len() <= MAX_FILES,
            RecordError::TooManyFiles { found: heads.len() }
        );
        let files = heads.into_iter().enumerate();
        files
            .map(|(file, head)| {
                let name = head.part.folder();
                if let RecordedPart::Input(model) = &head.part {
                    let model = model.clone();
                    ensure!(is_plain(&model), RecordError::Model { model });
                }
                let bytes = self.file(number, file, head.blob).with_context(|| {
                    format!("cannot fetch {} of sample {number}", name.display())
                })?;
                Ok((head.part, bytes))
            })
            .collect()
    }

    fn file(&self, number: u64, file: usize, blob: Blob) -> anyhow::Result<Vec<u8>> {
        let size = blob.size;
        ensure!(size <= MAX_RECORDED_BYTES, RecordError::TooLarge { size });
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < blob.size {
            let piece = self.bytes(&Request::Read {
                session: self.id.clone(),
                number,
                file,
                offset: bytes.len() as u64,
                most: self.most,
            })?;
            ensure!(!piece.is_empty(), RecordError::NoBytes);
            bytes.extend(piece);
        }
        ensure!(Blob::of(&bytes) == blob, RecordError::Mismatch);
        Ok(bytes)
    }

    fn ask<T: DeserializeOwned>(&self, request: &Request) -> anyhow::Result<T> {
        let answer = self.bytes(request)?;
        Ok(serde_json::from_slice(&answer).map_err(RecordError::Answer)?)
    }

    /// Sends a request, again if the answer is lost. Only opening a session is not repeated.
    fn bytes(&self, request: &Request) -> anyhow::Result<Vec<u8>> {
        let asked = serde_json::to_vec(request)?;
        let tries = if self.id.is_empty() { 1 } else { TRIES };
        for _ in 0..tries {
            match self.client.record(self.site, self.device, &asked, ANSWER) {
                Err(OrderError::NoReply { .. }) => {}
                other => return Ok(other?),
            }
        }
        bail!(OrderError::NoReply {
            site: self.site.to_owned(),
            device: self.device.to_owned(),
        })
    }
}

/// Whether a name from the network is a safe folder name.
fn is_plain(name: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.bytes().all(fits)
}
