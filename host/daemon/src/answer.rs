//! Whoever waits to hear how one sample ended.

use std::sync::mpsc::SyncSender;

use hotshoe_link::Responder;

use crate::watch::WatchedFile;

/// Who waits for the end of one sample.
#[derive(Debug)]
pub enum ReplyTo {
    /// Nobody: the sample was published, and its result is too.
    None,
    /// A Zenoh query.
    Query(Responder),
    /// A file of the watched folder.
    File(WatchedFile),
    /// A caller on this machine: a channel that has room for the one answer.
    Call(SyncSender<(Ending, Vec<u8>)>),
}

/// How it ended, for whoever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Result,
    /// With an error of its own.
    Failure,
    /// Dropped: the sample itself may be good.
    Drop,
}

impl ReplyTo {
    /// Tells whoever waits. `body` is the JSON of the result or of the error.
    pub fn send(self, ending: Ending, body: &[u8]) {
        match (self, ending) {
            (Self::None, _) => {}
            (Self::Query(responder), Ending::Result) => responder.reply(body),
            (Self::Query(responder), Ending::Failure | Ending::Drop) => responder.refuse(body),
            (Self::File(file), ending) => file.finish(ending, body),
            // A caller that went away wants no answer.
            (Self::Call(caller), ending) => drop(caller.try_send((ending, body.to_vec()))),
        }
    }

    /// Whether the JSON of an answer is needed. Of a file it is kept why it failed.
    pub const fn wants_body(&self, ending: Ending) -> bool {
        match self {
            Self::None => false,
            Self::Query(_) | Self::Call(_) => true,
            Self::File(_) => matches!(ending, Ending::Failure),
        }
    }
}
