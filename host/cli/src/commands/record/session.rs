//! A recorder's side of what it says to a device.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use hotshoe_config::MESSAGE_OVERHEAD;
use hotshoe_daemon::recording::{Counts, FileHead, Next, NextItem, Opened, Request};
use hotshoe_link::Client;
use hotshoe_link::OrderError;
use hotshoe_store::{MAX_RECORDED_BYTES, RecordStage, RecordedPart};
use hotshoe_trust::{Blob, RecordKind};
use serde::de::DeserializeOwned;

use super::RecordError;

/// How long one answer may take; the device answers after half a second at most.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a question is asked again that nobody answers.
const TRIES: usize = 3;
/// Most files of one sample: one for each model and the rest.
pub const MAX_FILES: usize = 128;

/// One recording of one device.
pub struct Session<'a> {
    client: &'a Client,
    site: &'a str,
    device: &'a str,
    /// Bytes of one answer.
    most: u64,
    id: String,
    /// The last sample that has arrived.
    after: u64,
    /// What the device said last.
    pub counts: Counts,
}

impl<'a> Session<'a> {
    /// Begins to record.
    pub fn open(
        client: &'a Client,
        site: &'a str,
        device: &'a str,
        max_message: usize,
        stage: RecordStage,
        without: BTreeSet<RecordKind>,
        count: u64,
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
        let opened: Opened = session.ask(&Request::Open {
            stage,
            without,
            count,
        })?;
        session.id.clone_from(&opened.session);
        Ok((session, opened))
    }

    /// Records no more.
    pub fn end(&self) -> anyhow::Result<()> {
        let session = self.id.clone();
        self.bytes(&Request::End { session }).map(drop)
    }

    /// What comes next.
    pub fn next(&mut self) -> anyhow::Result<NextItem> {
        let Next { what, counts } = self.ask(&Request::Next {
            session: self.id.clone(),
            after: self.after,
        })?;
        self.counts = counts;
        Ok(what)
    }

    /// A sample is written: the device may forget it.
    pub const fn arrived(&mut self, number: u64) {
        self.after = number;
    }

    /// The files of a sample, as the device said they are.
    pub fn files(
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

    /// Answers get lost; each question may be asked again, but for the first.
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

/// Whether a name that came over the network may be a folder's.
fn is_plain(name: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.bytes().all(fits)
}
