//! The site's end: its replica of a device's shared data, and the exchange over Zenoh.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use hotshoe_base::chain;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_config::check_name;
use hotshoe_daemon::command::SharedDataAction;
use hotshoe_link::device_list::DeviceList;
use hotshoe_link::{Client, OrderError};
use hotshoe_release::signals;
use hotshoe_release::terminal::Terminal;
use hotshoe_shared_data::{
    Action, Answer, JsonText, Replica, Request, SharedDataError, SharedStore, SignedRequest,
    StoreError, Summary, Writer, read_answer,
};
use hotshoe_trust::SigningKey;
use tempfile::TempDir;

use super::{Outcome, Target};

/// The name of the site's writer without a key.
const UNSIGNED: &str = "site";
/// Characters of a key's fingerprint that name its writer.
const FINGERPRINT_CHARS: usize = 16;

/// Pause before an exchange that failed is tried again, if the device does not come back meanwhile. It doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The site's end for one device.
pub(super) struct Remote<'a> {
    site: String,
    device: &'a str,
    store: SharedStore,
    /// The folder of the replica.
    folder: PathBuf,
    /// Who writes.
    own: Writer,
    /// Whether the replica is kept.
    is_kept: bool,
    /// Removes a replica that is not kept.
    _folder: Option<TempDir>,
    /// Held while the replica is used, so that two commands do not write it.
    lock: File,
    connection: anyhow::Result<Client>,
    key: Option<SigningKey>,
    list: Option<DeviceList>,
    timeout: Duration,
    terminal: &'a Terminal,
}

impl<'a> Remote<'a> {
    /// Opens the replica and the session. With a replica that is kept, the session may fail.
    pub(super) fn open(
        target: &'a Target,
        device: &'a str,
        terminal: &'a Terminal,
    ) -> anyhow::Result<Self> {
        let network = &target.network;
        let (zenoh, site) = network.site(target.site.as_deref(), target.config.as_deref(), None)?;
        check_name("site", &site)?;
        check_name("device", device)?;
        // Before the session opens, because this may ask for a passphrase.
        let key = network.signing_key(target.key.as_deref())?;
        let list = network.devices()?;
        let own = writer(key.as_ref())?;
        let transient = match &target.replica {
            Some(_) => None,
            None => Some(TempDir::new().context("cannot create a temporary folder")?),
        };
        let folder = match (&target.replica, &transient) {
            (Some(folder), _) => folder.join(&site).join(device),
            (None, Some(folder)) => folder.path().to_owned(),
            (None, None) => bail!("no folder for the replica"),
        };
        let (store, lock) = open_store(&folder, own.clone(), terminal)?;
        let connection = Client::open(&zenoh).with_context(|| network.cannot_open());
        let connection = match connection {
            Err(error) if target.replica.is_none() => return Err(error),
            connection => connection,
        };
        Ok(Self {
            site,
            device,
            store,
            folder,
            own,
            is_kept: target.replica.is_some(),
            _folder: transient,
            lock,
            connection,
            key,
            list,
            timeout: Duration::from_secs(target.timeout),
            terminal,
        })
    }

    pub(super) fn close(self) {
        if let Ok(client) = self.connection {
            client.close();
        }
    }

    /// Exchanges all values with the device. One that fails does not hold the others up; its error is returned.
    pub(super) fn sync(&mut self) -> anyhow::Result<Outcome> {
        anyhow::ensure!(self.is_kept, "`sync` needs --replica");
        let summaries = self.list()?;
        let mut failed = None;
        for Summary { name, .. } in &summaries {
            let exchanged = self.pull(name, false).and_then(|()| self.push(name));
            match exchanged {
                Err(error) if is_unreachable(&error) || is_of_replica(&error) => return Err(error),
                Err(error) => {
                    failed.get_or_insert(error);
                }
                Ok(()) => {}
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let views = summaries
            .iter()
            .map(|it| self.store.replica().view(&it.name));
        Ok(Outcome::Values(views.collect::<Result<_, _>>()?))
    }

    /// Exchanges all values each time that the device can be reached again, or changes one, until a signal ends it. `each` gets the values.
    pub(super) fn follow(
        &mut self,
        mut each: impl FnMut(&Outcome) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        anyhow::ensure!(self.is_kept, "`sync` needs --replica");
        // One wake-up that waits is enough.
        let (wake, woken) = sync_channel(1);
        let is_ended = Arc::new(AtomicBool::new(false));
        let (ended, wake_at_end) = (Arc::clone(&is_ended), wake.clone());
        signals::on_first(move |_| {
            ended.store(true, Ordering::SeqCst);
            let _ = wake_at_end.try_send(());
        })?;
        let client = match &self.connection {
            Ok(client) => client,
            Err(error) => bail!(Unreachable(format!("{error:#}"))),
        };
        let _watch = client.follow_shared_data(&self.site, self.device, move || {
            let _ = wake.try_send(());
        })?;
        // After a failure, until the next try.
        let mut pause: Option<Duration> = None;
        loop {
            // Other commands write the replica meanwhile.
            self.lock.unlock().context("cannot unlock the replica")?;
            let next = match pause {
                Some(pause) => woken.recv_timeout(pause),
                None => woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if is_ended.load(Ordering::SeqCst) || next == Err(RecvTimeoutError::Disconnected) {
                return Ok(());
            }
            let own = self.own.clone();
            (self.store, self.lock) = open_store(&self.folder, own, self.terminal)?;
            match self.sync() {
                Ok(values) => {
                    pause = None;
                    each(&values)?;
                }
                Err(error) if is_of_replica(&error) => return Err(error),
                Err(error) => {
                    if pause.is_none() {
                        self.terminal.note(format!("{error:#}"));
                    }
                    let next = pause.map_or(FIRST_PAUSE, |pause| pause.saturating_mul(2));
                    pause = Some(next.min(LONGEST_PAUSE));
                }
            }
        }
    }

    /// Carries out a command. If the device cannot be reached, on the replica alone.
    pub(super) fn act(&mut self, action: SharedDataAction) -> anyhow::Result<Outcome> {
        match action {
            SharedDataAction::List {} => match self.list() {
                Err(error) if self.is_kept && is_unreachable(&error) => {
                    self.note_unreachable(&error);
                    let replica = self.store.replica();
                    let views = replica.names().map(|name| replica.view(name));
                    Ok(Outcome::Values(views.collect::<Result<_, _>>()?))
                }
                summaries => Ok(Outcome::Summaries(summaries?)),
            },
            SharedDataAction::Get { name } => {
                let is_reached = self.try_pull(&name, true)?;
                self.outcome(&name, is_reached)
            }
            SharedDataAction::Set { name, value } => {
                let value = JsonText::of(&value)?;
                self.write(&name, |replica, now_ms| replica.set(&name, value, now_ms))
            }
            SharedDataAction::Append { name, value } => {
                let value = JsonText::of(&value)?;
                self.write(&name, |replica, now_ms| {
                    replica.append(&name, value, now_ms)
                })
            }
        }
    }

    fn write(
        &mut self,
        name: &str,
        edit: impl FnOnce(&mut Replica, u64) -> Result<(), SharedDataError>,
    ) -> anyhow::Result<Outcome> {
        let is_reached = self.try_pull(name, false)?;
        let now_ms = now_ms();
        self.store.change(|replica| edit(replica, now_ms))?;
        if is_reached {
            self.push(name)?;
        }
        self.outcome(name, is_reached)
    }

    fn outcome(&self, name: &str, delivered: bool) -> anyhow::Result<Outcome> {
        Ok(Outcome::Value {
            view: self.store.replica().view(name)?,
            delivered: Some(delivered),
        })
    }

    /// Gets the device's state of a value. False if the device cannot be reached, and the replica is kept.
    fn try_pull(&mut self, name: &str, only_reads: bool) -> anyhow::Result<bool> {
        match self.pull(name, only_reads) {
            Ok(()) => Ok(true),
            Err(error) if self.is_kept && is_unreachable(&error) => {
                self.note_unreachable(&error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn pull(&mut self, name: &str, only_reads: bool) -> anyhow::Result<()> {
        let request = Action::Get {
            name: name.to_owned(),
        };
        let answer = self.ask(request, name)?;
        self.take(name, answer, only_reads)
    }

    fn push(&mut self, name: &str) -> anyhow::Result<()> {
        let state = self.store.replica().state(name)?.clone();
        let request = Action::Exchange {
            name: name.to_owned(),
            state,
        };
        let answer = self.ask(request, name)?;
        self.take(name, answer, false)
    }

    fn list(&self) -> anyhow::Result<Vec<Summary>> {
        match self.ask(Action::List {}, "")? {
            Answer::Values(summaries) => Ok(summaries),
            Answer::Value { .. } => bail!("the device's answer is about something else"),
        }
    }

    /// Merges an answer into the replica.
    fn take(&mut self, name: &str, answer: Answer, only_reads: bool) -> anyhow::Result<()> {
        let Answer::Value {
            at_ms,
            definition,
            state,
            ahead,
        } = answer
        else {
            bail!("the device's answer is about something else");
        };
        // A value can be read, whatever the clocks show.
        let now_ms = if only_reads && !self.is_kept {
            at_ms
        } else {
            now_ms()
        };
        let merged = self.store.change(|replica| {
            replica.define(name, definition);
            replica.exchange(name, state, at_ms, now_ms)
        })?;
        if ahead + merged.ahead > 0 {
            let entries = ahead + merged.ahead;
            self.terminal.note(format!(
                "left out {entries} entries of `{name}` whose times are in the future; their writer writes them again when its clock is right"
            ));
        }
        Ok(())
    }

    fn ask(&self, shared_data: Action, name: &str) -> anyhow::Result<Answer> {
        let client = match &self.connection {
            Ok(client) => client,
            Err(error) => bail!(Unreachable(format!("{error:#}"))),
        };
        let is_write = matches!(shared_data, Action::Exchange { .. });
        let mut request = SignedRequest::new(&Request {
            site: self.site.clone(),
            device: self.device.to_owned(),
            at_ms: now_ms(),
            shared_data,
        });
        if let (true, Some(key)) = (is_write, &self.key) {
            request.sign(key).context("cannot sign the request")?;
        }
        let bytes = request.to_bytes();
        let list = self.list.as_ref();
        let answer = client.shared_data(&self.site, self.device, &bytes, self.timeout, list)?;
        Ok(read_answer(answer.to_string().as_bytes(), name)?)
    }

    fn note_unreachable(&self, error: &anyhow::Error) {
        self.terminal.note(format!(
            "{error:#}; the replica alone is used, and `hotshoe shared-data sync` delivers what it has"
        ));
    }
}

/// The session could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unreachable(String);

/// Whether the device may get the write later.
fn is_unreachable(error: &anyhow::Error) -> bool {
    error.is::<Unreachable>()
        || matches!(
            error.downcast_ref::<OrderError>(),
            Some(OrderError::NoReply { .. })
        )
}

/// Whether the replica itself cannot be used.
fn is_of_replica(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<SharedDataError>(),
        Some(SharedDataError::Store(_))
    ) || error.is::<StoreError>()
}

/// Opens a replica, and locks its folder.
fn open_store(
    folder: &Path,
    own: Writer,
    terminal: &Terminal,
) -> anyhow::Result<(SharedStore, File)> {
    let cannot = || format!("cannot use the replica {}", folder.display());
    let disk = Disk::new(Faults::never());
    disk.make_folder(folder).with_context(cannot)?;
    let lock = disk.open(&folder.join("lock")).with_context(cannot)?;
    lock.lock().with_context(cannot)?;
    let (store, set_aside) = SharedStore::open(disk, folder, own)?;
    if let Some(set_aside) = set_aside {
        terminal.note(chain(&set_aside));
    }
    Ok((store, lock))
}

/// The name of the site's writer: the key's, so that two deployers are two writers.
fn writer(key: Option<&SigningKey>) -> anyhow::Result<Writer> {
    let Some(key) = key else {
        return Ok(Writer::site(UNSIGNED));
    };
    let fingerprint = key.public_key()?.fingerprint().hex();
    let name: String = fingerprint.chars().take(FINGERPRINT_CHARS).collect();
    Ok(Writer::site(&name))
}

/// Milliseconds since 1970-01-01T00:00:00Z.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
