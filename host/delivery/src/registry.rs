//! A registry: it keeps releases and statements for a site, so that devices find them when the publisher has gone.
//!
//! It decides nothing. A device judges every statement and every release itself, whoever passes it on; two registries for one site
//! are redundant. What a registry holds is signed by keys that it trusts, so that nobody fills its disk.

mod record;
mod work;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hotshoe_base::files;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::descriptors;
use hotshoe_config::{
    ConfigError, Files, LogConfig, TRUST, ZenohConfig, changed, changed_files, check_name,
    files_of_link,
};
use hotshoe_link::{Answering, Desired, LinkError, Notice, Sharing, Site, Watch};
use hotshoe_protocol::wire::REGISTRY;
use hotshoe_store::{BlobStore, Catalogue, OpenError};
use hotshoe_trust::toml_file::{self, TomlError};
use hotshoe_trust::{Digest, MAX_TRUST_BYTES, TrustError, TrustRoot, TrustUpdate, rotate};
use serde::{Deserialize, Serialize};

use crate::{DeliveryConfig, Fetcher};
use record::Record;
use work::{State, Work};

pub use record::Held;

/// The registry's record, in its data folder.
const RECORD: &str = "registry.json";
/// Largest configuration, in bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// What the operator of a registry decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistryConfig {
    /// The site that it keeps releases for.
    pub site: String,
    /// Its name, which its certificate and its keys bear. Two registries of one site have two names.
    pub name: String,
    /// The data folder. Default: `registry`.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// The file of trusted keys. Default: `trust.toml`.
    #[serde(default = "default_trust")]
    pub trust: PathBuf,
    /// How it reaches others. With `mode = "router"` it is the site's router as well.
    #[serde(default)]
    pub zenoh: ZenohConfig,
    /// The most that releases may take on the disk, in MiB. Default: 16384. The newest release of each name stays in any case.
    #[serde(default = "default_quota")]
    pub quota_mib: u64,
    /// Releases of one name that are kept. Default: 16.
    #[serde(default = "default_keep")]
    pub keep: usize,
    /// The most that fetching takes, in bytes a second. Default: no limit.
    #[serde(default)]
    pub max_bytes_per_second: Option<u64>,
    /// What it writes to standard error.
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
    /// The configuration is not the TOML that is expected.
    #[error("the configuration of the registry is not valid")]
    Toml(#[source] TomlError),
    /// A setting cannot be.
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
    #[error("cannot read the registry's record {}; remove it, and publish the releases again", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
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
            Self::Link(error) => error.name(),
        }
    }
}

impl RegistryConfig {
    /// A registry of these names, with everything else as it is by default.
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
            log: LogConfig::default(),
        }
    }

    /// Reads and checks a file. Relative paths are taken from its folder.
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
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), RegistryError> {
        check_name("site", &self.site)
            .and_then(|()| check_name("name", &self.name))
            .and_then(|()| self.zenoh.check())
            .and_then(|()| self.log.check())
            .map_err(RegistryError::Config)
    }
}

fn read_text(path: &Path, most: u64) -> Result<String, RegistryError> {
    files::read_text(path, most).map_err(|source| RegistryError::Read {
        path: path.to_owned(),
        source,
    })
}

/// A registry at work.
pub struct Registry {
    site: Site,
    work: Arc<Work>,
    watches: [Watch; 2],
    answering: [Answering; 2],
    sharing: Sharing,
    thread: JoinHandle<()>,
    parts: Supervisor,
    fetcher: Arc<Fetcher>,
    config: Mutex<RegistryConfig>,
    /// The contents of the files that keys name, as it started.
    files: Files,
}

/// What a registry made of a configuration that it was given while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The keys that changed and are in effect.
    pub applied: BTreeSet<String>,
    /// The keys that changed and need a restart to be in effect.
    pub needs_restart: BTreeSet<String>,
    /// Whether the file of the trusted keys was changed, which nothing here reads.
    pub trust_changed: bool,
}

/// What is in effect when `running` was, and `new` is in the file.
fn in_effect(running: &RegistryConfig, new: &RegistryConfig) -> RegistryConfig {
    // The parts are named one by one, so that no new key is forgotten here.
    let RegistryConfig {
        site: _,
        name: _,
        data: _,
        trust: _,
        zenoh: _,
        quota_mib,
        keep,
        max_bytes_per_second,
        log,
    } = new.clone();
    RegistryConfig {
        quota_mib,
        keep,
        max_bytes_per_second,
        log,
        ..running.clone()
    }
}

impl Registry {
    /// Starts it: first it answers for what it holds, then it follows what is said to the site.
    ///
    /// # Errors
    /// [`RegistryError`] names what is wrong.
    pub fn start(config: &RegistryConfig) -> Result<Self, RegistryError> {
        Self::start_with(config, Supervisor::default())
    }

    /// The same, beside other parts of the process that die or live with it.
    ///
    /// # Errors
    /// The same.
    pub fn start_with(config: &RegistryConfig, parts: Supervisor) -> Result<Self, RegistryError> {
        config.check()?;
        let blobs = BlobStore::open(&config.data).map_err(RegistryError::Open)?;
        let record_file = config.data.join(RECORD);
        let record = Record::load(&record_file)?;
        let trust = trust(config, &record)?;
        let work = Arc::new(Work {
            site: config.site.clone(),
            record_file,
            quota: AtomicU64::new(quota_bytes(config)),
            keep: AtomicUsize::new(config.keep),
            blobs,
            catalogue: Catalogue::new(),
            state: Mutex::new(State::new(record, trust)),
            changed: Condvar::new(),
            refused: AtomicU64::new(0),
        });
        work.list();
        let mut zenoh = config.zenoh.clone();
        descriptors::fit_session(&mut zenoh);
        let site = Site::open_with(&zenoh, &config.site, &parts)?;
        let source = format!("{REGISTRY}{}", config.name);
        let delivery = DeliveryConfig {
            max_bytes_per_second: config.max_bytes_per_second,
            ..DeliveryConfig::default()
        };
        let fetcher = Fetcher::of(&site, &source, work.catalogue.clone(), delivery)?;
        let fetcher = Arc::new(fetcher);
        let answering = [
            answer(&site, Notice::Desired, &work)?,
            answer(&site, Notice::Trust, &work)?,
        ];
        let sharing = site.share(&source, work.catalogue.clone())?;
        let (judge, jury) = (Arc::clone(&work), Arc::clone(&work));
        let watches = [
            site.watch(Notice::Trust, move |said| judge.heard_trust(&said.bytes))?,
            site.watch(Notice::Desired, move |said| jury.heard(&said))?,
        ];
        let (worker, speaker) = (Arc::clone(&work), site.clone());
        let fetches = Arc::clone(&fetcher);
        let thread = parts
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
            thread,
            parts,
            fetcher,
            config: Mutex::new(config.clone()),
            files: files_of_link(&config.zenoh, &config.trust),
        })
    }

    /// Where it listens.
    pub fn locators(&self) -> Vec<String> {
        self.site.status().locators
    }

    /// The releases that it holds whole.
    pub fn held(&self) -> Vec<Held> {
        self.work.lock().record.releases.clone()
    }

    /// Waits until it holds a release. False where it does not after so long.
    pub fn wait_for(&self, release: Digest, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.work.lock();
        loop {
            if state.record.releases.iter().any(|h| h.release == release) {
                return true;
            }
            let left = deadline.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            state = self
                .work
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Bytes of objects that were sent.
    pub fn sent(&self) -> u64 {
        self.sharing.sent()
    }

    /// Statements and releases that were refused.
    pub fn refused(&self) -> u64 {
        self.work.refused.load(Ordering::Relaxed)
    }

    /// Takes over what it can of a new configuration.
    ///
    /// # Errors
    /// [`RegistryError::Config`] where the new one is not valid; then nothing changes.
    pub fn reload(&self, new: &RegistryConfig) -> Result<Reloaded, RegistryError> {
        new.check()?;
        let mut running = self.config.lock().unwrap_or_else(PoisonError::into_inner);
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
        *running = config;
        Ok(reloaded)
    }

    /// Its threads.
    pub const fn parts(&self) -> &Supervisor {
        &self.parts
    }

    /// Ends it. What it holds stays on disk.
    pub fn stop(self) {
        self.parts.close();
        self.work.close();
        drop(self.watches);
        let _ = self.thread.join();
        drop((self.answering, self.sharing));
        self.site.close();
    }
}

fn quota_bytes(config: &RegistryConfig) -> u64 {
    config.quota_mib.saturating_mul(1 << 20)
}

/// The trusted keys: those of the file, and the newer versions that came since.
fn trust(config: &RegistryConfig, record: &Record) -> Result<TrustRoot, RegistryError> {
    let text = read_text(&config.trust, MAX_TRUST_BYTES)?;
    let mut trust = TrustRoot::parse(&text).map_err(|source| RegistryError::Trust {
        path: config.trust.clone(),
        source,
    })?;
    for update in &record.updates {
        let new = TrustUpdate::parse(update.as_bytes()).map(|update| rotate(&trust, &update));
        // A file that was replaced by hand is ahead of some.
        if let Ok(Ok(new)) = new {
            trust = new.root;
        }
    }
    Ok(trust)
}

fn answer(site: &Site, notice: Notice, work: &Arc<Work>) -> Result<Answering, LinkError> {
    let work = Arc::clone(work);
    site.answer(notice, move || {
        let state = work.lock();
        let desired = |name: &str, text: &str| Desired {
            name: name.to_owned(),
            bytes: text.as_bytes().to_vec(),
        };
        match notice {
            Notice::Desired => {
                // What is signed comes first: of too many, whoever asks takes the first.
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
        }
    })
}
