//! The interfaces: a released version is frozen, and the code serves the version that the text states.

use std::collections::BTreeMap;
use std::fs;

use hotshoe_tests::root;
use hotshoe_trust::{Contract, Digest, GOVERNOR, PIPELINE, WASI_NN};

/// The files of `hotshoe:pipeline@0.1.0`, as they were released, with their digests. Another text is another version; see wit/README.md.
const FROZEN: [(&str, &str); 7] = [
    (
        "host.wit",
        "436647d77087af2ce6eb4000847094fb18d91fdbf7b843709fa6e556899b7ccc",
    ),
    (
        "infer.wit",
        "17327a468698a0338903680fa6411ac759810a22e3cee37e4bee30e3d6c7d2d6",
    ),
    (
        "samples.wit",
        "f11539ebe5cf116470da6c22070ab04fb8b3d835d6dabc5718cbda1797c9416f",
    ),
    (
        "tensors.wit",
        "3f0cf555e7edcc25f2aa30b522201845a72617c813d05b67a0514a6a39f1a20e",
    ),
    (
        "types.wit",
        "14442419e0c703fb13aa31d72483d5081e6d7a92f2fcb13e2c0db4df39e86242",
    ),
    (
        "vision.wit",
        "2aa063317e5261e9b5851ec8ac8d5ec0807d4dfff42a1def473c617c433eafd3",
    ),
    (
        "worlds.wit",
        "2ca867fdaa330305ddd321c4d9d0da1cf98a49fb6175da66b3099310014b5885",
    ),
];

/// The `.wit` files of a folder of `wit/`, by name.
fn files(folder: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(root().join("wit").join(folder)).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "wit"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

#[test]
fn the_released_version_is_as_it_was_released() {
    let files = files("");
    let found: BTreeMap<&str, String> = files
        .iter()
        .map(|(name, text)| (name.as_str(), Digest::of(text.as_bytes()).hex().to_string()))
        .collect();
    let frozen = FROZEN.map(|(name, digest)| (name, digest.to_owned()));
    assert_eq!(found, BTreeMap::from(frozen));
}

#[test]
fn the_host_serves_the_versions_of_the_text() {
    let stated = |contract: Contract, folders: &[&str]| {
        // One folder for each version, oldest first.
        assert_eq!(contract.versions().count(), folders.len());
        for (version, folder) in contract.versions().zip(folders) {
            let files = files(folder);
            assert!(!files.is_empty(), "no text in `{folder}`");
            let package = format!("package {}@{version};", contract.package);
            for (name, text) in files {
                assert!(
                    text.contains(&package),
                    "{folder}/{name} does not say `{package}`"
                );
            }
        }
    };
    stated(PIPELINE, &["", "0.2.0"]);
    stated(GOVERNOR, &["governor"]);
    stated(WASI_NN, &["deps/wasi-nn"]);
}
