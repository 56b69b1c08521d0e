//! The registry: it stores releases and statements for a site, so that devices can fetch them when the publisher is offline.
//!
//! It is not trusted: a device verifies every statement and every release itself. Two registries of a site are redundant. A registry
//! stores only releases that its trusted keys have signed, so that others cannot fill its disk.

mod integrity;
mod kept;
mod rebuild;
mod record;
mod rollouts;
mod signing_key;
mod work;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use hotshoe_base::files;
use hotshoe_base::format::NewerFormat;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::descriptors;
use hotshoe_config::{
    ConfigError, Files, LogConfig, PageConfig, TRUST, ZenohConfig, changed, changed_files,
    check_name, files_of_link,
};
use hotshoe_link::{
    HeadSubscription, LinkError, NameRelay, Notice, NoticeResponder, NoticeSubscription,
    OtherRegistries, PastResponder, RawNotice, RegistryAnnouncement, ReportSubscription, Sharing,
    Site,
};
use hotshoe_protocol::registry::RegistryStatus;
use hotshoe_protocol::wire::REGISTRY;
use hotshoe_rollout::Summary;
use hotshoe_store::{BlobStore, Catalogue, OpenError};
use hotshoe_trust::toml_file::{self, TomlError};
use hotshoe_trust::{Digest, MAX_TRUST_BYTES, TrustError, TrustRoot, TrustUpdate, rotate, time_of};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DeliveryConfig, Fetcher, HeadLimits, keep_heads};
use integrity::WAITING_REPORTS;
use record::Record;
use rollouts::RolloutBook;
use work::{RegistryWorker, State};

pub use record::StoredRelease;

/// Name of the record in the data folder.
const RECORD: &str = "registry.json";
/// Largest configuration, in bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Configuration of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistryConfig {
    /// The site that it stores releases for.
    pub site: String,
    /// Its name, in its certificate and its keys. Two registries of a site need different names.
    pub name: String,
    /// The data folder. Default: `registry`.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// The file of trusted keys. Default: `trust.toml`.
    #[serde(default = "default_trust")]
    pub trust: PathBuf,
    /// Its Zenoh session. With `mode = "router"` it is also the site's router.
    #[serde(default)]
    pub zenoh: ZenohConfig,
    /// Disk quota of releases in MiB. Default: 16384. The newest release of each name is always kept.
    #[serde(default = "default_quota")]
    pub quota_mib: u64,
    /// Number of releases per name to keep. Default: 16.
    #[serde(default = "default_keep")]
    pub keep: usize,
    /// Bandwidth limit of fetches in bytes per second. Default: no limit.
    #[serde(default)]
    pub max_bytes_per_second: Option<u64>,
    /// The folder of the devices' public keys, one `NAME.pub` for each device. The page and counts of rollouts check with them who said what.
    /// Default: none, and what devices say is only claimed.
    #[serde(default)]
    pub device_keys: Option<PathBuf>,
    /// The page that shows the devices of the site. Default: none.
    #[serde(default)]
    pub page: Option<PageConfig>,
    /// The log on standard error.
    #[serde(default)]
    pub log: LogConfig,
}

fn default_data() -> PathBuf {
    PathBuf::from("registry")
}

fn default_trust() -> PathBuf {
    PathBuf::from("trust.toml")
}

const fn default_quota() -> u64 {
    16_384
}

const fn default_keep() -> usize {
    16
}

/// Why a registry did not start.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The configuration is not valid TOML, or has an unknown key.
    #[error("the configuration of the registry is not valid")]
    Toml(#[source] TomlError),
    /// A setting is not valid.
    #[error("the configuration of the registry is not valid")]
    Config(#[source] ConfigError),
    /// The trusted keys are not valid.
    #[error("the trusted keys {} are not valid", path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
    /// The data folder cannot be opened.
    #[error("cannot open the registry's data folder")]
    Open(#[source] OpenError),
    /// The record cannot be read.
    #[error("cannot read the registry's record {}; remove it: the next start rebuilds it from the blobs. Then publish the statements again", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A newer version of Hotshoe wrote the record.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// Zenoh refused.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl RegistryError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "io",
            Self::Toml(_) | Self::Config(_) => "invalid_config",
            Self::Trust { .. } => "invalid_trust",
            Self::Open(_) => "data_folder",
            Self::Record { .. } => "bad_record",
            Self::Newer(error) => error.name(),
            Self::Link(error) => error.name(),
        }
    }
}

impl RegistryConfig {
    /// A configuration with these names and the defaults.
    pub fn new(site: &str, name: &str) -> Self {
        Self {
            site: site.to_owned(),
            name: name.to_owned(),
            data: default_data(),
            trust: default_trust(),
            zenoh: ZenohConfig::default(),
            quota_mib: default_quota(),
            keep: default_keep(),
            max_bytes_per_second: None,
            device_keys: None,
            page: None,
            log: LogConfig::default(),
        }
    }

    /// Reads and checks a file. Relative paths are relative to its folder.
    ///
    /// # Errors
    /// [`RegistryError`], which names the key or the file.
    pub fn load(path: &Path) -> Result<Self, RegistryError> {
        let text = read_text(path, MAX_CONFIG_BYTES)?;
        let mut config: Self = toml_file::parse(&text).map_err(RegistryError::Toml)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.data = folder.join(&config.data);
        config.trust = folder.join(&config.trust);
        config.zenoh.resolve(folder);
        config.device_keys = config.device_keys.map(|keys| folder.join(keys));
        if let Some(page) = &mut config.page {
            page.resolve(folder);
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), RegistryError> {
        check_name("site", &self.site)
            .and_then(|()| check_name("name", &self.name))
            .and_then(|()| self.zenoh.check())
            .and_then(|()| self.log.check())
            .and_then(|()| self.page.as_ref().map_or(Ok(()), PageConfig::check_site))
            .map_err(RegistryError::Config)
    }
}

fn read_text(path: &Path, most: u64) -> Result<String, RegistryError> {
    files::read_text(path, most).map_err(|source| RegistryError::Read {
        path: path.to_owned(),
        source,
    })
}

/// A running registry.
pub struct Registry {
    site: Site,
    work: Arc<RegistryWorker>,
    watches: [NoticeSubscription; 3],
    answering: [NoticeResponder; 3],
    reports: ReportSubscription,
    past: PastResponder,
    rollouts: Arc<RolloutBook>,
    sharing: Sharing,
    announcement: RegistryAnnouncement,
    names: NameRelay,
    heads: HeadSubscription,
    threads: [JoinHandle<()>; 3],
    supervisor: Supervisor,
    fetcher: Arc<Fetcher>,
    config: Mutex<RegistryConfig>,
    /// Contents, at the start, of the files that keys name.
    files: Files,
}

/// Result of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Changed keys that are now in effect.
    pub applied: BTreeSet<String>,
    /// Changed keys that need a restart.
    pub needs_restart: BTreeSet<String>,
    /// Whether the file of trusted keys changed. A reload does not read it.
    pub trust_changed: bool,
}

/// The configuration that can be in effect without a restart.
fn in_effect(running: &RegistryConfig, new: &RegistryConfig) -> RegistryConfig {
    // Without `..`, so that a new key must be handled here.
    let RegistryConfig {
        site: _,
        name: _,
        data: _,
        trust: _,
        zenoh: _,
        quota_mib,
        keep,
        max_bytes_per_second,
        device_keys,
        page,
        log,
    } = new.clone();
    RegistryConfig {
        quota_mib,
        keep,
        max_bytes_per_second,
        device_keys,
        page: match (&running.page, page) {
            (Some(running), Some(new)) => Some(running.renewed(new)),
            (running, _) => running.clone(),
        },
        log,
        ..running.clone()
    }
}

impl Registry {
    /// Starts a registry: it serves what it has stored, then follows the site's statements.
    ///
    /// # Errors
    /// [`RegistryError`] names what is wrong.
    pub fn start(config: &RegistryConfig) -> Result<Self, RegistryError> {
        Self::start_with(config, Supervisor::default())
    }

    /// Like [`Self::start`], with its threads registered in `supervisor`.
    ///
    /// # Errors
    /// The same.
    pub fn start_with(
        config: &RegistryConfig,
        supervisor: Supervisor,
    ) -> Result<Self, RegistryError> {
        config.check()?;
        let blobs = BlobStore::open(&config.data).map_err(RegistryError::Open)?;
        let record_file = config.data.join(RECORD);
        let is_lost = !record_file.exists();
        let mut record = Record::load(&record_file)?;
        let trust = trust(config, &record)?;
        let now = time_of(supervisor.clock().wall());
        if is_lost || !record.unverified.is_empty() {
            rebuild::rebuild(&mut record, is_lost, &blobs, &trust, now);
        }
        let (reports, reported) = sync_channel(WAITING_REPORTS);
        let work = Arc::new(RegistryWorker {
            site: config.site.clone(),
            name: config.name.clone(),
            instance: Uuid::new_v4().simple().to_string(),
            others: OtherRegistries::new(supervisor.clock().clone()),
            record_file,
            quota: AtomicU64::new(quota_bytes(config)),
            keep: AtomicUsize::new(config.keep),
            blobs,
            catalogue: Catalogue::checked(reports.clone()),
            state: Mutex::new(State::new(record, trust, now)),
            changed: Condvar::new(),
            refused: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            reports,
            clock: supervisor.clock().clone(),
        });
        work.list();
        let mut zenoh = config.zenoh.clone();
        descriptors::fit_session(&mut zenoh);
        let site = Site::open_with(&zenoh, &config.site, &supervisor)?;
        let source = format!("{REGISTRY}{}", config.name);
        let delivery = DeliveryConfig {
            max_bytes_per_second: config.max_bytes_per_second,
            ..DeliveryConfig::default()
        };
        let fetcher = Fetcher::of(&site, &source, work.catalogue.clone(), delivery)?;
        let fetcher = Arc::new(fetcher);
        let list = rollouts::device_list(config.device_keys.as_deref());
        let names = (config.site.as_str(), config.name.as_str());
        let book = RolloutBook::open(
            &config.data,
            names,
            &work.trust(),
            list,
            supervisor.clock().clone(),
        );
        let book = Arc::new(book);
        book.want_releases(&work);
        let stated = Arc::clone(&book);
        let answering = [
            answer(&site, Notice::Desired, &work)?,
            answer(&site, Notice::Trust, &work)?,
            site.answer(Notice::Rollout, move || stated.stated())?,
        ];
        let sharing = site.share(&source, work.catalogue.clone())?;
        let asked = Arc::clone(&work);
        let announcement =
            site.announce_registry(&work.name, &work.instance, &work.others, move || {
                asked.status()
            })?;
        let names = site.relay_names()?;
        let (on_trust, on_desired) = (Arc::clone(&work), Arc::clone(&work));
        let (checked, on_stated) = (Arc::clone(&book), (Arc::clone(&book), Arc::clone(&work)));
        let watches = [
            site.watch(Notice::Trust, move |said| {
                if on_trust.on_trust_update(&said.bytes) {
                    checked.verify_again(&on_trust.trust());
                }
            })?,
            site.watch(Notice::Desired, move |said| on_desired.on_statement(&said))?,
            site.watch(Notice::Rollout, move |said| {
                let (book, work) = &on_stated;
                book.on_stated(&said, work);
            })?,
        ];
        let asked = Arc::clone(&book);
        let past = site.answer_past_rollouts(&config.name, move || asked.past())?;
        let (counting, reports) = count_devices(&site, &book, config, &supervisor)?;
        let heads = keep_heads(&config.data, HeadLimits::REGISTRY, None, &site, &supervisor)?;
        let checker = Arc::clone(&work);
        let check = supervisor
            .restarted("blob-check", move || {
                checker.check_blobs(&reported);
                Ok(())
            })
            .map_err(|source| LinkError::Thread { source })?;
        let (worker, speaker) = (Arc::clone(&work), site.clone());
        let fetches = Arc::clone(&fetcher);
        let thread = supervisor
            .restarted("registry", move || {
                worker.run(&fetches, &speaker);
                Ok(())
            })
            .map_err(|source| LinkError::Thread { source })?;
        Ok(Self {
            site,
            work,
            watches,
            answering,
            sharing,
            announcement,
            names,
            heads,
            threads: [thread, check, counting],
            reports,
            past,
            rollouts: book,
            supervisor,
            fetcher,
            config: Mutex::new(config.clone()),
            files: files_of_link(&config.zenoh, &config.trust),
        })
    }

    /// The site's keys, on its session.
    pub const fn site_session(&self) -> &Site {
        &self.site
    }

    /// The endpoints that it listens on.
    pub fn locators(&self) -> Vec<String> {
        self.site.status().locators
    }

    /// The releases that it has stored completely.
    pub fn held(&self) -> Vec<StoredRelease> {
        self.work.lock().held().cloned().collect()
    }

    /// Waits until it has stored a release. False after `timeout`.
    pub fn wait_for(&self, release: Digest, timeout: Duration) -> bool {
        let clock = self.supervisor.clock();
        let until = clock.deadline(timeout);
        let mut state = self.work.lock();
        loop {
            if state.holds(release) {
                return true;
            }
            if clock.now() >= until {
                return false;
            }
            clock.wait_until(&self.work.changed, &mut state, until);
        }
    }

    /// Bytes of objects sent.
    pub fn sent(&self) -> u64 {
        self.sharing.sent()
    }

    /// Number of refused statements and releases.
    pub fn refused(&self) -> u64 {
        self.work.refused.load(Ordering::Relaxed)
    }

    /// What it says about itself to those who ask over Zenoh.
    pub fn status(&self) -> RegistryStatus {
        self.work.status()
    }

    /// What says which rollouts there are, with the devices of this site. It may outlive the registry.
    pub fn rollouts(&self) -> impl Fn() -> Vec<Summary> + Send + Sync + use<> {
        let book = Arc::clone(&self.rollouts);
        move || book.summaries()
    }

    /// Number of stored blobs that were found damaged and set aside.
    pub fn damaged(&self) -> u64 {
        self.work.damaged.load(Ordering::Relaxed)
    }

    /// Applies a new configuration as far as possible without a restart.
    ///
    /// # Errors
    /// [`RegistryError::Config`] if the new one is not valid; then nothing changes.
    pub fn reload(&self, new: &RegistryConfig) -> Result<Reloaded, RegistryError> {
        new.check()?;
        let mut running = self.config.lock();
        let config = in_effect(&running, new);
        let mut reloaded = Reloaded {
            applied: changed(&*running, &config),
            needs_restart: changed(&config, new),
            trust_changed: false,
        };
        for key in changed_files(&self.files, &files_of_link(&config.zenoh, &config.trust)) {
            match key {
                TRUST => reloaded.trust_changed = true,
                key => drop(reloaded.needs_restart.insert(key.to_owned())),
            }
        }
        self.work
            .quota
            .store(quota_bytes(&config), Ordering::Relaxed);
        self.work.keep.store(config.keep, Ordering::Relaxed);
        if config.max_bytes_per_second != running.max_bytes_per_second {
            self.fetcher.limit(config.max_bytes_per_second);
        }
        self.rollouts
            .set_list(rollouts::device_list(config.device_keys.as_deref()));
        *running = config;
        Ok(reloaded)
    }

    /// Its threads.
    pub const fn parts(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Stops it. Stored releases stay on disk.
    pub fn stop(self) {
        self.supervisor.close();
        self.work.close();
        drop(self.watches);
        // The thread that counts ends with the last sender of reports.
        drop((self.reports, self.past));
        for thread in self.threads {
            let _ = thread.join();
        }
        drop((self.answering, self.sharing, self.announcement));
        drop((self.names, self.heads));
        self.site.close();
    }
}

/// Starts the thread that takes the reports of devices and publishes their count.
fn count_devices(
    site: &Site,
    book: &Arc<RolloutBook>,
    config: &RegistryConfig,
    supervisor: &Supervisor,
) -> Result<(JoinHandle<()>, ReportSubscription), LinkError> {
    let counts = site.announce_counts(&config.name, signing_key::open(&config.data))?;
    let (sender, reported) = rollouts::channel();
    let book = Arc::clone(book);
    let thread = supervisor
        .restarted("rollouts", move || {
            book.run(&reported, &counts);
            Ok(())
        })
        .map_err(|source| LinkError::Thread { source })?;
    let reports = site.follow_rollout_reports(move |said| rollouts::hand_on(&sender, said))?;
    Ok((thread, reports))
}

fn quota_bytes(config: &RegistryConfig) -> u64 {
    config.quota_mib.saturating_mul(1 << 20)
}

/// The trusted keys of the file, with the recorded newer versions applied.
fn trust(config: &RegistryConfig, record: &Record) -> Result<TrustRoot, RegistryError> {
    let text = read_text(&config.trust, MAX_TRUST_BYTES)?;
    let mut trust = TrustRoot::parse(&text).map_err(|source| RegistryError::Trust {
        path: config.trust.clone(),
        source,
    })?;
    for update in &record.updates {
        let new = TrustUpdate::parse(update.as_bytes()).map(|update| rotate(&trust, &update));
        // The file may have been replaced by a newer version.
        if let Ok(Ok(new)) = new {
            trust = new.root;
        }
    }
    Ok(trust)
}

fn answer(
    site: &Site,
    notice: Notice,
    work: &Arc<RegistryWorker>,
) -> Result<NoticeResponder, LinkError> {
    let work = Arc::clone(work);
    site.answer(notice, move || {
        let state = work.lock();
        let desired = |name: &str, text: &str| RawNotice {
            name: name.to_owned(),
            bytes: text.as_bytes().to_vec(),
        };
        match notice {
            Notice::Desired => {
                // Signed statements first: of too many, a device takes the first.
                let (signed, others): (Vec<_>, Vec<_>) =
                    state.record.statements.iter().partition(|kept| kept.signed);
                let kept = signed.iter().chain(&others);
                kept.map(|kept| desired(&kept.name, &kept.envelope))
                    .collect()
            }
            Notice::Trust => {
                let updates = state.record.updates.iter();
                updates.map(|update| desired("", update)).collect()
            }
            // The rollouts have a record of their own.
            Notice::Rollout => Vec::new(),
        }
    })
}
