//! Those that sign: their keys, the trusted keys of the devices, and the releases.

use std::collections::BTreeMap;

use hotshoe_rollout::{Plan, Rollout, SignedText};
use hotshoe_store::Transition;
use hotshoe_trust::{
    Blob, Component, DataContract, Device, DeviceSelector, Digest, Floor, HealthGate, KeyError,
    Limits, Package, Privacy, Release, SigningKey, Step, Time, TrustRoot, TrustUpdate, Verified,
    World, manifest::Manifest, rotate, verify,
};

use crate::device::SimulatedDevice;
use crate::figures::SimulationError;

/// The name of all releases.
pub(crate) const NAME: &str = "ocr";
/// The version of the simulated daemons.
pub(crate) const HOST: semver::Version = semver::Version::new(0, 1, 0);

/// The keys, and what they signed.
#[derive(Debug)]
pub(crate) struct Deployers {
    /// Those that sign together: as many as the threshold.
    signers: Vec<SigningKey>,
    /// Further trusted keys, which do not sign.
    pub others: Vec<SigningKey>,
    trust: TrustRoot,
    /// The step from the first trusted keys to the present ones.
    update: Option<TrustUpdate>,
    releases: BTreeMap<Digest, Verified<Release>>,
}

impl Deployers {
    /// As many keys that sign together, and further trusted ones.
    pub(crate) fn new(signers: usize, others: usize) -> Result<Self, SimulationError> {
        let keys = |count: usize| (0..count).map(|_| SigningKey::generate()).collect();
        let (signers, others): (Result<Vec<_>, _>, Result<Vec<_>, _>) =
            (keys(signers), keys(others));
        let (signers, others) = (signers?, others?);
        let text = trust_text(1, &signers, &others)?;
        Ok(Self {
            trust: TrustRoot::parse(&text)?,
            update: None,
            signers,
            others,
            releases: BTreeMap::new(),
        })
    }

    /// One of the keys that sign.
    pub(crate) fn first_signer(&self) -> Option<&SigningKey> {
        self.signers.first()
    }

    /// The present trusted keys.
    pub(crate) const fn trust(&self) -> &TrustRoot {
        &self.trust
    }

    /// Makes, signs and verifies a release; its digest.
    pub(crate) fn release(
        &mut self,
        generation: u64,
        now: Time,
    ) -> Result<Digest, SimulationError> {
        let package = package(generation, now, &self.signers)?;
        let (floor, device) = (Floor::none(), Device::default());
        let verified = verify(&package, &self.trust, &floor, &device, &HOST, now)?;
        let digest = verified.digest();
        self.releases.insert(digest, verified);
        Ok(digest)
    }

    /// A release that they signed.
    pub(crate) fn verified(&self, release: Digest) -> Option<&Verified<Release>> {
        self.releases.get(&release)
    }

    /// Signs a plan or a statement.
    pub(crate) fn sign(&self, text: &mut SignedText) -> Result<(), KeyError> {
        self.signers.iter().try_for_each(|key| text.sign(key))
    }

    /// The rollout of a plan that they sign.
    pub(crate) fn rollout(&self, plan: &Plan, now: Time) -> Result<Rollout, SimulationError> {
        let mut text = SignedText::of_plan(plan)?;
        self.sign(&mut text)?;
        Ok(Rollout::read(&text, &self.trust, now)?)
    }

    /// Trusts only the keys that sign from now on.
    pub(crate) fn revoke_others(&mut self) -> Result<(), SimulationError> {
        let version = self.trust.version().saturating_add(1);
        let mut update = TrustUpdate::new(trust_text(version, &self.signers, &[])?);
        for key in &self.signers {
            update.sign(key)?;
        }
        self.trust = rotate(&self.trust, &update)?.root;
        self.update = Some(update);
        Ok(())
    }

    /// Gives a device the present trusted keys, which `rotate` has accepted.
    pub(crate) fn renew(&self, device: &mut SimulatedDevice, now: Time) {
        let Some(update) = &self.update else {
            return;
        };
        let version = self.trust.version();
        let replace = Transition::ReplaceTrust {
            version,
            file: Digest::of(update.trust.as_bytes()),
            resets: self.trust.resets().clone(),
        };
        if device.trust_version < version && device.apply(&replace, now) {
            device.trust_version = version;
        }
    }
}

/// A `trust.toml` in which all `signers` must sign.
fn trust_text(
    version: u64,
    signers: &[SigningKey],
    others: &[SigningKey],
) -> Result<String, SimulationError> {
    let mut text = format!("version = {version}\nthreshold = {}\n", signers.len());
    for (number, key) in signers.iter().chain(others).enumerate() {
        let name = format!("deployer-{number}");
        text += &TrustRoot::key_entry(&name, &key.public_key()?, &["*"]);
    }
    Ok(text)
}

/// A release with the signatures of these keys.
pub(crate) fn package<'k>(
    generation: u64,
    now: Time,
    keys: impl IntoIterator<Item = &'k SigningKey>,
) -> Result<Package, SimulationError> {
    let release = release(generation, now);
    let config = serde_json::to_vec(&release)?;
    let manifest = Manifest::of(&release, &config).to_bytes()?;
    let bundles: Result<Vec<_>, KeyError> = keys
        .into_iter()
        .map(|key| key.sign_bundle(&manifest))
        .collect();
    Ok(Package {
        bundles: bundles?,
        manifest,
        config,
    })
}

/// A release of one stage.
fn release(generation: u64, now: Time) -> Release {
    let stage = Component {
        blob: Blob::of(format!("the component of generation {generation}").as_bytes()),
        world: World::Stage,
        grants: Default::default(),
        models: Default::default(),
        data: Default::default(),
        config: BTreeMap::new(),
        limits: Limits::default(),
        instance: Default::default(),
        state_version: 1,
        folders: Default::default(),
        hosts: Default::default(),
        topics: Default::default(),
        shared_data: Default::default(),
        secrets: Default::default(),
    };
    let expires_s = now.as_second().saturating_add(90 * 24 * 3_600);
    Release {
        kind: Default::default(),
        requires: Default::default(),
        name: NAME.to_owned(),
        generation,
        issued: now,
        expires: Time::from_second(expires_s).unwrap_or(Time::MAX),
        hotshoe: semver::VersionReq::STAR,
        devices: DeviceSelector::default(),
        components: [("read".to_owned(), stage)].into(),
        models: BTreeMap::new(),
        data: BTreeMap::new(),
        pipeline: vec![Step::Stage {
            component: "read".to_owned(),
        }],
        chunks: BTreeMap::new(),
        tests: Vec::new(),
        health: HealthGate::default(),
        data_contract: DataContract::default(),
        modes: BTreeMap::new(),
        privacy: Privacy::default(),
        drift: None,
    }
}
