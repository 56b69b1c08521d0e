//! Where the answer to a sample goes.

use std::sync::mpsc::SyncSender;

use hotshoe_link::Responder;

use crate::ending::Ending;
use crate::watched::WatchedFile;

/// Destination of a sample's answer.
#[derive(Debug)]
pub enum ReplyTo {
    /// No answer: the sample was published without a query.
    None,
    /// A Zenoh query.
    Query(Responder),
    /// A file in the watched folder.
    File(WatchedFile),
    /// A local client: a channel with room for one answer.
    Call(SyncSender<(Ending, Vec<u8>)>),
}

impl ReplyTo {
    /// Sends the answer. `body` is the JSON of the result or of the error.
    pub fn send(self, ending: Ending, body: &[u8]) {
        match (self, ending) {
            (Self::None, _) => {}
            (Self::Query(responder), Ending::Result) => responder.reply(body),
            (Self::Query(responder), _) => {
                responder.refuse(body);
            }
            (Self::File(file), ending) => file.finish(ending, body),
            // The client may have stopped waiting.
            (Self::Call(caller), ending) => drop(caller.try_send((ending, body.to_vec()))),
        }
    }

    /// Whether the JSON of the answer is needed. For a file, the error is recorded.
    pub const fn wants_body(&self, ending: Ending) -> bool {
        match self {
            Self::None => false,
            Self::Query(_) | Self::Call(_) => true,
            Self::File(_) => matches!(ending, Ending::Failure),
        }
    }
}
