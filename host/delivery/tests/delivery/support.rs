//! A deployer with a key, simulated devices, and a peer that uses the keys directly.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use hotshoe_config::ZenohConfig;
use hotshoe_delivery::{Cancel, DeliveryConfig, Fetcher, Progress, Publisher, TransferStats};
use hotshoe_link::Link;
use hotshoe_store::{BlobStore, Catalogue, Layout};
use hotshoe_tests::Signer;
pub(crate) use hotshoe_tests::{DEADLINE, noise, until};
use hotshoe_trust::{Digest, Release, Time};
use tempfile::TempDir;
use zenoh::Wait;
use zenoh::query::Query;

pub(crate) const SITE: &str = "lab";

pub(crate) fn now() -> Time {
    Time::now()
}

/// A deployer: a folder of sources, and a trusted key.
pub(crate) struct Deployer {
    pub folder: TempDir,
    pub signer: Signer,
}

/// A release that was packed and signed.
pub(crate) struct Made {
    pub layout: Layout,
    pub release: Release,
    pub digest: Digest,
    pub bundles: Vec<Digest>,
}

impl Deployer {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("stage.wasm"), noise(7, 20_000)).unwrap();
        Self {
            signer: Signer::new("alice"),
            folder,
        }
    }

    pub(crate) fn trust_file(&self) -> PathBuf {
        let path = self.folder.path().join("trust.toml");
        fs::write(&path, &self.signer.trust).unwrap();
        path
    }

    /// A release with a model of these bytes.
    pub(crate) fn release(&self, name: &str, generation: u64, model: &[u8]) -> Made {
        let at = |file: &str| self.folder.path().join(file);
        fs::write(at("model.onnx"), model).unwrap();
        let description = format!(
            r#"
            name = "{name}"
            generation = {generation}
            expires-in = "90d"
            [components.read]
            file = "stage.wasm"
            world = "stage"
            grants = ["infer"]
            models = ["net"]
            [models.net]
            file = "model.onnx"
            [[pipeline]]
            stage = "read"
            "#
        );
        fs::write(at("release.toml"), description).unwrap();
        let out = at(&format!("{name}-{generation}"));
        let (packed, bundle) = self.signer.pack(&at("release.toml"), &out);
        Made {
            layout: packed.layout,
            release: packed.release,
            digest: packed.digest,
            bundles: vec![bundle],
        }
    }
}

pub(crate) fn listening() -> ZenohConfig {
    ZenohConfig {
        listen: vec!["tcp/127.0.0.1:0".to_owned()],
        ..ZenohConfig::default()
    }
}

pub(crate) fn connecting(locators: &[String]) -> ZenohConfig {
    ZenohConfig {
        connect: locators.to_vec(),
        ..ZenohConfig::default()
    }
}

pub(crate) fn publisher(config: &ZenohConfig, made: &Made) -> Publisher {
    let mut publisher = Publisher::open(config, SITE).unwrap();
    let served = publisher.serve(&made.layout).unwrap();
    assert_eq!(
        (served.release, &served.bundles),
        (made.digest, &made.bundles)
    );
    publisher
}

/// A device that fetches and shares, without a pipeline.
pub(crate) struct Device {
    _folder: TempDir,
    pub link: Arc<Link>,
    pub catalogue: Catalogue,
    pub blobs: BlobStore,
    pub fetcher: Fetcher,
}

impl Device {
    pub(crate) fn new(name: &str, config: &ZenohConfig, delivery: DeliveryConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let link = Arc::new(Link::open(config, SITE, name).unwrap());
        let catalogue = Catalogue::new();
        Self {
            blobs: BlobStore::open(folder.path()).unwrap(),
            fetcher: Fetcher::new(&link, catalogue.clone(), delivery).unwrap(),
            _folder: folder,
            link,
            catalogue,
        }
    }

    pub(crate) fn locators(&self) -> Vec<String> {
        self.link.status().locators
    }

    /// Fetches a release whole, checks it, and lists it.
    pub(crate) fn fetch(&self, made: &Made) -> TransferStats {
        let cancel = Cancel::after(DEADLINE);
        let package = self
            .fetcher
            .package(made.digest, &made.bundles, &cancel)
            .unwrap();
        assert_eq!(Digest::of(&package.manifest), made.digest);
        assert_eq!(package.bundles.len(), made.bundles.len());
        let moved = self.blobs_of(made, |_| {}, &cancel);
        for bytes in [&package.manifest, &package.config]
            .into_iter()
            .chain(&package.bundles)
        {
            self.blobs.put(bytes).unwrap();
        }
        self.catalogue
            .add_release(&self.blobs, made.digest, &made.bundles)
            .unwrap();
        self.fetcher.withdraw_partials();
        moved
    }

    pub(crate) fn blobs_of(
        &self,
        made: &Made,
        progress: impl Fn(Progress) + Sync,
        cancel: &Cancel,
    ) -> TransferStats {
        let moved = self
            .fetcher
            .release(&made.release, &self.blobs, progress, cancel)
            .unwrap();
        for blob in made.release.blobs() {
            self.blobs.check(&blob).unwrap();
        }
        moved
    }
}

/// A source with a custom answer to every request.
pub(crate) struct Rogue {
    _session: zenoh::Session,
    _queryable: zenoh::query::Queryable<()>,
    _token: zenoh::liveliness::LivelinessToken,
}

impl Rogue {
    pub(crate) fn new(
        connect: &[String],
        source: &str,
        answer: impl Fn(&Query, Vec<Digest>) + Send + Sync + 'static,
    ) -> Self {
        Self::under(
            connect,
            source,
            &format!("hotshoe/{SITE}/@objects/{source}/*"),
            answer,
        )
    }

    /// The same, for these keys.
    pub(crate) fn under(
        connect: &[String],
        source: &str,
        keys: &str,
        answer: impl Fn(&Query, Vec<Digest>) + Send + Sync + 'static,
    ) -> Self {
        let mut config = zenoh::Config::default();
        for (key, value) in [
            ("connect/endpoints", serde_json::json!(connect)),
            ("listen/endpoints", serde_json::json!([])),
            ("scouting/multicast/enabled", false.into()),
            ("scouting/gossip/enabled", false.into()),
        ] {
            config.insert_json5(key, &value.to_string()).unwrap();
        }
        let session = zenoh::open(config).wait().unwrap();
        let queryable = session
            .declare_queryable(keys.to_owned())
            .callback(move |query| {
                let asked = query.payload().map(|p| p.to_bytes().into_owned());
                let asked = asked.unwrap_or_default();
                let list = asked.get(3..).unwrap_or_default();
                let name = asked.get(2).copied().map_or(0, usize::from);
                let list = list.get(name..).unwrap_or_default();
                let digests = list.as_chunks::<32>().0.iter();
                answer(&query, digests.map(|d| Digest::from_bytes(*d)).collect());
            })
            .wait()
            .unwrap();
        let token = session
            .liveliness()
            .declare_token(format!("hotshoe/{SITE}/@source/{source}"))
            .wait()
            .unwrap();
        Self {
            _session: session,
            _queryable: queryable,
            _token: token,
        }
    }
}

/// The key of an object in the reply to a query.
pub(crate) fn object_key(query: &Query, digest: Digest) -> String {
    let key = query.key_expr().as_str();
    let (start, _) = key.rsplit_once('/').unwrap();
    format!("{start}/{}", digest.hex())
}
