//! Where the answer to a sample goes.

use std::sync::mpsc::SyncSender;

use hotshoe_egress::Egress;
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
    Call(SyncSender<(Ending, Egress)>),
}

impl ReplyTo {
    /// Sends the answer. `body` makes the result or the error, and is called only where that is needed.
    pub fn send(self, ending: Ending, body: impl FnOnce() -> Egress) {
        match (self, ending) {
            (Self::None, _) => {}
            (Self::Query(responder), Ending::Result) => responder.reply(body()),
            (Self::Query(responder), _) => responder.refuse(body()),
            // The error is recorded.
            (Self::File(file), Ending::Failure) => file.finish(ending, Some(&body())),
            (Self::File(file), ending) => file.finish(ending, None),
            // The client may have stopped waiting.
            (Self::Call(caller), ending) => drop(caller.try_send((ending, body()))),
        }
    }
}
