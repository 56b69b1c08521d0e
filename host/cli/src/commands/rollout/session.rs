//! The sites of a fleet: what their registries state and count, over one session.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hotshoe_config::ZenohConfig;
use hotshoe_link::device_list::DeviceList;
use hotshoe_link::{Client, SignedCount};
use hotshoe_protocol::rollout::StatedRollout;
use hotshoe_release::device::trust_root;
use hotshoe_rollout::{Fleet, Rollout, Rollouts};
use hotshoe_trust::{Digest, Time, TrustRoot};

use crate::fleet::error::FleetError;
use crate::fleet::network::NetworkArgs;

/// The file of the trusted keys in a site's folder.
const TRUST: &str = "trust.toml";
/// How long registries have to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How long registries have to store what is stated.
const STORED: Duration = Duration::from_secs(15);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// The sites, and whose signatures count.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FleetArgs {
    /// A site of the fleet; may be repeated [default: that of --site-dir]
    #[arg(long, value_name = "SITE")]
    pub site: Vec<String>,
    /// The keys that devices trust (trust.toml) [default: that in the folder of --site-dir]
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// The folder of the registries' public keys, SITE/NAME.pub, each the registry.pub of a data folder. Ignore counts that they did not sign
    #[arg(long, value_name = "DIR")]
    pub registry_keys: Option<PathBuf>,
    /// Read the network and the site from this configuration
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// The sites of a fleet.
pub(super) struct FleetSession {
    pub client: Client,
    pub zenoh: ZenohConfig,
    pub sites: Vec<String>,
    pub trust: TrustRoot,
    /// The keys of the registries of each site, if counts must be signed.
    keys: Option<BTreeMap<String, DeviceList>>,
}

impl FleetArgs {
    /// The trusted keys.
    pub(super) fn trust(&self) -> anyhow::Result<TrustRoot> {
        let of_site = self.network.site_dir.as_ref().map(|dir| dir.join(TRUST));
        let path = self.trust.clone().or(of_site);
        trust_root(&path.context("give --trust trust.toml, or --site-dir")?)
    }

    /// Opens a session to the sites.
    pub(super) fn open(&self) -> anyhow::Result<FleetSession> {
        let trust = self.trust()?;
        let network = self.network.resolve(self.config.as_deref(), None)?;
        let mut sites = self.site.clone();
        if sites.is_empty() {
            sites.extend(network.site);
        }
        if sites.is_empty() {
            return Err(FleetError::NoSite.into());
        }
        let keys = self.registry_keys.as_ref().map(|folder| {
            let of_site = |site: &String| {
                let list = DeviceList::load(&folder.join(site))?;
                anyhow::Ok((site.clone(), list))
            };
            let lists = sites.iter().map(of_site);
            lists.collect::<anyhow::Result<BTreeMap<_, _>>>()
        });
        let client = Client::open(&network.zenoh).with_context(|| self.network.cannot_open())?;
        Ok(FleetSession {
            client,
            zenoh: network.zenoh,
            sites,
            trust,
            keys: keys.transpose()?,
        })
    }
}

impl FleetSession {
    /// What the registries state about the rollouts of one release name, or of all. What is not valid is left out with a warning.
    pub(super) fn stated(&self, name: Option<&str>) -> anyhow::Result<Rollouts> {
        let mut rollouts = Rollouts::default();
        for site in &self.sites {
            for (_, stated) in self.client.stated_rollouts(Some(site), name, ANSWER)? {
                self.take(&mut rollouts, &stated);
            }
        }
        Ok(rollouts)
    }

    /// What the registries state about all rollouts. A new session does not know all registries at once.
    pub(super) fn all(&self) -> anyhow::Result<Rollouts> {
        let begun = Instant::now();
        loop {
            let rollouts = self.stated(None)?;
            if rollouts.iter().next().is_some() || begun.elapsed() >= ANSWER {
                return Ok(rollouts);
            }
            thread::sleep(PAUSE);
        }
    }

    /// The rollouts that registries keep although others took their place, oldest first. What is not valid is left out.
    pub(super) fn past(&self) -> anyhow::Result<Vec<Rollout>> {
        let mut past: BTreeMap<(Time, Digest), Rollout> = BTreeMap::new();
        for site in &self.sites {
            for stated in self.client.past_rollouts(site, ANSWER)? {
                let now = Time::now();
                let Ok(mut rollout) = Rollout::read(&stated.plan, &self.trust, now) else {
                    continue;
                };
                for text in &stated.statements {
                    drop(rollout.hear(text, &self.trust, now));
                }
                let plan = rollout.plan();
                past.insert((plan.issued, plan.digest()), rollout);
            }
        }
        Ok(past.into_values().collect())
    }

    /// Takes what is stated; whether anything is new.
    pub(super) fn take(&self, rollouts: &mut Rollouts, stated: &StatedRollout) -> bool {
        let (plan, statements) = (&stated.plan, &stated.statements);
        match rollouts.receive(plan, statements, &self.trust, Time::now()) {
            Ok(received) => {
                if let Some(error) = received.refused {
                    tracing::warn!(%error, "a statement about a rollout is not valid");
                }
                received.is_changed
            }
            Err(error) => {
                tracing::warn!(%error, "a rollout is not valid");
                false
            }
        }
    }

    /// The rollout of this release name that the registries state. A new session does not know all registries at once.
    pub(super) fn rollout(&self, name: &str) -> anyhow::Result<Rollout> {
        let begun = Instant::now();
        loop {
            if let Some(rollout) = self.stated(Some(name))?.get(name) {
                return Ok(rollout.clone());
            }
            if begun.elapsed() >= STORED {
                bail!(
                    "no registry of {} knows a rollout of `{name}`; `hotshoe rollout start` begins one",
                    self.sites.join(", ")
                );
            }
            thread::sleep(PAUSE);
        }
    }

    /// States a rollout at all sites.
    pub(super) fn publish(&self, rollout: &Rollout) -> anyhow::Result<()> {
        let stated = StatedRollout::of(rollout);
        for site in &self.sites {
            let name = &rollout.plan().name;
            self.client.publish_rollout(site, name, &stated)?;
        }
        Ok(())
    }

    /// States a rollout until a registry of each site has stored it.
    ///
    /// # Errors
    /// A site has no registry that stored it. Devices that are connected may have heard it all the same.
    pub(super) fn publish_until_stored(&self, rollout: &Rollout) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            self.publish(rollout)?;
            let mut missing = Vec::new();
            for site in &self.sites {
                if !self.is_stored(site, rollout)? {
                    missing.push(site.as_str());
                }
            }
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < STORED,
                "no registry of {} has stored it; check that one runs there, and state it again",
                missing.join(", ")
            );
            thread::sleep(PAUSE);
        }
    }

    fn is_stored(&self, site: &str, rollout: &Rollout) -> anyhow::Result<bool> {
        let name = &rollout.plan().name;
        let mut stored = Rollouts::default();
        for (_, stated) in self
            .client
            .stated_rollouts(Some(site), Some(name), ANSWER)?
        {
            self.take(&mut stored, &stated);
        }
        // It may have heard more, from another controller.
        Ok(stored.get(name).is_some_and(|stored| {
            let mut control = stored.control().clone();
            stored.plan().digest() == rollout.plan().digest() && !control.merge(rollout.control())
        }))
    }

    /// The last counts of all registries.
    pub(super) fn counts(&self) -> anyhow::Result<Vec<SignedCount>> {
        let mut counts = Vec::new();
        for site in &self.sites {
            counts.extend(self.client.rollout_counts(Some(site), ANSWER)?);
        }
        Ok(counts)
    }

    /// Takes a count, if its registry signed it or its signature does not matter; whether anything is new.
    pub(super) fn take_count(
        &self,
        rollout: &Rollout,
        fleet: &mut Fleet,
        said: SignedCount,
    ) -> bool {
        if said.value.plan != rollout.plan().digest() {
            return false;
        }
        if let Some(keys) = &self.keys
            && let Err(why) = said.check(keys.get(&said.site))
        {
            tracing::warn!(site = said.site, registry = said.device, %why, "a count is ignored");
            return false;
        }
        match fleet.hear(rollout.plan(), said.value, Time::now()) {
            Ok(is_new) => is_new,
            Err(error) => {
                tracing::warn!(%error, "a count is ignored");
                false
            }
        }
    }

    /// Whether counts are only claimed.
    pub(super) const fn are_claimed(&self) -> bool {
        self.keys.is_none()
    }
}
