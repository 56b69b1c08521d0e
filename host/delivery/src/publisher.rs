//! The publisher of a deployer: it serves a release's objects, and publishes statements and trusted keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use hotshoe_config::ZenohConfig;
use hotshoe_link::{Client, LinkError, Notice, NoticeResponder, RawNotice, Sharing, Site};
use hotshoe_protocol::rollout::StatedRollout;
use hotshoe_protocol::wire::PUBLISHER;
use hotshoe_store::{Catalogue, CatalogueError, Layout, SharedRelease};
use parking_lot::Mutex;

/// Characters of a publisher's name after [`PUBLISHER`].
const NAME_CHARS: usize = 8;

/// Why a release cannot be published.
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

/// Published messages, by the name of the release.
type PublishedMessages = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Publishes releases to one site, for as long as it lives.
pub struct Publisher {
    site: Site,
    client: Client,
    source: String,
    catalogue: Catalogue,
    desired: PublishedMessages,
    trust: PublishedMessages,
    rollouts: PublishedMessages,
    _answering: [NoticeResponder; 3],
    sharing: Option<Sharing>,
}

impl Publisher {
    /// Opens a session. It does not wait for the network.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn open(config: &ZenohConfig, site: &str) -> Result<Self, LinkError> {
        let site = Site::open(config, site)?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let (desired, trust) = (PublishedMessages::default(), PublishedMessages::default());
        let rollouts = PublishedMessages::default();
        let answering = [
            answer(&site, Notice::Desired, &desired)?,
            answer(&site, Notice::Trust, &trust)?,
            answer(&site, Notice::Rollout, &rollouts)?,
        ];
        Ok(Self {
            client: Client::of(&site, config.max_message_bytes),
            source: format!("{PUBLISHER}{}", id.get(..NAME_CHARS).unwrap_or(&id)),
            site,
            catalogue: Catalogue::new(),
            desired,
            trust,
            rollouts,
            _answering: answering,
            sharing: None,
        })
    }

    /// A client on the same session.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Serves the objects of a release folder, signatures included.
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

    /// Publishes a statement, the bytes of its envelope, and answers later queries with it.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn publish_statement(&self, name: &str, envelope: Vec<u8>) -> Result<(), LinkError> {
        publish(&self.site, Notice::Desired, &self.desired, name, envelope)
    }

    /// Publishes a new `trust.toml`, and answers later queries with it.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn update_trust(&self, update: Vec<u8>) -> Result<(), LinkError> {
        publish(&self.site, Notice::Trust, &self.trust, "", update)
    }

    /// Publishes a rollout of the release `name`, and answers later queries with it.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn publish_rollout(&self, name: &str, stated: &StatedRollout) -> Result<(), LinkError> {
        let bytes = stated.to_bytes();
        publish(&self.site, Notice::Rollout, &self.rollouts, name, bytes)
    }

    /// Its name as a source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The endpoints that it listens on.
    pub fn locators(&self) -> Vec<String> {
        self.site.status().locators
    }

    /// Bytes of objects sent.
    pub fn sent(&self) -> u64 {
        self.sharing.as_ref().map_or(0, Sharing::sent)
    }

    /// Closes the session. Devices that have not finished wait for another source.
    pub fn close(self) {
        drop(self.sharing);
        self.site.close();
    }
}

fn answer(
    site: &Site,
    notice: Notice,
    said: &PublishedMessages,
) -> Result<NoticeResponder, LinkError> {
    let said = Arc::clone(said);
    site.answer(notice, move || {
        let said = said.lock();
        let desired = |(name, bytes): (&String, &Vec<u8>)| RawNotice {
            name: name.clone(),
            bytes: bytes.clone(),
        };
        said.iter().map(desired).collect()
    })
}

fn publish(
    site: &Site,
    notice: Notice,
    said: &PublishedMessages,
    name: &str,
    bytes: Vec<u8>,
) -> Result<(), LinkError> {
    said.lock().insert(name.to_owned(), bytes.clone());
    site.publish(notice, name, &bytes)
}
