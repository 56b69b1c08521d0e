//! A signed release on disk, made from a `release.toml` as an author would.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{error::Error, fs, path::Path};

use hotshoe_store::{Layout, Packed, Slot, Store, pack};
#[allow(unused_imports, reason = "each test file uses its own part")]
pub(crate) use hotshoe_tests::noise;
use hotshoe_trust::{
    Blob, ChunkIndex, Device, Floor, Release, SigningKey, Time, TrustRoot, Verified, verify,
    verify_installed,
};

pub(crate) const FILES: [(&str, &[u8]); 4] = [
    ("stage.wasm", b"stage wasm"),
    ("policy.wasm", b"policy wasm"),
    ("detect.onnx", b"some weights"),
    ("characters.txt", b"abc"),
];

pub(crate) fn release_toml(generation: u64) -> String {
    format!(
        r#"
        name = "ocr"
        generation = {generation}
        expires-in = "90d"
        [components.read]
        file = "stage.wasm"
        world = "stage"
        grants = ["infer", "data"]
        models = ["detect"]
        data = ["characters"]
        [components.label]
        file = "policy.wasm"
        world = "policy"
        [models.detect]
        file = "detect.onnx"
        [data.characters]
        file = "characters.txt"
        media-type = "text/plain"
        [[pipeline]]
        stage = "read"
        [[pipeline]]
        policy = "label"
        "#
    )
}

pub(crate) fn now() -> Time {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

pub(crate) fn host() -> semver::Version {
    "0.1.0".parse().unwrap()
}

/// A deployer: a folder of sources, and a key that a trust root holds.
pub(crate) struct Deployer {
    pub folder: tempfile::TempDir,
    pub key: SigningKey,
    pub trust: TrustRoot,
}

impl Deployer {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in FILES {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let key = SigningKey::generate().unwrap();
        let entry = TrustRoot::key_entry("a", &key.public_key().unwrap(), &["ocr"]);
        let trust = TrustRoot::parse(&format!("threshold = 1\n{entry}")).unwrap();
        Self { folder, key, trust }
    }

    /// A release that differs from other generations in its model too.
    pub(crate) fn signed(&self, generation: u64) -> Layout {
        self.signed_model(generation, format!("weights {generation}").as_bytes())
    }

    /// A release with this model.
    pub(crate) fn signed_model(&self, generation: u64, model: &[u8]) -> Layout {
        fs::write(self.folder.path().join("detect.onnx"), model).unwrap();
        let packed = self.packed(generation);
        let bundle = self
            .key
            .sign_bundle(&packed.layout.package().unwrap().manifest)
            .unwrap();
        packed.layout.attach(&bundle).unwrap();
        packed.layout
    }

    pub(crate) fn packed(&self, generation: u64) -> Packed {
        let description = self.folder.path().join("release.toml");
        fs::write(&description, release_toml(generation)).unwrap();
        pack(
            &description,
            now(),
            &self.folder.path().join(format!("release-{generation}")),
        )
        .unwrap()
    }

    pub(crate) fn verify(&self, layout: &Layout, floor: &Floor) -> Verified<Release> {
        verify(
            &layout.package().unwrap(),
            &self.trust,
            floor,
            &Device::default(),
            &host(),
            now(),
        )
        .unwrap()
    }

    pub(crate) fn install(&self, store: &mut Store, layout: &Layout) -> Slot {
        let verified = self.verify(layout, &store.ledger().floor());
        store.install(layout, &verified, now()).unwrap()
    }

    /// What a daemon does with a slot when it starts.
    pub(crate) fn start(&self, store: &Store, slot: &Slot) -> Verified<Release> {
        let package = store.read_package(slot).unwrap();
        let verified = verify_installed(
            &package,
            &self.trust,
            slot.release,
            &Device::default(),
            &host(),
        )
        .unwrap();
        store.check(&verified).unwrap();
        verified
    }
}

/// Every blob file under `root`.
pub(crate) fn blob_files(root: &Path) -> Vec<std::path::PathBuf> {
    let folder = root.join("blobs/sha256");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

pub(crate) fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The chunk index of `blob`, as `layout` has it.
pub(crate) fn index_of(layout: &Layout, release: &Release, blob: &Blob) -> ChunkIndex {
    let bytes = layout.read(&release.chunks[&blob.digest]).unwrap();
    ChunkIndex::parse(&bytes, *blob).unwrap()
}

/// The bytes of one chunk.
pub(crate) fn piece(index: &ChunkIndex, whole: &[u8], number: usize) -> Vec<u8> {
    let (offset, chunk) = index.offsets().nth(number).unwrap();
    let start = usize::try_from(offset).unwrap();
    whole[start..start + usize::try_from(chunk.size).unwrap()].to_vec()
}

/// What a device does with a release from the network: its package, then its blobs, large ones in chunks.
pub(crate) fn deliver(
    store: &Store,
    layout: &Layout,
    release: &Verified<Release>,
) -> Result<Slot, Box<dyn Error>> {
    let slot = store.keep_package(release, now())?;
    let blobs = store.blobs();
    for blob in release.blobs() {
        if blobs.check(&blob).is_ok() {
            continue;
        }
        let whole = layout.read(&blob)?;
        if release.chunks.contains_key(&blob.digest) {
            let index = index_of(layout, release, &blob);
            let partial = blobs.partial(&index)?;
            for number in partial.missing() {
                partial.put(number, &piece(&index, &whole, number))?;
            }
            partial.finish()?;
        } else {
            blobs.put(&whole)?;
        }
    }
    blobs.check_release(release)?;
    Ok(slot)
}
