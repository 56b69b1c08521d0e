//! Whoever waits to hear how one sample ended.

use std::sync::mpsc::SyncSender;

use hotshoe_link::Asker;

use crate::watch::WatchedFile;

/// Who waits for the end of one sample.
#[derive(Debug)]
pub enum Answer {
    /// Nobody: the sample was published, and its result is too.
    Nobody,
    /// A Zenoh query.
    Query(Asker),
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

impl Answer {
    /// Tells whoever waits. `body` is the JSON of the result or of the error.
    pub fn give(self, ending: Ending, body: &[u8]) {
        match (self, ending) {
            (Self::Nobody, _) => {}
            (Self::Query(asker), Ending::Result) => asker.reply(body),
            (Self::Query(asker), Ending::Failure | Ending::Drop) => asker.refuse(body),
            (Self::File(file), ending) => file.finish(ending, body),
            // A caller that went away wants no answer.
            (Self::Call(caller), ending) => drop(caller.try_send((ending, body.to_vec()))),
        }
    }

    /// Whether the JSON of an answer is needed. Of a file it is kept why it failed.
    pub const fn wants_body(&self, ending: Ending) -> bool {
        match self {
            Self::Nobody => false,
            Self::Query(_) | Self::Call(_) => true,
            Self::File(_) => matches!(ending, Ending::Failure),
        }
    }
}
