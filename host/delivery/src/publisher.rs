//! A deployer's end: it answers for a release's objects, and says what a site should run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hotshoe_config::ZenohConfig;
use hotshoe_link::{Answering, Client, Desired, LinkError, Notice, Sharing, Site};
use hotshoe_protocol::wire::PUBLISHER;
use hotshoe_store::{Catalogue, CatalogueError, Layout, SharedRelease};

/// Characters of a publisher's name after [`PUBLISHER`].
const NAME_CHARS: usize = 8;

/// Why a release is not answered for.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The release cannot be read.
    #[error(transparent)]
    Release(#[from] CatalogueError),
    /// Zenoh refused.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl PublishError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Release(error) => error.name(),
            Self::Link(error) => error.name(),
        }
    }
}

/// What was said to the site, by the name of the release.
type Said = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Publishes releases to one site, for as long as it lives.
pub struct Publisher {
    site: Site,
    client: Client,
    source: String,
    catalogue: Catalogue,
    desired: Said,
    trust: Said,
    _answering: [Answering; 2],
    sharing: Option<Sharing>,
}

impl Publisher {
    /// Opens a session. It does not wait for anybody.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn open(config: &ZenohConfig, site: &str) -> Result<Self, LinkError> {
        let site = Site::open(config, site)?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let (desired, trust) = (Said::default(), Said::default());
        let answering = [
            answer(&site, Notice::Desired, &desired)?,
            answer(&site, Notice::Trust, &trust)?,
        ];
        Ok(Self {
            client: Client::of(&site, config.max_message_bytes),
            source: format!("{PUBLISHER}{}", id.get(..NAME_CHARS).unwrap_or(&id)),
            site,
            catalogue: Catalogue::new(),
            desired,
            trust,
            _answering: answering,
            sharing: None,
        })
    }

    /// A client in the same session.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Answers for the objects of a release folder, with its signatures.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn serve(&mut self, layout: &Layout) -> Result<SharedRelease, PublishError> {
        let served = self.catalogue.add_layout(layout)?;
        if self.sharing.is_none() {
            self.sharing = Some(self.site.share(&self.source, self.catalogue.clone())?);
        }
        Ok(served)
    }

    /// Says what the site should run, and answers those that ask later: the bytes of a statement's envelope.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn desire(&self, name: &str, envelope: Vec<u8>) -> Result<(), LinkError> {
        say(&self.site, Notice::Desired, &self.desired, name, envelope)
    }

    /// Passes on a new `trust.toml`, also to those that ask later.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn update_trust(&self, update: Vec<u8>) -> Result<(), LinkError> {
        say(&self.site, Notice::Trust, &self.trust, "", update)
    }

    /// The name under which it answers for objects.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Where it listens.
    pub fn locators(&self) -> Vec<String> {
        self.site.status().locators
    }

    /// Bytes of objects that were sent.
    pub fn sent(&self) -> u64 {
        self.sharing.as_ref().map_or(0, Sharing::sent)
    }

    /// Ends it. Devices that have not fetched all wait for another source.
    pub fn close(self) {
        drop(self.sharing);
        self.site.close();
    }
}

fn answer(site: &Site, notice: Notice, said: &Said) -> Result<Answering, LinkError> {
    let said = Arc::clone(said);
    site.answer(notice, move || {
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let desired = |(name, bytes): (&String, &Vec<u8>)| Desired {
            name: name.clone(),
            bytes: bytes.clone(),
        };
        said.iter().map(desired).collect()
    })
}

fn say(
    site: &Site,
    notice: Notice,
    said: &Said,
    name: &str,
    bytes: Vec<u8>,
) -> Result<(), LinkError> {
    said.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(name.to_owned(), bytes.clone());
    site.say(notice, name, &bytes)
}
