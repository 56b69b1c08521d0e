//! Threads that decompress, check and store the objects that arrive.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use hotshoe_link::ReceivedObjects;
use hotshoe_protocol::wire::expand;
use hotshoe_trust::Digest;
use parking_lot::Mutex;

use super::FetchError;
use super::context::{CheckedObject, Event, StoreFn, Stored};

/// The objects of one reply, not checked yet.
pub(crate) struct ReceivedReply {
    pub batch: u64,
    pub from: u128,
    pub objects: ReceivedObjects,
    /// The numbers of the objects that the batch asked for.
    pub numbers: Arc<HashMap<Digest, usize>>,
}

/// Decompresses, checks and stores objects until it receives `None`.
pub(crate) fn check(
    arrived: &Mutex<Receiver<Option<ReceivedReply>>>,
    over: &AtomicBool,
    most: &[u64],
    keep: StoreFn<'_>,
    verdicts: &Sender<Event>,
) {
    loop {
        let Ok(Some(reply)) = arrived.lock().recv() else {
            return;
        };
        if over.load(Ordering::Relaxed) {
            continue;
        }
        // The fetch waits for each result, so a panic of the check counts as an unexpected reply.
        let checked = catch_unwind(AssertUnwindSafe(|| check_reply(&reply, most, keep)));
        let event = match checked.unwrap_or(Ok((Vec::new(), true))) {
            Ok((objects, unexpected)) => Event::Checked {
                batch: reply.batch,
                from: reply.from,
                objects,
                unexpected,
            },
            Err(error) => Event::Failed(error),
        };
        if verdicts.send(event).is_err() {
            return;
        }
    }
}

/// Checks and stores the objects of a reply. True if it also has something that was not asked for.
fn check_reply(
    reply: &ReceivedReply,
    most: &[u64],
    keep: StoreFn<'_>,
) -> Result<(Vec<CheckedObject>, bool), FetchError> {
    let bytes = reply.objects.bytes();
    let Some(parts) = reply.objects.parts(&bytes) else {
        return Ok((Vec::new(), true));
    };
    let mut unexpected = false;
    let mut checked = Vec::with_capacity(parts.len());
    let mut contents: Vec<(usize, Cow<'_, [u8]>)> = Vec::with_capacity(parts.len());
    for part in parts {
        let (Some(&number), Some(sent)) = (reply.numbers.get(&part.digest), bytes.get(part.range))
        else {
            unexpected = true;
            continue;
        };
        let most = most.get(number).copied().unwrap_or(0);
        let content = match part.zstd {
            false => Some(Cow::Borrowed(sent)),
            true => {
                let content = expand(sent, usize::try_from(most).unwrap_or(0));
                content.ok().map(Cow::Owned)
            }
        };
        let content = content.filter(|content| content.len() as u64 <= most);
        checked.push(CheckedObject {
            number,
            size: sent.len() as u64,
            stored: Stored::Invalid,
        });
        if let Some(content) = content {
            contents.push((checked.len() - 1, content));
        }
    }
    let number = |at: usize| checked.get(at).map_or(0, |object| object.number);
    let objects: Vec<(usize, &[u8])> = contents
        .iter()
        .map(|(at, content)| (number(*at), content.as_ref()))
        .collect();
    let kept = keep(&objects)?;
    for ((at, _), stored) in contents.iter().zip(kept) {
        if let Some(object) = checked.get_mut(*at) {
            object.stored = stored;
        }
    }
    Ok((checked, unexpected))
}
