//! The newest head of the audit log of each other device, which registries and devices keep: with it, `hotshoe audit verify` finds a log whose
//! end was cut off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use hotshoe_audit::HeldHead;
use hotshoe_base::Clock;
use hotshoe_base::files::read_bytes;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_link::{HeadSubscription, LinkError, Site};
use hotshoe_store::replace_file;
use hotshoe_trust::Digest;
use serde::{Deserialize, Serialize};

/// The file in the data folder.
const HEADS: &str = "heads.json";
/// Most heads that wait to be checked. A device repeats its head, so that a lost one comes again.
const WAITING_HEADS: usize = 256;
/// Most keys of one device: it has another one after `device.key` was replaced.
const MAX_KEYS: usize = 4;
/// Largest file, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// How many heads are kept, and how often they are written. A head has about 1 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Most heads; the first ones stay.
    pub heads: usize,
    /// Least time between two writes of the file.
    pub save_interval: Duration,
}

impl HeadLimits {
    /// Of a registry: 4,096 heads, written every 10 s.
    pub const REGISTRY: Self = Self {
        heads: 4_096,
        save_interval: Duration::from_secs(10),
    };
    /// Of a device: 32 heads, written once in an hour, so that its flash takes less than 1 MiB in a day.
    pub const DEVICE: Self = Self {
        heads: 32,
        save_interval: Duration::from_secs(3_600),
    };
}

/// Keeps the heads of the devices of a site in a data folder, on a thread of its own, until the subscription is dropped. `own` is the device that
/// keeps them.
///
/// # Errors
/// [`LinkError::Use`] and [`LinkError::Thread`].
pub fn keep_heads(
    data: &Path,
    limits: HeadLimits,
    own: Option<&str>,
    site: &Site,
    supervisor: &Supervisor,
) -> Result<HeadSubscription, LinkError> {
    let mut kept = Heads::open(data, limits, supervisor.clock().clone());
    let (sender, heads) = sync_channel(WAITING_HEADS);
    supervisor
        .restarted("heads", move || {
            kept.run(&heads);
            Ok(())
        })
        .map_err(|source| LinkError::Thread { source })?;
    let own = own.map(str::to_owned);
    site.follow_heads(move |held| {
        if own.as_ref() != Some(&held.head.device) {
            hand_on(&sender, held);
        }
    })
}

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    format: u32,
    heads: Vec<HeldHead>,
}

/// The heads, by device and key.
#[derive(Debug)]
struct Heads {
    path: PathBuf,
    limits: HeadLimits,
    clock: Clock,
    held: BTreeMap<(String, Digest), HeldHead>,
    is_changed: bool,
    /// A head was refused because there are too many.
    is_full: bool,
    saved: Option<Instant>,
}

impl Heads {
    /// Reads the heads in a data folder. A file that cannot be read is only a warning: heads come again.
    fn open(data: &Path, limits: HeadLimits, clock: Clock) -> Self {
        let path = data.join(HEADS);
        let read = path.exists().then(|| read_bytes(&path, MAX_BYTES));
        let content = read.map(|bytes| Ok(serde_json::from_slice::<Content>(&bytes?)?));
        let content = content.unwrap_or_else(|| Ok(Content::default()));
        let content = content.unwrap_or_else(|error: std::io::Error| {
            tracing::warn!(path = %path.display(), %error, "cannot read the heads of audit logs; they are collected again");
            Content::default()
        });
        let mut heads = Self {
            path,
            limits,
            clock,
            held: BTreeMap::new(),
            is_changed: false,
            is_full: false,
            saved: None,
        };
        for held in content.heads {
            heads.take(held);
        }
        heads.is_changed = false;
        heads
    }

    /// Takes heads until their sender is gone.
    fn run(&mut self, heads: &Receiver<HeldHead>) {
        loop {
            let next = match self.due() {
                Some(due) => self.clock.recv_until(heads, due),
                None => heads.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(held) => self.take(held),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.save(),
            }
            if self.due().is_some_and(|due| due <= self.clock.now()) {
                self.save();
            }
        }
    }

    /// When a change is to be written.
    fn due(&self) -> Option<Instant> {
        let after = self.saved.map(|saved| saved + self.limits.save_interval);
        self.is_changed
            .then(|| after.unwrap_or_else(|| self.clock.now()))
    }

    /// Keeps a head that the key in it has signed, and that is newer than the one before it.
    fn take(&mut self, new: HeldHead) {
        let Some(key) = new.key() else {
            return;
        };
        let (device, head) = (new.head.device.clone(), new.head.head);
        let of_device = |(other, _): &&(String, Digest)| *other == device;
        let keys = self.held.keys().filter(of_device).count();
        let total = self.held.len();
        let place = (device, key);
        match self.held.get(&place).map(|held| held.head.head) {
            None if total >= self.limits.heads || keys >= MAX_KEYS => {
                if !std::mem::replace(&mut self.is_full, true) {
                    tracing::error!(
                        device = place.0,
                        keys,
                        heads = total,
                        "the head of an audit log is not kept: there are too many keys of this device, or heads. Another machine may publish in its name: use certificates and `hotshoe zenoh-acl`, remove heads.json and start again"
                    );
                }
                return;
            }
            Some(held) if held == head => return,
            Some(held) if held.sequence >= head.sequence => {
                tracing::error!(
                    device = place.0,
                    held = held.to_string(),
                    head = head.to_string(),
                    "THE AUDIT LOG OF A DEVICE DOES NOT CONTINUE: its head is not newer than the one that it published before"
                );
                return;
            }
            _ => {}
        }
        self.held.insert(place, new);
        self.is_changed = true;
    }

    fn save(&mut self) {
        if !self.is_changed {
            return;
        }
        self.saved = Some(self.clock.now());
        let content = Content {
            format: 1,
            heads: self.held.values().cloned().collect(),
        };
        let text = serde_json::to_vec(&content).unwrap_or_default();
        match replace_file(&self.path, &text) {
            Ok(()) => self.is_changed = false,
            Err(error) => {
                tracing::error!(%error, "cannot store the heads of audit logs; will try again");
            }
        }
    }
}

/// Hands a head to the thread that keeps it, without waiting.
fn hand_on(sender: &SyncSender<HeldHead>, held: HeldHead) {
    if sender.try_send(held).is_err() {
        tracing::debug!("too many heads of audit logs at once; a device repeats its head");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::Arc;

    use hotshoe_audit::{AuditKind, AuditLog, Entry, Limits, Signer};
    use hotshoe_base::disk::{Disk, Faults};
    use hotshoe_trust::{SigningKey, Time};

    use super::*;

    /// Heads of one device, one after the other.
    fn heads(number: usize) -> Vec<HeldHead> {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::generate().unwrap();
        let public_key = key.public_key().unwrap().to_pem();
        let signer = Signer::new(key, "lab".to_owned(), "cam".to_owned());
        let (disk, now) = (Disk::new(Faults::never()), Time::UNIX_EPOCH);
        let limits = Limits::default();
        let signer = Some(Arc::new(signer));
        let mut log = AuditLog::open(folder.path(), disk, limits, signer, now).unwrap();
        let next = |_| {
            log.append(&[Entry::new(AuditKind::Command, now)], now)
                .unwrap();
            HeldHead {
                head: log.checkpoint(now).unwrap().unwrap(),
                public_key: public_key.clone(),
            }
        };
        (0..number).map(next).collect()
    }

    fn held(heads: &Heads) -> Vec<&HeldHead> {
        heads.held.values().collect()
    }

    #[test]
    fn the_newest_signed_head_of_each_key_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Heads::open(folder.path(), HeadLimits::REGISTRY, Clock::default());
        let mut kept = open();
        let [old, new] = heads(2).try_into().unwrap();
        kept.take(new.clone());
        kept.take(old);
        let mut forged = new.clone();
        forged.head.head.sequence += 1;
        kept.take(forged);
        assert_eq!(held(&kept), [&new]);
        kept.save();
        assert_eq!(held(&open()), [&new]);
        // Of more keys of one name, the first ones stay.
        for _ in 0..MAX_KEYS {
            heads(1).into_iter().for_each(|head| kept.take(head));
        }
        assert_eq!(kept.held.len(), MAX_KEYS);
        assert!(held(&kept).contains(&&new));
    }

    #[test]
    fn a_damaged_file_of_heads_is_collected_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(HEADS), "not JSON").unwrap();
        let kept = Heads::open(folder.path(), HeadLimits::REGISTRY, Clock::default());
        assert!(kept.held.is_empty());
    }

    #[test]
    fn no_more_heads_are_kept_than_allowed_and_those_of_known_devices_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let limits = HeadLimits {
            heads: 2,
            ..HeadLimits::DEVICE
        };
        let mut kept = Heads::open(folder.path(), limits, Clock::default());
        let [old, new] = heads(2).try_into().unwrap();
        kept.take(old);
        for _ in 0..2 {
            heads(1).into_iter().for_each(|head| kept.take(head));
        }
        assert_eq!(kept.held.len(), 2);
        kept.take(new.clone());
        assert!(held(&kept).contains(&&new));
    }

    #[test]
    fn a_change_is_written_at_once_and_the_next_one_after_the_interval() {
        let folder = tempfile::tempdir().unwrap();
        let time = hotshoe_base::VirtualClock::at(std::time::UNIX_EPOCH);
        let mut kept = Heads::open(folder.path(), HeadLimits::DEVICE, time.clock());
        let [first, second] = heads(2).try_into().unwrap();
        assert_eq!(kept.due(), None);
        kept.take(first);
        assert_eq!(kept.due(), Some(time.clock().now()));
        kept.save();
        kept.take(second);
        let interval = HeadLimits::DEVICE.save_interval;
        assert_eq!(kept.due(), Some(time.clock().now() + interval));
    }
}
